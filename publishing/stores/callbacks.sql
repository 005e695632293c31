-- name: delivery
-- What a delivery ($1 run, $2 channel, $3 destination) was of; the run's day finds its partition.
SELECT d.publication_id, d.arm
FROM publishing_runs r
JOIN publishing_deliveries d ON d.run_day = r.run_day AND d.run_id = r.id
WHERE r.id = $1::bigint AND d.channel_id = $2::int AND d.destination = $3::bigint;

-- name: deliveries_of_message
-- The deliveries that a provider's number ($1) stands for; a message has at most 50 recipients.
SELECT run_id, publication_id, channel_id, destination, arm
FROM publishing_deliveries WHERE provider_message_id = $1::text
ORDER BY run_id, channel_id, destination LIMIT 50;

-- name: subscribers_of_addresses
-- $1 keyed hashes of addresses.
SELECT id, email_lookup FROM publishing_subscribers WHERE email_lookup = ANY ($1::bytea[]);

-- name: channel
SELECT id, kind, version, destination, config_sealed FROM publishing_channels
WHERE id = $1::int AND status <> 'deleted';
