-- name: store
-- The fence of stores/offsets.sql, then: newer versions only, and one numbered batch of what changed. The mark's row
-- lock is held to the commit, so that batch numbers are gapless and in the order of commits.
WITH fence AS (
    INSERT INTO stream_offsets AS o (consumer, topic, partition, next_offset)
    SELECT $1::text, $2::text, $3::int, $5::bigint
    WHERE $4::bigint = 0
        OR EXISTS (SELECT FROM stream_offsets WHERE consumer = $1 AND topic = $2 AND partition = $3)
    ON CONFLICT (consumer, topic, partition)
        DO UPDATE SET next_offset = excluded.next_offset, updated_at = now() WHERE o.next_offset = $4
    RETURNING 1
), stored AS (
    INSERT INTO publishing_content AS c (source, external_id, version, type, title, summary, body, url, topics,
        language, author, priority, quality, published_at, expires_at, retracted, submitted_at)
    SELECT i.*
    FROM unnest($6::text[], $7::text[], $8::int[], $9::text[], $10::text[], $11::text[], $12::text[], $13::text[],
        $14::jsonb[], $15::text[], $16::text[], $17::text[], $18::real[], $19::timestamptz[], $20::timestamptz[],
        $21::boolean[], $22::timestamptz[])
        AS i (source, external_id, version, type, title, summary, body, url, topics, language, author, priority,
            quality, published_at, expires_at, retracted, submitted_at)
    WHERE EXISTS (SELECT FROM fence)
    ORDER BY i.source, i.external_id
    ON CONFLICT (source, external_id) DO UPDATE SET
        version = excluded.version, type = excluded.type, title = excluded.title, summary = excluded.summary,
        body = excluded.body, url = excluded.url, topics = excluded.topics, language = excluded.language,
        author = excluded.author, priority = excluded.priority, quality = excluded.quality,
        published_at = excluded.published_at, expires_at = excluded.expires_at, retracted = excluded.retracted,
        submitted_at = excluded.submitted_at, updated_at = now()
    WHERE c.version < excluded.version
    RETURNING id, version, source, type, topics, quality, language, priority, published_at, expires_at, retracted,
        submitted_at
), mark AS (
    UPDATE publishing_content_mark SET last_batch_id = last_batch_id + 1
    WHERE EXISTS (SELECT FROM stored)
    RETURNING last_batch_id
), batch AS (
    INSERT INTO publishing_content_batches (batch_id, source_partition, items)
    SELECT last_batch_id, $3, (
        SELECT jsonb_agg(jsonb_build_object(
            'content_id', id, 'version', version, 'source', source, 'type', type, 'topics', topics, 'quality', quality,
            'language', language, 'priority', priority, 'published_at', (extract(epoch FROM published_at) * 1000)::bigint,
            'expires_at', (extract(epoch FROM expires_at) * 1000)::bigint, 'retracted', retracted,
            'submitted_at', (extract(epoch FROM submitted_at) * 1000)::bigint) ORDER BY id)
        FROM stored)
    FROM mark
    RETURNING batch_id, items
)
SELECT EXISTS (SELECT FROM fence) AS is_held, (SELECT batch_id FROM batch) AS batch_id, (SELECT items FROM batch) AS items;

-- name: unsent_batches
SELECT batch_id, items FROM publishing_content_batches
WHERE emitted_at IS NULL AND source_partition = ANY ($1::int[])
ORDER BY batch_id LIMIT 100;

-- name: mark_emitted
UPDATE publishing_content_batches SET emitted_at = now() WHERE batch_id = ANY ($1::bigint[]) AND emitted_at IS NULL;

-- name: versions
SELECT id, version FROM publishing_content WHERE published_at >= $1;

-- name: items
SELECT id AS content_id, version, source, type, topics, quality, language, priority,
    (extract(epoch FROM published_at) * 1000)::bigint AS published_at,
    (extract(epoch FROM expires_at) * 1000)::bigint AS expires_at, retracted,
    (extract(epoch FROM submitted_at) * 1000)::bigint AS submitted_at
FROM publishing_content WHERE id = ANY ($1::bigint[]);
