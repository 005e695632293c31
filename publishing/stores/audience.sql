-- name: readers
SELECT s.id, s.status, s.topics, s.channels, s.attributes, coalesce(l.learned, '{}') AS learned,
    coalesce(l.recent, '{}') AS recent
FROM publishing_subscribers s
LEFT JOIN publishing_subscriber_state l ON l.destination = s.id
WHERE s.shard = $1;

-- name: readers_by_number
SELECT s.id, s.status, s.topics, s.channels, s.attributes, coalesce(l.learned, '{}') AS learned,
    coalesce(l.recent, '{}') AS recent
FROM publishing_subscribers s
LEFT JOIN publishing_subscriber_state l ON l.destination = s.id
WHERE s.shard = $1 AND s.id = ANY ($2::bigint[]);

-- name: rooms
SELECT l.destination, l.recent
FROM publishing_subscriber_state l
JOIN publishing_channels c ON c.destination = l.destination
WHERE l.shard = $1;

-- name: marks
SELECT coalesce((SELECT last_seq FROM publishing_shard_marks WHERE shard = $1), 0) AS seq,
    (SELECT last_batch_id FROM publishing_content_mark) AS batch_id;

-- name: offsets
SELECT w.topic, coalesce(o.next_offset, 0) AS next_offset
FROM unnest($2::text[]) AS w (topic)
LEFT JOIN stream_offsets o ON o.consumer = $1 AND o.topic = w.topic AND o.partition = $3;

-- name: learn
-- The fence of stores/offsets.sql, then what the shard learned of its readers.
WITH fence AS (
    INSERT INTO stream_offsets AS o (consumer, topic, partition, next_offset)
    SELECT $1::text, $2::text, $3::int, $5::bigint
    WHERE $4::bigint = 0
        OR EXISTS (SELECT FROM stream_offsets WHERE consumer = $1 AND topic = $2 AND partition = $3)
    ON CONFLICT (consumer, topic, partition)
        DO UPDATE SET next_offset = excluded.next_offset, updated_at = now() WHERE o.next_offset = $4
    RETURNING 1
), learned AS (
    INSERT INTO publishing_subscriber_state AS s (destination, shard, learned, events, recent)
    SELECT i.destination, $3, i.learned, i.events, i.recent::bigint[]
    FROM unnest($6::bigint[], $7::jsonb[], $8::bigint[], $9::text[]) AS i (destination, learned, events, recent)
    WHERE EXISTS (SELECT FROM fence)
    ORDER BY i.destination
    ON CONFLICT (destination) DO UPDATE SET learned = excluded.learned, events = s.events + excluded.events,
        recent = excluded.recent, updated_at = now()
)
SELECT EXISTS (SELECT FROM fence);

-- name: fingerprint
-- xmin is the transaction that wrote a row: the sum tells every change of any row, whoever made it and in what order.
SELECT concat(
    (SELECT sum(hashtextextended(concat(id, ':', xmin), 0)) FROM publishing_publications
        WHERE status NOT IN ('draft', 'in_review', 'done', 'cancelled')), '/',
    (SELECT sum(hashtextextended(concat(id, ':', xmin), 0)) FROM publishing_channels), '/',
    (SELECT sum(hashtextextended(concat(id, ':', version, ':', xmin), 0)) FROM publishing_templates));

-- name: publications
SELECT id, name, version, status, definition FROM publishing_publications
WHERE status NOT IN ('draft', 'in_review', 'done', 'cancelled');

-- name: publication
SELECT id, name, version, status, definition FROM publishing_publications WHERE id = $1;

-- name: channels
SELECT id, kind, status, destination, shard, topics FROM publishing_channels;

-- name: templates
SELECT id, max(version) AS version FROM publishing_templates WHERE status = 'published' GROUP BY id;
