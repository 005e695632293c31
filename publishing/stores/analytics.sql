-- name: series
-- $1 from, $2 before, $3 watermark, $4 width of a window, $5 how many. Only what is asked for stands in the text: a key
-- or a filter that decides nothing would cost at every row.
SELECT {keys}, sum(total)::bigint AS total, sum(uniques)::bigint AS uniques, sum(late)::bigint AS late,
    max(revision) AS revision, coalesce(window_start + $4::interval <= $3::timestamptz, false) AS closed
FROM {table}
WHERE window_start >= $1 AND window_start < $2 {filters}
GROUP BY {keys}
ORDER BY {keys}
LIMIT $5;

-- name: totals
SELECT {keys}, sum(total)::bigint AS total, sum(uniques)::bigint AS uniques
FROM ({pieces}) AS cells
GROUP BY {keys};

-- name: piece
SELECT {keys}, total, uniques FROM {table}
WHERE window_start >= {starts_at} AND window_start < {ends_at} {filters}

-- name: channels
AND channel_id = ANY ({place}::int[])

-- name: publications
AND publication_id = ANY ({place}::bigint[])

-- name: kinds
AND kind = ANY ({place}::text[])

-- name: after
AND ({keys}) > ({places})

-- name: next_window
SELECT min(window_start) FROM publishing_analytics WHERE grain = $1 AND window_start >= $2 AND window_start < $3;

-- name: watermark
SELECT analytics.watermark();
