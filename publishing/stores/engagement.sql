-- name: load
SELECT w.topic, w.partition, coalesce(o.next_offset, 0) AS next_offset,
    (extract(epoch FROM m.watermark) * 1000)::bigint AS watermark_ms
FROM unnest($2::text[], $3::int[]) AS w (topic, partition)
LEFT JOIN stream_offsets o ON o.consumer = $1 AND o.topic = w.topic AND o.partition = w.partition
LEFT JOIN publishing_watermarks m ON m.consumer = $1 AND m.partition = w.partition

-- name: apply
-- One statement: the fence ($1 consumer, $2 topic, $3 partition, $4 expected, $5 after), what is new of the ids that
-- are deduplicated, first touches, windows, the watermark, and what ends sending to a destination.
WITH fence AS (
    INSERT INTO stream_offsets AS o (consumer, topic, partition, next_offset)
    SELECT $1::text, $2::text, $3::int, $5::bigint
    WHERE $4::bigint = 0
        OR EXISTS (SELECT FROM stream_offsets WHERE consumer = $1 AND topic = $2 AND partition = $3)
    ON CONFLICT (consumer, topic, partition)
        DO UPDATE SET next_offset = excluded.next_offset, updated_at = now() WHERE o.next_offset = $4
    RETURNING 1
),
ids AS MATERIALIZED (
    SELECT unit, date '1970-01-01' + (day_ms / 86400000)::int AS day, event_id
    FROM unnest($6::int[], $7::bigint[], $8::bytea[]) AS i (unit, day_ms, event_id)
    WHERE EXISTS (SELECT FROM fence)
),
new_ids AS (
    INSERT INTO publishing_event_ids (day, event_id) SELECT day, event_id FROM ids ORDER BY day, event_id
    ON CONFLICT DO NOTHING
    RETURNING day, event_id
),
counted AS MATERIALIZED (
    SELECT 0 AS unit WHERE EXISTS (SELECT FROM fence)
    UNION ALL
    SELECT unit FROM ids JOIN new_ids USING (day, event_id)
),
-- Of several touches by one reader the first in the log counts, however the log was cut into batches.
touches AS MATERIALIZED (
    SELECT DISTINCT ON (run_id, channel_id, destination, kind, human)
        publication_id, run_id, channel_id, arm, kind, verdict, destination, human,
        timestamptz 'epoch' + at_ms * interval '1 millisecond' AS at
    FROM unnest($9::int[], $10::int[], $11::bigint[], $12::boolean[], $13::bigint[], $14::bigint[], $15::int[],
        $16::smallint[], $17::text[], $18::text[], $19::bigint[])
        AS t (place, unit, destination, human, publication_id, run_id, channel_id, arm, kind, verdict, at_ms)
    JOIN counted USING (unit)
    ORDER BY run_id, channel_id, destination, kind, human, place
),
engaged AS (
    INSERT INTO publishing_engaged (run_id, channel_id, destination, kind, human, first_at)
    SELECT run_id, channel_id, destination, kind, human, at FROM touches
    ORDER BY run_id, channel_id, destination, kind, human
    ON CONFLICT DO NOTHING
    RETURNING run_id, channel_id, destination, kind, human
),
changes AS (
    SELECT grain, timestamptz 'epoch' + window_ms * interval '1 millisecond' AS window_start, publication_id, run_id,
        channel_id, arm, kind, verdict, total, 0 AS uniques, late_frame,
        timestamptz 'epoch' + first_ms * interval '1 millisecond' AS first_at,
        timestamptz 'epoch' + last_ms * interval '1 millisecond' AS last_at
    FROM unnest($20::int[], $21::int[], $22::text[], $23::bigint[], $24::bigint[], $25::bigint[], $26::int[],
        $27::smallint[], $28::text[], $29::text[], $30::bigint[], $31::bigint[], $32::bigint[])
        AS c (unit, late_frame, grain, window_ms, publication_id, run_id, channel_id, arm, kind, verdict, total,
            first_ms, last_ms)
    JOIN counted USING (unit)
    UNION ALL
    SELECT grain, date_trunc(grain, at, 'UTC'), publication_id, run_id, channel_id, arm, kind, verdict,
        0, 1, -1, at, at
    FROM touches JOIN engaged USING (run_id, channel_id, destination, kind, human)
    CROSS JOIN unnest(ARRAY['minute', 'hour', 'day']) AS g (grain)
),
windows AS (
    INSERT INTO publishing_analytics AS a (grain, window_start, publication_id, run_id, channel_id, arm, kind, verdict,
        total, uniques, late, revision, first_at, last_at)
    SELECT grain, window_start, publication_id, run_id, channel_id, arm, kind, verdict, sum(total), sum(uniques),
        coalesce(sum(total) FILTER (WHERE late_frame >= 0), 0), count(DISTINCT late_frame) FILTER (WHERE late_frame >= 0),
        min(first_at), max(last_at)
    FROM changes
    GROUP BY grain, window_start, publication_id, run_id, channel_id, arm, kind, verdict
    ORDER BY grain, window_start, publication_id, run_id, channel_id, arm, kind, verdict
    ON CONFLICT (grain, window_start, publication_id, run_id, channel_id, arm, kind, verdict) DO UPDATE SET
        total = a.total + excluded.total,
        uniques = a.uniques + excluded.uniques,
        late = a.late + excluded.late,
        revision = a.revision + excluded.revision,
        first_at = least(a.first_at, excluded.first_at),
        last_at = greatest(a.last_at, excluded.last_at)
),
watermark AS (
    INSERT INTO publishing_watermarks (consumer, partition, watermark)
    SELECT $1, $3, timestamptz 'epoch' + $33::bigint * interval '1 millisecond'
    WHERE $33 IS NOT NULL AND EXISTS (SELECT FROM fence)
    ON CONFLICT (consumer, partition) DO UPDATE SET watermark = excluded.watermark, updated_at = now()
),
endings AS MATERIALIZED (
    SELECT e.destination, e.reason, c.kind AS channel_kind
    FROM unnest($34::bigint[], $35::int[], $36::text[]) AS e (destination, channel_id, reason)
    LEFT JOIN publishing_channels c ON c.id = e.channel_id
    WHERE EXISTS (SELECT FROM fence)
),
suppressed AS (
    INSERT INTO publishing_suppressions (destination, scope, reason, source)
    SELECT destination, coalesce(channel_kind, 'all'), reason, 'engagement' FROM endings ORDER BY 1, 2
    ON CONFLICT DO NOTHING
    RETURNING 1
),
ended AS (
    SELECT destination, bool_or(reason <> 'bounced') AS leaves,
        coalesce(jsonb_object_agg(channel_kind, false) FILTER (WHERE channel_kind IS NOT NULL), '{}') AS off
    FROM endings GROUP BY destination
),
changed AS (
    UPDATE publishing_subscribers s SET
        status = CASE WHEN e.leaves THEN 'unsubscribed' ELSE s.status END,
        channels = s.channels || e.off,
        version = s.version + 1,
        updated_at = now()
    FROM ended e
    WHERE s.id = e.destination AND s.status <> 'erased'
        AND ((e.leaves AND s.status <> 'unsubscribed') OR s.channels || e.off <> s.channels)
    RETURNING s.id, s.shard, s.version
),
marks AS (
    INSERT INTO publishing_shard_marks AS m (shard, last_seq)
    SELECT shard, count(*) FROM changed GROUP BY shard ORDER BY shard
    ON CONFLICT (shard) DO UPDATE SET last_seq = m.last_seq + excluded.last_seq
    RETURNING shard, last_seq
),
numbered AS (
    SELECT id, shard, version, last_seq - count(*) OVER (PARTITION BY shard) + row_number() OVER one AS seq,
        (row_number() OVER one - 1) / 500 AS part
    FROM changed JOIN marks USING (shard)
    WINDOW one AS (PARTITION BY shard ORDER BY id)
),
announced AS (
    INSERT INTO publishing_outbox (topic, partition, payload, ce_source)
    SELECT $37::text, shard, jsonb_build_object('shard', shard, 'changes',
        jsonb_agg(jsonb_build_object('destination', id, 'seq', seq, 'version', version) ORDER BY seq)), $38::text
    FROM numbered GROUP BY shard, part ORDER BY shard, part
)
SELECT EXISTS (SELECT FROM fence) AS held,
    (SELECT count(*) FROM ids) - (SELECT count(*) FROM new_ids) AS repeated,
    (SELECT count(*) FROM suppressed) AS suppressed
