-- name: events
-- Raw events, and the peer's table for them: one row an event with an index on its time. Unlogged only to be made soon.
CREATE UNLOGGED TABLE bench_events (
    occurred_at timestamptz NOT NULL, publication_id bigint NOT NULL, run_id bigint NOT NULL, channel_id int NOT NULL,
    arm smallint NOT NULL, kind text NOT NULL, verdict text NOT NULL, destination bigint NOT NULL)

-- name: made_up
-- $1 first day, $2 days, $3 publications, $4 readers a run. A run a day and publication; a reader in three opens, one in
-- four of those twice; as many machines open at once; one reader in fifteen clicks; a few bounce. Opens follow the send
-- with a mean of six hours. The same numbers give the same events.
WITH sent AS (
    SELECT $1::timestamptz + day * interval '1 day' + (publication % 24) * interval '1 hour' + reader * interval '20 ms' AS at,
        publication, day * $3::int + publication AS run, 1 + publication % 3 AS channel, publication % 2 AS arm, reader,
        abs(hashint8(day * 1000003 + publication * 1009 + reader * 7919)::bigint) AS luck
    FROM generate_series(0, $2::int - 1) AS day, generate_series(1, $3::int) AS publication,
        generate_series(1, $4::int) AS reader
), happened AS (
    SELECT s.*, 'accepted' AS kind, 'unknown' AS verdict, interval '0' AS after FROM sent s
    UNION ALL
    SELECT s.*, 'opened', 'human', -ln((luck % 9973 + 1) / 9974.0) * interval '6 hours' FROM sent s WHERE luck % 3 = 0
    UNION ALL
    SELECT s.*, 'opened', 'human', interval '5 hours' - ln((luck % 9973 + 1) / 9974.0) * interval '6 hours'
    FROM sent s WHERE luck % 12 = 0
    UNION ALL
    SELECT s.*, 'opened', 'machine', interval '3 seconds' FROM sent s WHERE luck % 3 = 1
    UNION ALL
    SELECT s.*, 'clicked', 'human', interval '1 minute' - ln((luck % 9973 + 1) / 9974.0) * interval '6 hours'
    FROM sent s WHERE luck % 15 = 0
    UNION ALL
    SELECT s.*, 'bounced', 'unknown', interval '10 seconds' FROM sent s WHERE luck % 200 = 7
)
INSERT INTO bench_events
SELECT date_trunc('milliseconds', at + after), publication, run, channel, arm, kind, verdict, reader FROM happened
ORDER BY 1

-- name: index_events
CREATE INDEX bench_events_occurred ON bench_events (occurred_at)

-- name: fold
-- The hours that engagement would have made of them.
WITH firsts AS (
    SELECT min(occurred_at) AS at, publication_id, run_id, channel_id, min(arm) AS arm, kind, verdict
    FROM bench_events WHERE kind IN ('opened', 'clicked')
    GROUP BY publication_id, run_id, channel_id, kind, verdict, destination
), changes AS (
    SELECT occurred_at AS at, publication_id, run_id, channel_id, arm, kind, verdict, 1 AS total, 0 AS uniques
    FROM bench_events
    UNION ALL
    SELECT at, publication_id, run_id, channel_id, arm, kind, verdict, 0, 1 FROM firsts
)
INSERT INTO publishing_analytics
SELECT 'hour', date_trunc('hour', at, 'UTC'), publication_id, run_id, channel_id, arm, kind, verdict, sum(total),
    sum(uniques), 0, 0, min(at), max(at)
FROM changes
GROUP BY date_trunc('hour', at, 'UTC'), publication_id, run_id, channel_id, arm, kind, verdict

-- name: fold_days
-- Days are the sums of their hours.
INSERT INTO publishing_analytics
SELECT 'day', date_trunc('day', window_start, 'UTC'), publication_id, run_id, channel_id, arm, kind, verdict, sum(total),
    sum(uniques), 0, 0, min(first_at), max(last_at)
FROM publishing_analytics WHERE grain = 'hour'
GROUP BY date_trunc('day', window_start, 'UTC'), publication_id, run_id, channel_id, arm, kind, verdict

-- name: raw_series
-- The peer: the same series from raw events. A first touch may lie before the period, so readers who were seen before
-- are asked for. $1 grain, $2 from, $3 before.
WITH touched AS (
    SELECT min(occurred_at) AS at, channel_id, kind, verdict
    FROM bench_events WHERE occurred_at < $3 AND kind IN ('opened', 'clicked')
    GROUP BY run_id, channel_id, kind, verdict, destination
), uniques AS (
    SELECT date_trunc($1, at, 'UTC') AS window_start, channel_id, kind, verdict, count(*) AS uniques
    FROM touched WHERE at >= $2 GROUP BY 1, 2, 3, 4
), totals AS (
    SELECT date_trunc($1, occurred_at, 'UTC') AS window_start, channel_id, kind, verdict, count(*) AS total
    FROM bench_events WHERE occurred_at >= $2 AND occurred_at < $3 GROUP BY 1, 2, 3, 4
)
SELECT window_start, channel_id, kind, verdict, coalesce(total, 0) AS total, coalesce(uniques, 0) AS uniques
FROM totals FULL JOIN uniques USING (window_start, channel_id, kind, verdict)
ORDER BY 1, 2, 3, 4

-- name: raw_totals
-- The peer: what of the period before is compared with.
SELECT kind, count(*) AS total FROM bench_events WHERE occurred_at >= $1 AND occurred_at < $2 GROUP BY kind

-- name: rows
SELECT (SELECT count(*) FROM bench_events) AS events,
    (SELECT count(*) FROM publishing_analytics WHERE grain = 'day') AS days,
    (SELECT count(*) FROM publishing_analytics WHERE grain = 'hour') AS hours
