-- name: deliveries
SELECT c.kind, d.state, count(*) AS deliveries
FROM publishing_deliveries d
JOIN publishing_channels c ON c.id = d.channel_id
GROUP BY c.kind, d.state
ORDER BY c.kind, d.state;

-- name: keys_in_state
SELECT c.kind, d.run_id, d.channel_id, d.destination
FROM publishing_deliveries d
JOIN publishing_channels c ON c.id = d.channel_id
WHERE d.state = ANY ($1::text[]);

-- name: conservation
SELECT run_id, candidates, excluded, planned, unclaimed, by_state, planned_by_all, holds
FROM analytics.conservation
ORDER BY run_id;

-- name: room_articles
SELECT d.channel_id, c.kind, content_id, count(*) AS times
FROM publishing_deliveries d
JOIN publishing_channels c ON c.id = d.channel_id
CROSS JOIN unnest(d.content_ids) AS content_id
WHERE d.publication_id = $1 AND d.state = 'accepted'
GROUP BY d.channel_id, c.kind, content_id;

-- name: content_about
SELECT id FROM publishing_content WHERE topics ?| $1::text[] AND NOT retracted;

-- name: content_count
SELECT count(*) FROM publishing_content;

-- name: latencies
SELECT extract(epoch FROM d.accepted_at - i.submitted_at) * 1000 AS latency_ms
FROM publishing_deliveries d
CROSS JOIN unnest(d.content_ids) AS content_id
JOIN publishing_content i ON i.id = content_id
WHERE d.publication_id = $1 AND d.accepted_at IS NOT NULL
ORDER BY 1;

-- name: cells
SELECT grain, window_start, publication_id, run_id, channel_id, arm, kind, verdict, total, uniques, late, revision
FROM publishing_analytics
ORDER BY grain, window_start, publication_id, run_id, channel_id, arm, kind, verdict;

-- name: has_run
SELECT EXISTS (SELECT FROM publishing_runs WHERE publication_id = $1);
