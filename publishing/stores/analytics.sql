-- name: series
SELECT window_start, channel_id, kind,
    CASE WHEN $7::boolean THEN arm END AS arm, CASE WHEN $8::boolean THEN verdict END AS verdict,
    sum(total)::bigint AS total, sum(uniques)::bigint AS uniques, sum(late)::bigint AS late, max(revision) AS revision
FROM publishing_analytics
WHERE grain = $1 AND window_start >= $2 AND window_start < $3
    AND ($4::int[] IS NULL OR channel_id = ANY ($4))
    AND ($5::bigint[] IS NULL OR publication_id = ANY ($5))
    AND ($6::text[] IS NULL OR kind = ANY ($6))
GROUP BY 1, 2, 3, 4, 5
ORDER BY 1, 2, 3, 4, 5
LIMIT $9;

-- name: totals
SELECT kind, sum(total)::bigint AS total
FROM publishing_analytics
WHERE grain = $1 AND window_start >= $2 AND window_start < $3
    AND ($4::int[] IS NULL OR channel_id = ANY ($4))
    AND ($5::bigint[] IS NULL OR publication_id = ANY ($5))
    AND ($6::text[] IS NULL OR kind = ANY ($6))
GROUP BY kind;

-- name: watermark
SELECT min(watermark) FROM analytics.watermarks WHERE consumer = 'engagement';
