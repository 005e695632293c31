-- name: ensure_days
SELECT publishing_ensure_days($1::date, $2::date)

-- name: event_id_days
SELECT c.relname AS name, format('DROP TABLE IF EXISTS %I.%I', n.nspname, c.relname) AS statement
FROM pg_inherits i
JOIN pg_class c ON c.oid = i.inhrelid
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE i.inhparent = 'publishing_event_ids'::regclass
    AND CASE WHEN c.relname ~ '_[0-9]{8}$' THEN to_date(right(c.relname, 8), 'YYYYMMDD') < $1::date ELSE false END
ORDER BY c.relname

-- name: delete_event_ids
WITH gone AS (DELETE FROM publishing_event_ids_default WHERE day < $1::date RETURNING 1)
SELECT count(*) FROM gone
