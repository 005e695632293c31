-- name: one
SELECT r.id, r.publication_id, r.publication_version, r.due_at, r.content_batch_id, r.deadline_at, r.status, r.shards,
    r.created_at, r.finished_at,
    (SELECT count(*) FROM publishing_run_shards s WHERE s.run_id = r.id) AS shards_planned,
    (SELECT coalesce(sum(s.candidates), 0)::bigint FROM publishing_run_shards s WHERE s.run_id = r.id) AS candidates,
    (SELECT coalesce(sum(s.planned), 0)::bigint FROM publishing_run_shards s WHERE s.run_id = r.id) AS planned
FROM publishing_runs r
WHERE r.id = $1;

-- name: channel_results
SELECT d.channel_id, d.state, count(*) AS deliveries
FROM publishing_runs r
JOIN publishing_deliveries d ON d.run_day = r.run_day AND d.run_id = r.id
WHERE r.id = $1
GROUP BY d.channel_id, d.state
ORDER BY d.channel_id, d.state;

-- name: conservation
SELECT run_id, candidates, excluded, planned, unclaimed, by_state, planned_by_all, holds
FROM analytics.conservation
WHERE run_id = $1;
