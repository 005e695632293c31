-- name: load
SELECT w.topic, w.partition, coalesce(o.next_offset, 0) AS next_offset,
    (extract(epoch FROM m.watermark) * 1000)::bigint AS watermark_ms
FROM unnest($2::text[], $3::int[]) AS w (topic, partition)
LEFT JOIN stream_offsets o ON o.consumer = $1 AND o.topic = w.topic AND o.partition = w.partition
LEFT JOIN publishing_watermarks m ON m.consumer = $1 AND m.partition = w.partition

-- name: begin
-- A partition without a row is at 0. Changes nothing for one that has a row.
INSERT INTO stream_offsets (consumer, topic, partition, next_offset)
SELECT $1::text, $2::text, partition, 0 FROM unnest($3::int[]) AS p (partition) ORDER BY partition
ON CONFLICT (consumer, topic, partition) DO NOTHING

-- name: known
-- Of the ids of a batch ($1 day in ms, $2 id) those that are stored.
SELECT i.day_ms, i.event_id FROM unnest($1::bigint[], $2::bytea[]) AS i (day_ms, event_id)
JOIN publishing_event_ids e ON e.day = date '1970-01-01' + (i.day_ms / 86400000)::int AND e.event_id = i.event_id

-- name: fence
-- The first part of one statement. $1 consumer, $2 topic, and by partition: $3 partitions, $4 expected, $5 after,
-- $6 watermarks in ms or null. Either every partition is where it is expected, or nothing at all is written.
WITH asked AS MATERIALIZED (
    SELECT partition, expected, after, watermark_ms
    FROM unnest($3::int[], $4::bigint[], $5::bigint[], $6::bigint[]) AS a (partition, expected, after, watermark_ms)
),
held AS MATERIALIZED (
    SELECT o.partition FROM stream_offsets o
    JOIN asked a ON a.partition = o.partition
    WHERE o.consumer = $1::text AND o.topic = $2::text AND o.next_offset = a.expected
    ORDER BY o.partition
    FOR UPDATE OF o
),
fence AS MATERIALIZED (
    SELECT count(*) AS partitions FROM held HAVING count(*) = cardinality($3)
),
moved AS (
    UPDATE stream_offsets o SET next_offset = a.after, updated_at = now()
    FROM asked a
    WHERE o.consumer = $1 AND o.topic = $2 AND o.partition = a.partition AND EXISTS (SELECT FROM fence)
),
watermark AS (
    INSERT INTO publishing_watermarks (consumer, partition, watermark)
    SELECT $1, partition, timestamptz 'epoch' + watermark_ms * interval '1 millisecond' FROM asked
    WHERE watermark_ms IS NOT NULL AND EXISTS (SELECT FROM fence) ORDER BY partition
    ON CONFLICT (consumer, partition) DO UPDATE SET watermark = excluded.watermark, updated_at = now()
)

-- name: ids
-- The ids of what is deduplicated ($7 unit, $8 day in ms, $9 id), and which units count.
, ids AS MATERIALIZED (
    SELECT unit, date '1970-01-01' + (day_ms / 86400000)::int AS day, event_id
    FROM unnest($7::int[], $8::bigint[], $9::bytea[]) AS i (unit, day_ms, event_id)
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
)

-- name: new_ids
-- The same where all ids are presumed new: one that is not fails the whole statement, and everything is unit 0.
, new_ids AS (
    INSERT INTO publishing_event_ids (day, event_id)
    SELECT date '1970-01-01' + (day_ms / 86400000)::int AS day, event_id
    FROM unnest($7::int[], $8::bigint[], $9::bytea[]) AS i (unit, day_ms, event_id)
    WHERE EXISTS (SELECT FROM fence) ORDER BY 1, 2
),
counted AS MATERIALIZED (
    SELECT 0 AS unit WHERE EXISTS (SELECT FROM fence)
)

