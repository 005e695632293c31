-- name: store
-- The fence of stores/offsets.sql, then the plans of one shard: a run that the shard has planned before is left as it
-- is, frames and all, and only the fence advances.
WITH fence AS (
    INSERT INTO stream_offsets AS o (consumer, topic, partition, next_offset)
    SELECT $1::text, $2::text, $3::int, $5::bigint
    WHERE $4::bigint = 0
        OR EXISTS (SELECT FROM stream_offsets WHERE consumer = $1 AND topic = $2 AND partition = $3)
    ON CONFLICT (consumer, topic, partition)
        DO UPDATE SET next_offset = excluded.next_offset, updated_at = now() WHERE o.next_offset = $4
    RETURNING 1
), planned AS (
    INSERT INTO publishing_run_shards (run_id, shard, candidates, excluded, planned)
    SELECT i.run_id, $3, i.candidates, i.excluded, i.planned
    FROM unnest($6::bigint[], $7::int[], $8::jsonb[], $9::int[]) AS i (run_id, candidates, excluded, planned)
    WHERE EXISTS (SELECT FROM fence)
    ORDER BY i.run_id
    ON CONFLICT (run_id, shard) DO NOTHING
    RETURNING run_id
), framed AS (
    INSERT INTO publishing_plans (run_id, shard, chunk, channel_id, topic, partition, destinations, frame)
    SELECT i.run_id, $3, i.chunk, i.channel_id, i.topic, i.partition, i.destinations::bigint[], i.frame
    FROM unnest($10::bigint[], $11::int[], $12::int[], $13::text[], $14::int[], $15::text[], $16::bytea[])
        AS i (run_id, chunk, channel_id, topic, partition, destinations, frame)
    WHERE i.run_id IN (SELECT run_id FROM planned)
), remembered AS (
    INSERT INTO publishing_subscriber_state AS s (destination, shard, recent)
    SELECT i.destination, $3, i.recent::bigint[]
    FROM unnest($17::bigint[], $18::text[]) AS i (destination, recent)
    WHERE EXISTS (SELECT FROM planned)
    ORDER BY i.destination
    ON CONFLICT (destination) DO UPDATE SET recent = excluded.recent, updated_at = now()
)
SELECT EXISTS (SELECT FROM fence) AS is_held, coalesce((SELECT array_agg(run_id) FROM planned), '{}') AS runs;

-- name: content_run
-- The run of a publication over a content batch: whichever shard asks first makes it.
WITH made AS (
    INSERT INTO publishing_runs (publication_id, publication_version, content_batch_id, shards, after_content,
        deadline_at)
    VALUES ($1, $2, $3, $4, $3, $5)
    ON CONFLICT (publication_id, content_batch_id) DO NOTHING
    RETURNING id, deadline_at
)
SELECT id, deadline_at FROM made
UNION ALL
SELECT id, deadline_at FROM publishing_runs WHERE publication_id = $1 AND content_batch_id = $3
LIMIT 1;

-- name: unsent_shards
SELECT DISTINCT shard FROM publishing_plans WHERE emitted_at IS NULL AND shard = ANY ($1::int[]);

-- name: unsent
SELECT run_id, chunk, topic, partition, frame FROM publishing_plans
WHERE emitted_at IS NULL AND shard = $1
ORDER BY topic LIKE '%.alert.%' DESC, run_id, chunk LIMIT $2;

-- name: mark_emitted
UPDATE publishing_plans p SET emitted_at = now()
FROM unnest($2::bigint[], $3::int[]) AS i (run_id, chunk)
WHERE p.shard = $1 AND p.run_id = i.run_id AND p.chunk = i.chunk AND p.emitted_at IS NULL;
