-- name: claim
-- $1 topic, $2 period in seconds. The database's clock decides, which all schedulers share; one that stepped back by
-- more than a period does not keep the next beat waiting.
INSERT INTO publishing_heartbeats AS h (topic, beat_at) VALUES ($1::text, now())
ON CONFLICT (topic) DO UPDATE SET beat_at = excluded.beat_at
    WHERE h.beat_at <= excluded.beat_at - $2::float8 * interval '1 second'
        OR h.beat_at > excluded.beat_at + $2::float8 * interval '1 second'
RETURNING beat_at
