-- name: try_lock
SELECT pg_try_advisory_lock(hashtext('tidewire replay'))

-- name: make_shadow
-- What a recount found stands in `replay` until the next one: cells as in publishing_analytics, first touches as in
-- publishing_engaged, and where the two sides differ. Nothing of it survives a crash, and nothing has to.
CREATE SCHEMA IF NOT EXISTS replay;
DROP TABLE IF EXISTS replay.analytics, replay.staged, replay.live, replay.engaged, replay.differences;
CREATE UNLOGGED TABLE replay.analytics (LIKE public.publishing_analytics);
ALTER TABLE replay.analytics ADD PRIMARY KEY (grain, window_start, publication_id, run_id, channel_id, arm, kind, verdict);
CREATE UNLOGGED TABLE replay.staged (LIKE public.publishing_analytics);
CREATE UNLOGGED TABLE replay.live (LIKE public.publishing_analytics);
CREATE UNLOGGED TABLE replay.engaged (LIKE public.publishing_engaged);
ALTER TABLE replay.engaged ADD PRIMARY KEY (run_id, channel_id, destination, kind, human);
CREATE UNLOGGED TABLE replay.differences (
    grain text, window_start timestamptz, publication_id bigint, run_id bigint, channel_id int, arm smallint, kind text,
    verdict text, live_total bigint, live_uniques bigint, live_late bigint, live_first_at timestamptz,
    live_last_at timestamptz, total bigint, uniques bigint, late bigint, first_at timestamptz, last_at timestamptz
)

-- name: offsets
SELECT partition, next_offset FROM stream_offsets WHERE consumer = $1 AND topic = $2

-- name: rulings
SELECT id, rules_version, rules, since, next_offsets FROM publishing_verdict_replays ORDER BY id DESC

-- name: known_touches
SELECT run_id, channel_id, destination, kind, human, first_at FROM publishing_engaged WHERE first_at < $1

-- name: copy_live
INSERT INTO replay.live SELECT * FROM publishing_analytics

-- name: take_staged
INSERT INTO replay.analytics SELECT * FROM replay.staged
ON CONFLICT (grain, window_start, publication_id, run_id, channel_id, arm, kind, verdict) DO UPDATE SET
    total = excluded.total, uniques = excluded.uniques, late = excluded.late,
    first_at = excluded.first_at, last_at = excluded.last_at

-- name: compare
-- $1 the first covered window of grain minute, $2 of the others. A cell that was emptied counts as none.
WITH live AS MATERIALIZED (
    SELECT * FROM replay.live
    WHERE window_start >= CASE grain WHEN 'minute' THEN $1::timestamptz ELSE $2::timestamptz END
        AND (total <> 0 OR uniques <> 0 OR late <> 0)
),
recounted AS MATERIALIZED (
    SELECT * FROM replay.analytics
    WHERE window_start >= CASE grain WHEN 'minute' THEN $1::timestamptz ELSE $2::timestamptz END
),
found AS (
    INSERT INTO replay.differences
    SELECT grain, window_start, publication_id, run_id, channel_id, arm, kind, verdict,
        l.total, l.uniques, l.late, l.first_at, l.last_at, r.total, r.uniques, r.late, r.first_at, r.last_at
    FROM live l
    FULL JOIN recounted r USING (grain, window_start, publication_id, run_id, channel_id, arm, kind, verdict)
    WHERE (l.total, l.uniques, l.late, l.first_at, l.last_at)
        IS DISTINCT FROM (r.total, r.uniques, r.late, r.first_at, r.last_at)
    RETURNING 1
)
SELECT (SELECT count(*) FROM found) AS different,
    (SELECT count(*) FROM recounted) AS cells,
    (SELECT coalesce(sum(total), 0)::bigint FROM recounted WHERE grain = 'day') AS events

-- name: clear_differences
TRUNCATE replay.differences

-- name: first_differences
SELECT * FROM replay.differences
ORDER BY grain, window_start, publication_id, run_id, channel_id, arm, kind, verdict LIMIT $1

-- name: lock_fences
-- Every partition gets its row first: one that is not there could not be locked. An app that expects 0 finds its 0.
INSERT INTO stream_offsets (consumer, topic, partition, next_offset)
SELECT $1, $2, number, 0 FROM unnest($3::int[]) AS number ORDER BY number
ON CONFLICT DO NOTHING

-- name: locked_offsets
SELECT partition, next_offset FROM stream_offsets WHERE consumer = $1 AND topic = $2 ORDER BY partition FOR UPDATE

-- name: replace_cells
-- A cell that the recount does not have is emptied, not deleted, so that its revision tells of the change: its span
-- is turned round (from the window's end to its start), so that the next event's time replaces both.
INSERT INTO publishing_analytics AS a (grain, window_start, publication_id, run_id, channel_id, arm, kind, verdict,
    total, uniques, late, revision, first_at, last_at)
SELECT grain, window_start, publication_id, run_id, channel_id, arm, kind, verdict,
    coalesce(total, 0), coalesce(uniques, 0), coalesce(late, 0), 1,
    coalesce(first_at, window_start + CASE grain WHEN 'minute' THEN interval '1 minute' WHEN 'hour' THEN interval '1 hour'
        ELSE interval '24 hours' END),
    coalesce(last_at, window_start)
FROM replay.differences
ORDER BY grain, window_start, publication_id, run_id, channel_id, arm, kind, verdict
ON CONFLICT (grain, window_start, publication_id, run_id, channel_id, arm, kind, verdict) DO UPDATE SET
    total = excluded.total, uniques = excluded.uniques, late = excluded.late, revision = a.revision + 1,
    first_at = excluded.first_at, last_at = excluded.last_at

-- name: replace_touches
-- $1 the first covered time: what readers did before it stays.
WITH gone AS (
    DELETE FROM publishing_engaged e
    WHERE e.first_at >= $1 AND NOT EXISTS (
        SELECT FROM replay.engaged r
        WHERE (r.run_id, r.channel_id, r.destination, r.kind, r.human)
            = (e.run_id, e.channel_id, e.destination, e.kind, e.human))
    RETURNING 1
),
put AS (
    INSERT INTO publishing_engaged AS e (run_id, channel_id, destination, kind, human, first_at)
    SELECT r.run_id, r.channel_id, r.destination, r.kind, r.human, r.first_at
    FROM replay.engaged r
    LEFT JOIN publishing_engaged old USING (run_id, channel_id, destination, kind, human)
    WHERE old.first_at IS DISTINCT FROM r.first_at
    ORDER BY 1, 2, 3, 4, 5
    ON CONFLICT (run_id, channel_id, destination, kind, human) DO UPDATE SET first_at = excluded.first_at
    RETURNING 1
)
SELECT (SELECT count(*) FROM gone) + (SELECT count(*) FROM put)

-- name: record_ruling
INSERT INTO publishing_verdict_replays (rules_version, rules, since, next_offsets, changed_cells)
VALUES ($1, $2, $3, $4, $5)
RETURNING id

-- name: sign
INSERT INTO publishing_audit (actor, role, action, entity, entity_id, request_id, change)
VALUES ('cli', 'admin', $1, 'engagement', $2, $3, $4)
