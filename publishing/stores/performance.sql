-- name: planned
-- $1 from, $2 before: how many deliveries the runs made in that time were planned to have.
SELECT coalesce(sum(s.planned), 0)::bigint
FROM publishing_runs r JOIN publishing_run_shards s ON s.run_id = r.id
WHERE r.created_at >= $1 AND r.created_at < $2;

-- name: outcomes
-- $1 from, $2 before, $3 channels, $4 publications.
SELECT d.channel_id, c.kind, d.state, d.reason, count(*) AS deliveries
FROM publishing_runs r
JOIN publishing_deliveries d ON d.run_day = r.run_day AND d.run_id = r.id
JOIN publishing_channels c ON c.id = d.channel_id
WHERE r.created_at >= $1 AND r.created_at < $2
    AND d.run_day >= ($1 AT TIME ZONE 'UTC')::date AND d.run_day <= ($2 AT TIME ZONE 'UTC')::date
    AND ($3::int[] IS NULL OR d.channel_id = ANY ($3))
    AND ($4::bigint[] IS NULL OR d.publication_id = ANY ($4))
GROUP BY d.channel_id, c.kind, d.state, d.reason
ORDER BY deliveries DESC, d.channel_id, d.state, d.reason;

-- name: latencies
-- As outcomes; $5 one reader in how many, chosen by a hash of the number. A row a channel, and one of all (channel null).
WITH origins AS MATERIALIZED (
    SELECT r.id, r.run_day, coalesce(r.due_at,
        (SELECT timestamptz 'epoch' + max((i ->> 'submitted_at')::bigint) * interval '1 millisecond'
            FROM publishing_content_batches b CROSS JOIN jsonb_array_elements(b.items) i
            WHERE b.batch_id = r.content_batch_id),
        r.created_at) AS began_at
    FROM publishing_runs r
    WHERE r.created_at >= $1 AND r.created_at < $2 AND ($4::bigint[] IS NULL OR r.publication_id = ANY ($4))
), measured AS (
    SELECT d.channel_id, extract(epoch FROM d.accepted_at - o.began_at)::float8 * 1000 AS to_provider_ms,
        extract(epoch FROM e.first_at - d.accepted_at)::float8 * 1000 AS to_open_ms
    FROM origins o
    JOIN publishing_deliveries d ON d.run_day = o.run_day AND d.run_id = o.id
    LEFT JOIN publishing_engaged e ON e.run_id = d.run_id AND e.channel_id = d.channel_id
        AND e.destination = d.destination AND e.kind = 'opened' AND e.human
    WHERE d.accepted_at IS NOT NULL
        AND d.run_day >= ($1 AT TIME ZONE 'UTC')::date AND d.run_day <= ($2 AT TIME ZONE 'UTC')::date
        AND ($3::int[] IS NULL OR d.channel_id = ANY ($3))
        AND ($5::int = 1 OR abs(hashint8(d.destination)::bigint) % $5 = 0)
)
SELECT channel_id, count(*) AS accepted,
    percentile_disc(ARRAY[0.5, 0.95, 0.99]) WITHIN GROUP (ORDER BY greatest(to_provider_ms, 0)) AS to_provider_ms,
    count(to_open_ms) AS opened,
    percentile_disc(ARRAY[0.5, 0.95, 0.99]) WITHIN GROUP (ORDER BY greatest(to_open_ms, 0))
        FILTER (WHERE to_open_ms IS NOT NULL) AS to_open_ms
FROM measured
GROUP BY GROUPING SETS ((), (channel_id));

-- name: pace
-- As outcomes, by windows of event time.
SELECT grain, count(*) AS windows, sum(total)::bigint AS total, max(total)::bigint AS busiest,
    (array_agg(window_start ORDER BY total DESC, window_start))[1] AS busiest_at
FROM (
    SELECT grain, window_start, sum(total) AS total
    FROM publishing_analytics
    WHERE grain IN ('minute', 'hour') AND window_start >= $1 AND window_start < $2 AND kind = 'accepted'
        AND ($3::int[] IS NULL OR channel_id = ANY ($3))
        AND ($4::bigint[] IS NULL OR publication_id = ANY ($4))
    GROUP BY grain, window_start
) w
GROUP BY grain;

-- name: sendings
-- As outcomes: what came of each run and channel that was first accepted in the period, from the day windows.
SELECT a.publication_id, a.run_id, a.channel_id, c.kind AS channel_kind,
    min(a.first_at) FILTER (WHERE a.kind = 'accepted') AS sent_at,
    coalesce(sum(a.total) FILTER (WHERE a.kind = 'accepted'), 0)::bigint AS accepted,
    coalesce(sum(a.total) FILTER (WHERE a.kind = 'delivered'), 0)::bigint AS delivered,
    coalesce(sum(a.uniques) FILTER (WHERE a.kind = 'opened' AND a.verdict = 'human'), 0)::bigint AS opened,
    coalesce(sum(a.total) FILTER (WHERE a.kind = 'bounced'), 0)::bigint AS bounced,
    coalesce(sum(a.uniques) FILTER (WHERE a.kind = 'complained'), 0)::bigint AS complained
