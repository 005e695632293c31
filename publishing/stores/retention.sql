-- name: ensure_days
SELECT publishing_ensure_days($1::date, $2::date)

-- name: past_partitions
-- The partitions of $1 (named by their UTC day or month) that end at or before $2.
SELECT c.relname AS name, format('DROP TABLE IF EXISTS %I.%I', n.nspname, c.relname) AS statement
FROM pg_inherits i
JOIN pg_class c ON c.oid = i.inhrelid
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE i.inhparent = $1::text::regclass
    AND CASE
        WHEN c.relname ~ '_[0-9]{8}$' THEN to_date(right(c.relname, 8), 'YYYYMMDD') < $2::date
        WHEN c.relname ~ '_[0-9]{6}$' THEN to_date(right(c.relname, 6), 'YYYYMM') + interval '1 month' <= $2::date
        ELSE false END
ORDER BY c.relname

-- name: delete_event_ids
WITH gone AS (DELETE FROM publishing_event_ids_default WHERE day < $1::date RETURNING 1)
SELECT count(*) FROM gone

-- name: delete_minutes
WITH gone AS (
    DELETE FROM publishing_analytics_minute_default WHERE window_start < $1::date::timestamp AT TIME ZONE 'UTC' RETURNING 1
)
SELECT count(*) FROM gone

-- name: delete_hours
WITH gone AS (
    DELETE FROM publishing_analytics_hour_default WHERE window_start < $1::date::timestamp AT TIME ZONE 'UTC' RETURNING 1
)
SELECT count(*) FROM gone
