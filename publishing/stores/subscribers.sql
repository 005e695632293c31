-- name: match
SELECT id, data_key, email_lookup, external_id
FROM publishing_subscribers
WHERE email_lookup = ANY ($1::bytea[]) OR external_id = ANY ($2::text[]);

-- name: reserve
SELECT nextval('publishing_destination_numbers') AS id FROM generate_series(1, $1::int);

-- name: write
WITH input AS (
    SELECT * FROM unnest($1::bigint[], $2::boolean[], $3::text[], $4::bytea[], $5::bytea[], $6::bytea[], $7::text[],
        $8::text[], $9::text[], $10::jsonb[], $11::jsonb[], $12::jsonb[], $13::jsonb[])
        AS i (id, is_new, external_id, data_key, email_sealed, email_lookup, time_zone, locale, cadence, topics,
            channels, caps, attributes)
), inserted AS (
    INSERT INTO publishing_subscribers (id, shard, external_id, data_key, email_sealed, email_lookup, time_zone, locale,
        cadence, topics, channels, caps, attributes)
    SELECT id, id % $14::int, external_id, data_key, email_sealed, email_lookup, coalesce(time_zone, 'UTC'),
        coalesce(locale, 'en'), coalesce(cadence, 'immediate'), coalesce(topics, '{}'), coalesce(channels, '{}'),
        coalesce(caps, '{}'), coalesce(attributes, '{}')
    FROM input WHERE is_new
    ORDER BY email_lookup, external_id
    ON CONFLICT DO NOTHING
    RETURNING id, shard, version
), updated AS (
    UPDATE publishing_subscribers s SET
        external_id = coalesce(i.external_id, s.external_id),
        data_key = coalesce(i.data_key, s.data_key),
        email_sealed = coalesce(i.email_sealed, s.email_sealed),
        email_lookup = coalesce(i.email_lookup, s.email_lookup),
        time_zone = coalesce(i.time_zone, s.time_zone),
        locale = coalesce(i.locale, s.locale),
        cadence = coalesce(i.cadence, s.cadence),
        topics = coalesce(i.topics, s.topics),
        channels = coalesce(i.channels, s.channels),
        caps = coalesce(i.caps, s.caps),
        attributes = coalesce(i.attributes, s.attributes),
        version = s.version + 1,
        updated_at = now()
    FROM input i
    WHERE NOT i.is_new AND s.id = i.id AND s.status <> 'erased'
    RETURNING s.id, s.shard, s.version
), changed AS (
    SELECT id, shard, version, true AS is_new FROM inserted
    UNION ALL
    SELECT id, shard, version, false FROM updated
), marks AS (
    INSERT INTO publishing_shard_marks AS m (shard, last_seq)
    SELECT shard, count(*) FROM changed GROUP BY shard ORDER BY shard
    ON CONFLICT (shard) DO UPDATE SET last_seq = m.last_seq + excluded.last_seq
    RETURNING shard, last_seq
), ranked AS (
    SELECT id, shard, version, row_number() OVER (PARTITION BY shard ORDER BY id) AS place,
        count(*) OVER (PARTITION BY shard) AS changes
    FROM changed
), announced AS (
    INSERT INTO publishing_outbox (topic, partition, payload, ce_source, traceparent)
    SELECT $15, shard, jsonb_build_object('shard', shard, 'changes', jsonb_agg(jsonb_build_object(
        'destination', id, 'seq', last_seq - changes + place, 'version', version) ORDER BY place)), $16, $17
    FROM ranked JOIN marks USING (shard)
    GROUP BY shard, (place - 1) / 500
    ORDER BY shard, min(place)
), audited AS (
    INSERT INTO publishing_audit (actor, role, request_id, action, entity, entity_id, change)
    SELECT $18, $19, $20, 'upsert', 'subscriber', CASE WHEN count(*) = 1 THEN min(id)::text ELSE 'bulk' END,
        jsonb_build_object('created', count(*) FILTER (WHERE is_new), 'updated', count(*) FILTER (WHERE NOT is_new),
            'fields', $21::jsonb)
    FROM changed HAVING count(*) > 0
)
SELECT id, shard, is_new FROM changed;

-- name: one
SELECT s.id, s.shard, s.external_id, s.status, s.data_key, s.email_sealed, s.time_zone, s.locale, s.cadence, s.topics,
    s.channels, s.caps, s.attributes, s.version, coalesce(l.learned, '{}') AS learned, coalesce(l.events, 0) AS events
FROM publishing_subscribers s
LEFT JOIN publishing_subscriber_state l ON l.destination = s.id
WHERE s.id = $1;

-- name: page
SELECT s.id, s.shard, s.external_id, s.status, s.data_key, s.email_sealed, s.time_zone, s.locale, s.cadence, s.topics,
    s.channels, s.caps, s.attributes, s.version, coalesce(l.learned, '{}') AS learned, coalesce(l.events, 0) AS events
FROM publishing_subscribers s
LEFT JOIN publishing_subscriber_state l ON l.destination = s.id
WHERE s.id > $1
ORDER BY s.id LIMIT $2;
