-- name: add
-- $1 destinations, $2 scopes, $3 reasons, $4 sources. What is suppressed stays so for the reason it was first.
INSERT INTO publishing_suppressions (destination, scope, reason, source)
SELECT DISTINCT ON (destination, scope) destination, scope, reason, source
FROM unnest($1::bigint[], $2::text[], $3::text[], $4::text[]) AS u (destination, scope, reason, source)
ORDER BY destination, scope
ON CONFLICT (destination, scope) DO NOTHING

-- name: scopes_of
SELECT scope, reason FROM publishing_suppressions WHERE destination = $1::bigint ORDER BY scope
