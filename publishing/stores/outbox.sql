-- name: has_work
SELECT EXISTS (
    SELECT FROM publishing_outbox WHERE sent_at IS NULL AND (payload IS NOT NULL OR created_at <= $1))

-- name: take_turn
SELECT pg_try_advisory_xact_lock(hashtext('publishing_outbox'))

-- name: select_unsent
SELECT id, topic, partition, frame, payload, ce_source, traceparent
FROM publishing_outbox
WHERE sent_at IS NULL AND (payload IS NOT NULL OR created_at <= $1) AND id <> ALL ($2::bigint[])
ORDER BY id
LIMIT $3

-- name: mark_sent
UPDATE publishing_outbox SET sent_at = $2 WHERE id = ANY ($1::bigint[]) AND sent_at IS NULL

-- name: set_aside
WITH aside AS (
    UPDATE publishing_outbox SET sent_at = $3 WHERE id = $1 AND sent_at IS NULL
    RETURNING id, topic, partition, frame, payload, ce_source
)
INSERT INTO publishing_quarantine (source, external_id, reason, detail, created_at)
SELECT 'outbox', id::text, $2, jsonb_build_object('topic', topic, 'partition', partition, 'payload', payload,
    'frame_base64', encode(frame, 'base64'), 'ce_source', ce_source), $3
FROM aside

-- name: delete_sent
WITH old AS (
    SELECT id FROM publishing_outbox WHERE sent_at < $1 ORDER BY id LIMIT $2 FOR UPDATE SKIP LOCKED
), gone AS (
    DELETE FROM publishing_outbox o USING old WHERE o.id = old.id RETURNING 1
)
SELECT count(*) FROM gone

-- name: measure
SELECT count(*) AS unsent, coalesce(extract(epoch FROM $1 - min(created_at)), 0)::float8 AS oldest_s
FROM publishing_outbox WHERE sent_at IS NULL
