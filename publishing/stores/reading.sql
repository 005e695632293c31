-- name: content
-- $1 ids, $2 the versions that the caller already has (0 for none). Texts come only for another version than that.
SELECT c.id, c.version, c.retracted, k.version = c.version AS is_known,
    CASE WHEN k.version <> c.version THEN c.title END AS title,
    CASE WHEN k.version <> c.version THEN c.summary END AS summary,
    CASE WHEN k.version <> c.version THEN c.url END AS url,
    CASE WHEN k.version <> c.version THEN c.author END AS author,
    CASE WHEN k.version <> c.version THEN c.topics END AS topics,
    c.language, c.published_at
FROM unnest($1::bigint[], $2::int[]) AS k (id, version)
JOIN publishing_content c ON c.id = k.id

-- name: channel
SELECT id, kind, name, version, config_sealed, limits FROM publishing_channels WHERE id = $1::int
