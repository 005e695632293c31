-- name: create
WITH mark AS (
    -- Waits for a batch that is being written: it is either before this publication for every shard, or after.
    SELECT last_batch_id FROM publishing_content_mark FOR SHARE
), made AS (
    INSERT INTO publishing_publications (name, status, definition, next_due_at, created_by)
    SELECT $1, $2, $3::jsonb || jsonb_build_object('after_content', last_batch_id), $4, $5 FROM mark
    RETURNING id, name, status, definition, next_due_at, version, created_at, updated_at
), shards AS (
    SELECT n AS shard, coalesce(m.last_seq, 0) AS last_seq
    FROM generate_series(0, $6::int - 1) AS n LEFT JOIN publishing_shard_marks m ON m.shard = n
), run AS (
    INSERT INTO publishing_runs (publication_id, publication_version, due_at, shards, after_subscribers, after_content,
        deadline_at)
    SELECT made.id, made.version, $7::timestamptz, $6, (SELECT array_agg(last_seq ORDER BY shard) FROM shards),
        mark.last_batch_id, $8::timestamptz
    FROM made, mark WHERE $7::timestamptz IS NOT NULL
    RETURNING id, publication_id, publication_version, due_at, deadline_at, after_content
), changed AS (
    INSERT INTO publishing_outbox (topic, partition, payload, ce_source, traceparent)
    SELECT $9, shard, jsonb_build_object('publication_id', made.id, 'version', made.version, 'status', made.status),
        $11, $12
    FROM made, shards ORDER BY shard
), due AS (
    INSERT INTO publishing_outbox (topic, partition, payload, ce_source, traceparent)
    SELECT $10, shards.shard, jsonb_build_object('run_id', run.id, 'publication_id', run.publication_id,
        'publication_version', run.publication_version, 'shard', shards.shard, 'due_at', run.due_at,
        'deadline_at', run.deadline_at, 'after_subscribers', shards.last_seq, 'after_content', run.after_content),
        $11, $12
    FROM run, shards ORDER BY shards.shard
), audited AS (
    INSERT INTO publishing_audit (actor, role, request_id, action, entity, entity_id, change)
    SELECT $5, $13, $14, 'create', 'publication', id::text,
        jsonb_build_object('status', status, 'trigger', definition -> 'trigger' -> 'kind', 'fields', $15::jsonb)
    FROM made
)
SELECT made.*, ARRAY(SELECT id FROM run) AS runs FROM made;

-- name: one
SELECT p.id, p.name, p.status, p.definition, p.next_due_at, p.version, p.created_at, p.updated_at,
    ARRAY(SELECT r.id FROM publishing_runs r WHERE r.publication_id = p.id ORDER BY r.id DESC LIMIT 100) AS runs,
    (SELECT max(r.due_at) FROM publishing_runs r WHERE r.publication_id = p.id) AS last_due_at
FROM publishing_publications p
WHERE p.id = $1;

-- name: page
SELECT p.id, p.name, p.status, p.definition, p.next_due_at, p.version, p.created_at, p.updated_at
FROM publishing_publications p
WHERE p.id > $1
ORDER BY p.id LIMIT $2;

-- name: channel_results
SELECT d.channel_id, d.state, count(*) AS deliveries
FROM publishing_runs r
JOIN publishing_deliveries d ON d.run_day = r.run_day AND d.run_id = r.id
WHERE r.publication_id = $1
GROUP BY d.channel_id, d.state
ORDER BY d.channel_id, d.state;

-- name: engagement
SELECT kind, sum(total)::bigint AS total
FROM publishing_analytics
WHERE grain = 'day' AND publication_id = $1
GROUP BY kind;
