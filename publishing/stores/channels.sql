-- name: reserve
SELECT nextval(pg_get_serial_sequence('publishing_channels', 'id'))::int AS id,
    CASE WHEN $1::boolean THEN nextval('publishing_destination_numbers') END AS destination;

-- name: create
WITH made AS (
    INSERT INTO publishing_channels (id, kind, name, config_sealed, topics, limits, validation, destination, shard)
    OVERRIDING SYSTEM VALUE
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $8::bigint % $9::int)
    ON CONFLICT (name) DO NOTHING
    RETURNING id, kind, name, status, topics, limits, validation, destination, shard, version
), marks AS (
    INSERT INTO publishing_shard_marks AS m (shard, last_seq)
    SELECT shard, 1 FROM made WHERE shard IS NOT NULL
    ON CONFLICT (shard) DO UPDATE SET last_seq = m.last_seq + 1
    RETURNING shard, last_seq
), announced AS (
    INSERT INTO publishing_outbox (topic, partition, payload, ce_source, traceparent)
    SELECT $10, shard, jsonb_build_object('shard', shard, 'changes', jsonb_build_array(jsonb_build_object(
        'destination', destination, 'seq', last_seq, 'version', version))), $11, $12
    FROM made JOIN marks USING (shard)
), audited AS (
    INSERT INTO publishing_audit (actor, role, request_id, action, entity, entity_id, change)
    SELECT $13, $14, $15, 'create', 'channel', id::text, jsonb_build_object('kind', kind, 'fields', $16::jsonb)
    FROM made
)
SELECT id, kind, name, status, topics, limits, validation FROM made;

-- name: validated
WITH tested AS (
    UPDATE publishing_channels SET validation = $2, updated_at = now() WHERE id = $1
    RETURNING id, kind, name, status, topics, limits, validation
), audited AS (
    INSERT INTO publishing_audit (actor, role, request_id, action, entity, entity_id, change)
    SELECT $3, $4, $5, 'test', 'channel', id::text, jsonb_build_object('status', validation -> 'status') FROM tested
)
SELECT id, kind, name, status, topics, limits, validation FROM tested;

-- name: one
SELECT id, kind, name, status, topics, limits, validation FROM publishing_channels
WHERE id = $1 AND status <> 'deleted';

-- name: page
SELECT id, kind, name, status, topics, limits, validation FROM publishing_channels
WHERE id > $1 AND status <> 'deleted'
ORDER BY id LIMIT $2;

-- name: config
SELECT kind, config_sealed FROM publishing_channels WHERE id = $1 AND status <> 'deleted';

-- name: known
SELECT id FROM publishing_channels WHERE id = ANY ($1::int[]) AND status <> 'deleted';
