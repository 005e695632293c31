-- name: database_now
SELECT now()

-- name: return_claimed
WITH ended AS MATERIALIZED (
    SELECT run_day, run_id, channel_id, destination
    FROM publishing_deliveries
    WHERE state = 'claimed' AND lease_until <= $1
    ORDER BY lease_until
    LIMIT $2
    FOR UPDATE SKIP LOCKED
)
UPDATE publishing_deliveries d
SET state = 'retry', reason = 'lease_expired', next_attempt_at = $1, lease_until = NULL, claim_id = NULL,
    updated_at = $1
FROM ended e
WHERE d.run_day = e.run_day AND d.run_id = e.run_id AND d.channel_id = e.channel_id AND d.destination = e.destination
RETURNING (SELECT c.kind FROM publishing_channels c WHERE c.id = d.channel_id) AS kind, d.lane, d.state

-- name: doubt_submitted
WITH ended AS MATERIALIZED (
    SELECT run_day, run_id, channel_id, destination
    FROM publishing_deliveries
    WHERE state = 'submitted' AND lease_until <= $2
    ORDER BY lease_until
    LIMIT $3
    FOR UPDATE SKIP LOCKED
)
UPDATE publishing_deliveries d
SET state = 'in_doubt', reason = 'lease_expired', lease_until = NULL, updated_at = $1
FROM ended e
WHERE d.run_day = e.run_day AND d.run_id = e.run_id AND d.channel_id = e.channel_id AND d.destination = e.destination
RETURNING (SELECT c.kind FROM publishing_channels c WHERE c.id = d.channel_id) AS kind, d.lane, d.state

-- name: resend_doubtful
WITH doubtful AS MATERIALIZED (
    SELECT d.run_day, d.run_id, d.channel_id, d.destination
    FROM publishing_deliveries d
    JOIN publishing_channels c ON c.id = d.channel_id AND c.kind = ANY ($2::text[])
    WHERE d.state = 'in_doubt' AND d.attempts < $3
    LIMIT $4
    FOR UPDATE OF d SKIP LOCKED
)
UPDATE publishing_deliveries d
SET state = 'retry', lease_until = NULL, claim_id = NULL, updated_at = $1,
    next_attempt_at = $1::timestamptz + make_interval(secs => random() * least($6::float8, $5::float8 * 2 ^ d.attempts))
FROM doubtful e
WHERE d.run_day = e.run_day AND d.run_id = e.run_id AND d.channel_id = e.channel_id AND d.destination = e.destination
RETURNING (SELECT c.kind FROM publishing_channels c WHERE c.id = d.channel_id) AS kind, d.lane, d.state

-- name: claim_retries
WITH waiting AS MATERIALIZED (
    SELECT d.run_day, d.run_id, d.channel_id, d.destination
    FROM publishing_deliveries d
    JOIN publishing_runs r ON r.id = d.run_id AND r.status <> 'paused'
    JOIN publishing_publications p ON p.id = d.publication_id AND p.status <> 'paused'
    WHERE d.state IN ('retry', 'deferred') AND d.next_attempt_at <= $1
        AND (d.lease_until IS NULL OR d.lease_until <= $1)
    ORDER BY d.next_attempt_at
    LIMIT $3
    FOR UPDATE OF d SKIP LOCKED
)
UPDATE publishing_deliveries d
SET lease_until = $2
FROM waiting w
WHERE d.run_day = w.run_day AND d.run_id = w.run_id AND d.channel_id = w.channel_id AND d.destination = w.destination
RETURNING (SELECT c.kind FROM publishing_channels c WHERE c.id = d.channel_id) AS kind, d.run_id, d.publication_id,
    d.channel_id, d.destination, d.shard, d.chunk, d.lane, d.template_id, d.template_version, d.deadline_at, d.arm,
    d.content_ids, d.scores