FROM publishing_analytics a
JOIN publishing_channels c ON c.id = a.channel_id
WHERE a.grain = 'day' AND a.window_start >= date_trunc('day', $1::timestamptz, 'UTC') AND a.window_start < $2
    AND a.run_id > 0
    AND ($3::int[] IS NULL OR a.channel_id = ANY ($3))
    AND ($4::bigint[] IS NULL OR a.publication_id = ANY ($4))
GROUP BY a.publication_id, a.run_id, a.channel_id, c.kind
HAVING min(a.first_at) FILTER (WHERE a.kind = 'accepted') >= $1
ORDER BY sent_at, a.run_id, a.channel_id;

-- name: readers
-- As latencies, a row a channel: what was accepted for its readers before and since $6, how many of them there are who
-- got $7 messages or more, how many of those opened or clicked none, and how many of those had ever been learned from.
WITH sent AS (
    SELECT d.channel_id, d.destination, count(*) FILTER (WHERE r.created_at < $6) AS earlier,
        count(*) FILTER (WHERE r.created_at >= $6) AS later,
        bool_or(EXISTS (
            SELECT FROM publishing_engaged e
            WHERE e.run_id = d.run_id AND e.channel_id = d.channel_id AND e.destination = d.destination
                AND e.kind IN ('opened', 'clicked') AND e.human)) AS is_engaged
    FROM publishing_runs r
    JOIN publishing_deliveries d ON d.run_day = r.run_day AND d.run_id = r.id
    JOIN publishing_channels c ON c.id = d.channel_id AND c.kind = 'email'
    WHERE r.created_at >= $1 AND r.created_at < $2 AND d.accepted_at IS NOT NULL
        AND d.run_day >= ($1 AT TIME ZONE 'UTC')::date AND d.run_day <= ($2 AT TIME ZONE 'UTC')::date
        AND ($3::int[] IS NULL OR d.channel_id = ANY ($3))
        AND ($4::bigint[] IS NULL OR d.publication_id = ANY ($4))
        AND ($5::int = 1 OR abs(hashint8(d.destination)::bigint) % $5 = 0)
    GROUP BY d.channel_id, d.destination
)
SELECT s.channel_id, sum(earlier)::bigint AS messages_before, count(*) FILTER (WHERE earlier > 0) AS readers_before,
    sum(later)::bigint AS messages, count(*) FILTER (WHERE later > 0) AS readers,
    count(*) FILTER (WHERE is_engaged) AS engaged,
    count(*) FILTER (WHERE earlier + later >= $7) AS regular,
    count(*) FILTER (WHERE earlier + later >= $7 AND NOT is_engaged AND coalesce(l.events, 0) = 0) AS never_engaged,
    count(*) FILTER (WHERE earlier + later >= $7 AND NOT is_engaged AND coalesce(l.events, 0) > 0) AS lapsed
FROM sent s
LEFT JOIN publishing_subscriber_state l ON l.destination = s.destination
GROUP BY s.channel_id
ORDER BY s.channel_id;

-- name: bounced_active
-- As outcomes, a row a channel: readers whose message bounced and to whom nothing forbids the next one.
SELECT d.channel_id, count(DISTINCT d.destination) AS readers
FROM publishing_runs r
JOIN publishing_deliveries d ON d.run_day = r.run_day AND d.run_id = r.id
JOIN publishing_channels c ON c.id = d.channel_id AND c.kind = 'email'
JOIN publishing_subscribers s ON s.id = d.destination AND s.status = 'active'
WHERE r.created_at >= $1 AND r.created_at < $2 AND d.state = 'bounced'
    AND d.run_day >= ($1 AT TIME ZONE 'UTC')::date AND d.run_day <= ($2 AT TIME ZONE 'UTC')::date
    AND ($3::int[] IS NULL OR d.channel_id = ANY ($3))
    AND ($4::bigint[] IS NULL OR d.publication_id = ANY ($4))
    AND coalesce(s.channels ->> 'email', 'true') <> 'false'
    AND NOT EXISTS (
        SELECT FROM publishing_suppressions x
        WHERE x.destination = d.destination AND x.scope IN ('all', 'email', 'channel:' || d.channel_id))
GROUP BY d.channel_id
ORDER BY d.channel_id;