-- name: touches
-- The distinct dimensions ($10 to $15), and first touches ($16 group, $17 unit, $18 destination, $19 time in ms, $20
-- place in the log, each as an array's text): of each reader the first in the log counts, however it was cut.
, groups AS MATERIALIZED (
    SELECT place - 1 AS number, publication_id, run_id, channel_id, arm, kind, verdict
    FROM unnest($10::bigint[], $11::bigint[], $12::int[], $13::smallint[], $14::text[], $15::text[])
        WITH ORDINALITY AS g (publication_id, run_id, channel_id, arm, kind, verdict, place)
),
touches AS MATERIALIZED (
    SELECT DISTINCT ON (g.run_id, g.channel_id, t.destination, g.kind, g.verdict = 'human')
        t.number, g.run_id, g.channel_id, t.destination, g.kind, g.verdict = 'human' AS human, t.at_ms
    FROM unnest($16::text::int[], $17::text::int[], $18::text::bigint[], $19::text::bigint[], $20::text::int[])
        AS t (number, unit, destination, at_ms, place)
    JOIN groups g USING (number)
    JOIN counted USING (unit)
    ORDER BY g.run_id, g.channel_id, t.destination, g.kind, g.verdict = 'human', t.place
),

-- name: new_touches
-- The same where no two touches of the batch are one reader's.
, groups AS MATERIALIZED (
    SELECT place - 1 AS number, publication_id, run_id, channel_id, arm, kind, verdict
    FROM unnest($10::bigint[], $11::bigint[], $12::int[], $13::smallint[], $14::text[], $15::text[])
        WITH ORDINALITY AS g (publication_id, run_id, channel_id, arm, kind, verdict, place)
),
touches AS MATERIALIZED (
    SELECT t.number, g.run_id, g.channel_id, t.destination, g.kind, g.verdict = 'human' AS human, t.at_ms
    FROM unnest($16::text::int[], $17::text::int[], $18::text::bigint[], $19::text::bigint[], $20::text::int[])
        AS t (number, unit, destination, at_ms, place)
    JOIN groups g USING (number)
    WHERE EXISTS (SELECT FROM fence)
),

-- name: windows
engaged AS (
    INSERT INTO publishing_engaged (run_id, channel_id, destination, kind, human, first_at)
    SELECT run_id, channel_id, destination, kind, human, timestamptz 'epoch' + at_ms * interval '1 millisecond'
    FROM touches ORDER BY run_id, channel_id, destination, kind, human
    ON CONFLICT DO NOTHING
    RETURNING run_id, channel_id, destination, kind, human
),
-- By minute first: a batch has few. Windows: $21 group, $22 unit, $23 late frame or -1, $24 grain, $25 start in ms,
-- $26 total, $27 first and $28 last time in ms.
readers AS MATERIALIZED (
    SELECT number, floor(at_ms / 60000.0)::bigint AS minute, count(*) AS uniques
    FROM touches JOIN engaged USING (run_id, channel_id, destination, kind, human)
    GROUP BY 1, 2
),
changes AS (
    SELECT grain, window_ms, number, total, 0 AS uniques, late_frame, first_ms, last_ms
    FROM unnest($21::int[], $22::int[], $23::int[], $24::text[], $25::bigint[], $26::bigint[], $27::bigint[],
        $28::bigint[]) AS c (number, unit, late_frame, grain, window_ms, total, first_ms, last_ms)
    JOIN counted USING (unit)
    UNION ALL
    -- A touch was counted in the same batch, so that its window has its times already.
    SELECT grain, floor(minute / minutes)::bigint * minutes * 60000, number, 0, uniques, -1, NULL, NULL
    FROM readers CROSS JOIN (VALUES ('minute', 1.0), ('hour', 60.0), ('day', 1440.0)) AS w (grain, minutes)
),
windows AS (
    INSERT INTO publishing_analytics AS a (grain, window_start, publication_id, run_id, channel_id, arm, kind, verdict,
        total, uniques, late, revision, first_at, last_at)
    SELECT grain, timestamptz 'epoch' + window_ms * interval '1 millisecond', publication_id, run_id, channel_id, arm,
        kind, verdict, total, uniques, late, revision,
        timestamptz 'epoch' + first_ms * interval '1 millisecond',
        timestamptz 'epoch' + last_ms * interval '1 millisecond'
    FROM (
        SELECT grain, window_ms, number, sum(total) AS total, sum(uniques) AS uniques,
            coalesce(sum(total) FILTER (WHERE late_frame >= 0), 0) AS late,
            count(DISTINCT late_frame) FILTER (WHERE late_frame >= 0) AS revision,
            min(first_ms) AS first_ms, max(last_ms) AS last_ms
        FROM changes GROUP BY grain, window_ms, number
    ) AS c JOIN groups USING (number)
    ORDER BY grain, window_ms, publication_id, run_id, channel_id, arm, kind, verdict
    ON CONFLICT (grain, window_start, publication_id, run_id, channel_id, arm, kind, verdict) DO UPDATE SET
        total = a.total + excluded.total,
        uniques = a.uniques + excluded.uniques,
        late = a.late + excluded.late,
        revision = a.revision + excluded.revision,
        first_at = least(a.first_at, excluded.first_at),
        last_at = greatest(a.last_at, excluded.last_at)
)

-- name: endings
-- What ends sending to a destination ($29 destinations, $30 channels, $31 kinds; $32 topic and $33 source of
-- the outbox), and who hears of it.
, endings AS MATERIALIZED (
    SELECT e.destination, e.reason, c.kind AS channel_kind
    FROM unnest($29::bigint[], $30::int[], $31::text[]) AS e (destination, channel_id, reason)
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
    SELECT $32::text, shard, jsonb_build_object('shard', shard, 'changes',
        jsonb_agg(jsonb_build_object('destination', id, 'seq', seq, 'version', version) ORDER BY seq)), $33::text
    FROM numbered GROUP BY shard, part ORDER BY shard, part
)

-- name: links
-- Clicks by link ({0} group, {1} unit, {2} article, {3} link, {4} clicks).
, links AS (
    INSERT INTO publishing_link_clicks AS l (publication_id, run_id, content_id, link, verdict, total)
    SELECT publication_id, run_id, content_id, link, verdict, sum(total)
    FROM unnest({0}::int[], {1}::int[], {2}::bigint[], {3}::smallint[], {4}::bigint[])
        AS c (number, unit, content_id, link, total)
    JOIN groups USING (number)
    JOIN counted USING (unit)
    GROUP BY 1, 2, 3, 4, 5
    ORDER BY 1, 2, 3, 4, 5
    ON CONFLICT (publication_id, run_id, content_id, link, verdict) DO UPDATE SET total = l.total + excluded.total
)

-- name: held
SELECT EXISTS (SELECT FROM fence) AS held

-- name: repeated
, (SELECT count(*) FROM ids) - (SELECT count(*) FROM new_ids) AS repeated

-- name: suppressed
, (SELECT count(*) FROM suppressed) AS suppressed
