-- name: of_entity
SELECT id, at, actor, role, action, entity, entity_id, request_id, change
FROM publishing_audit
WHERE entity = $1 AND entity_id = $2
ORDER BY id;
