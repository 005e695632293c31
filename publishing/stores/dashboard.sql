-- name: cells
-- $1 from, $2 before. One scan, summed twice: a row without window is a channel's over the period, one without channel
-- is a window's over the channels. Both keys at once would be as many rows as windows times channels.
WITH cells AS (
    SELECT window_start, channel_id, kind, verdict, sum(total)::bigint AS total, sum(uniques)::bigint AS uniques
    FROM {table}
    WHERE window_start >= $1 AND window_start < $2 {filters}
    GROUP BY GROUPING SETS ((channel_id, kind, verdict), (window_start, kind, verdict))
)
SELECT cells.*, c.name, c.kind AS channel_kind
FROM cells
LEFT JOIN publishing_channels c ON c.id = cells.channel_id;

-- name: of_publication
AND publication_id = $3

-- name: planned
SELECT coalesce(sum(s.planned), 0)::bigint
FROM publishing_runs r
JOIN publishing_run_shards s ON s.run_id = r.id
WHERE r.created_at >= $1 AND r.created_at < $2
    AND ($3::bigint IS NULL OR r.publication_id = $3);

-- name: publications
-- The publications to choose from: the newest first.
SELECT id, name, status FROM publishing_publications ORDER BY id DESC LIMIT $1;

-- name: runs
-- What is being sent now; unclaimed = planned less what has a row in the ledger.
SELECT r.id, r.publication_id, p.name, r.created_at, r.shards, s.planned, s.planned_shards,
    coalesce(d.settled, 0)::bigint AS settled, coalesce(d.open, 0)::bigint AS open
FROM publishing_runs r
JOIN publishing_publications p ON p.id = r.publication_id
CROSS JOIN LATERAL (
    SELECT coalesce(sum(planned), 0)::bigint AS planned, count(*)::int AS planned_shards
    FROM publishing_run_shards WHERE run_id = r.id) s
CROSS JOIN LATERAL (
    SELECT count(*) FILTER (WHERE state = ANY ($3::text[])) AS settled,
        count(*) FILTER (WHERE state <> ALL ($3::text[])) AS open
    FROM publishing_deliveries WHERE run_day = r.run_day AND run_id = r.id) d
WHERE r.status = 'running' AND ($1::bigint IS NULL OR r.publication_id = $1)
ORDER BY r.id DESC
LIMIT $2;

-- name: links
-- The articles and links that were clicked most, in runs that began in the period.
SELECT l.content_id, i.title, i.url, l.link,
    sum(l.total) FILTER (WHERE l.verdict = 'human')::bigint AS human,
    sum(l.total) FILTER (WHERE l.verdict = 'machine')::bigint AS machine,
    sum(l.total)::bigint AS total
FROM publishing_link_clicks l
JOIN publishing_runs r ON r.id = l.run_id
LEFT JOIN publishing_content i ON i.id = l.content_id
WHERE ($1::bigint IS NULL OR l.publication_id = $1) AND r.created_at >= $2 AND r.created_at < $3
GROUP BY l.content_id, i.title, i.url, l.link
ORDER BY sum(l.total) FILTER (WHERE $4::text IS NULL OR l.verdict = $4) DESC NULLS LAST, l.content_id, l.link
LIMIT $5;

-- name: watermark
SELECT watermark, updated_at, partitions FROM analytics.watermarks WHERE consumer = 'engagement';

-- name: positions
SELECT consumer, topic, partition, next_offset, updated_at FROM stream_offsets ORDER BY consumer, topic, partition;

-- name: outbox
SELECT count(*)::int AS waiting, min(created_at) AS oldest_at
FROM (SELECT created_at FROM publishing_outbox WHERE sent_at IS NULL ORDER BY id LIMIT $1) o;
