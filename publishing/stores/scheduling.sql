-- name: claim_due
WITH due AS MATERIALIZED (
    SELECT id, version, next_due_at, (definition ->> 'deadline_minutes')::int AS deadline_minutes
    FROM publishing_publications
    WHERE next_due_at <= $1 AND status IN ('scheduled', 'running')
    ORDER BY next_due_at, id
    LIMIT $2
    FOR UPDATE SKIP LOCKED
), marks AS (
    SELECT array_agg(coalesce(m.last_seq, 0) ORDER BY s.shard) AS seqs,
        (SELECT last_batch_id FROM publishing_content_mark) AS batch_id
    FROM generate_series(0, $3::int - 1) AS s (shard) LEFT JOIN publishing_shard_marks m USING (shard)
), made AS (
    INSERT INTO publishing_runs (run_day, publication_id, publication_version, due_at, shards, after_subscribers,
        after_content, deadline_at, created_at)
    SELECT ($1 AT TIME ZONE 'UTC')::date, d.id, d.version, d.next_due_at, $3, m.seqs, m.batch_id,
        d.next_due_at + d.deadline_minutes * interval '1 minute', $1
    FROM due d CROSS JOIN marks m
    ON CONFLICT (publication_id, due_at) DO NOTHING
    RETURNING id, publication_id, publication_version, due_at, deadline_at, after_subscribers, after_content
), advanced AS (
    UPDATE publishing_publications p SET status = 'running', next_due_at = NULL, updated_at = $1
    FROM due d WHERE p.id = d.id
    RETURNING p.id, p.version, p.status
), announced AS (
    INSERT INTO publishing_outbox (topic, partition, payload, ce_source, traceparent, created_at)
    SELECT $5, s.shard, jsonb_build_object('publication_id', a.id, 'version', a.version, 'status', a.status),
        'tidewire/scheduler', $6, $1
    FROM advanced a CROSS JOIN generate_series(0, $3::int - 1) AS s (shard)
    ORDER BY a.id, s.shard
), requested AS (
    INSERT INTO publishing_outbox (topic, partition, payload, ce_source, traceparent, created_at)
    SELECT $4, s.shard, jsonb_build_object('run_id', r.id, 'publication_id', r.publication_id,
            'publication_version', r.publication_version, 'shard', s.shard, 'due_at', r.due_at,
            'deadline_at', r.deadline_at, 'after_subscribers', r.after_subscribers[s.shard + 1],
            'after_content', r.after_content),
        'tidewire/scheduler', $6, $1
    FROM made r CROSS JOIN generate_series(0, $3::int - 1) AS s (shard)
    ORDER BY r.id, s.shard
)
SELECT a.id AS publication_id, r.id AS run_id
FROM advanced a LEFT JOIN made r ON r.publication_id = a.id
ORDER BY a.id

-- name: planned_runs
SELECT r.id FROM publishing_runs r
WHERE r.status = 'running' AND r.id > $1
    AND (SELECT count(*) FROM publishing_run_shards s WHERE s.run_id = r.id) = r.shards
ORDER BY r.id
LIMIT $2

-- name: finish_run
WITH finished AS (
    UPDATE publishing_runs r SET status = 'done', finished_at = $2
    WHERE r.id = $1 AND r.status = 'running'
        AND (SELECT count(*) FROM publishing_run_shards s WHERE s.run_id = r.id) = r.shards
        AND NOT EXISTS (SELECT FROM publishing_plans p WHERE p.run_id = r.id AND p.emitted_at IS NULL)
        AND NOT EXISTS (
            SELECT FROM publishing_deliveries d
            WHERE d.run_day = r.run_day AND d.run_id = r.id AND d.state <> ALL ($3::text[]))
        AND (SELECT count(*) FROM publishing_deliveries d WHERE d.run_day = r.run_day AND d.run_id = r.id)
            = (SELECT coalesce(sum(s.planned), 0) FROM publishing_run_shards s WHERE s.run_id = r.id)
    RETURNING r.id, r.publication_id
), ended AS (
    UPDATE publishing_publications p SET status = 'done', updated_at = $2
    FROM finished f
    WHERE p.id = f.publication_id AND p.status = 'running' AND p.trigger_kind IN ('now', 'at')
        AND p.next_due_at IS NULL
        AND NOT EXISTS (
            SELECT FROM publishing_runs o
            WHERE o.publication_id = p.id AND o.id <> f.id AND o.status IN ('running', 'paused'))
    RETURNING p.id, p.version, p.status
), announced AS (
    INSERT INTO publishing_outbox (topic, partition, payload, ce_source, traceparent, created_at)
    SELECT $4, s.shard, jsonb_build_object('publication_id', e.id, 'version', e.version, 'status', e.status),
        'tidewire/scheduler', $5, $2
    FROM ended e CROSS JOIN generate_series(0, $6::int - 1) AS s (shard)
    ORDER BY e.id, s.shard
)
SELECT EXISTS (SELECT FROM finished)
