-- name: load
SELECT w.topic, w.partition, coalesce(o.next_offset, 0) AS next_offset
FROM unnest($2::text[], $3::int[]) AS w (topic, partition)
LEFT JOIN stream_offsets o ON o.consumer = $1 AND o.topic = w.topic AND o.partition = w.partition

-- name: advance
-- The fence: $1 consumer, $2 topic, $3 partition, $4 expected, $5 after. A place without a row is at 0, so that only
-- an expectation of 0 may insert; every other one has to find its own number. Other stores begin with this same CTE.
WITH fence AS (
    INSERT INTO stream_offsets AS o (consumer, topic, partition, next_offset)
    SELECT $1::text, $2::text, $3::int, $5::bigint
    WHERE $4::bigint = 0
        OR EXISTS (SELECT FROM stream_offsets WHERE consumer = $1 AND topic = $2 AND partition = $3)
    ON CONFLICT (consumer, topic, partition)
        DO UPDATE SET next_offset = excluded.next_offset, updated_at = now() WHERE o.next_offset = $4
    RETURNING 1
)
SELECT EXISTS (SELECT FROM fence)
