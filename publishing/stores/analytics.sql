-- name: series
-- $1 grain, $2 from, $3 before, $4 channels, $5 publications, $6 kinds; $7 to $10 whether publication, run, arm and
-- verdict are told apart; $11 watermark, $12 width of a window; $13 to $19 the key to go on after; $20 how many.
SELECT window_start, publication_id, run_id, channel_id, kind, arm, verdict,
    sum(total)::bigint AS total, sum(uniques)::bigint AS uniques, sum(late)::bigint AS late, max(revision) AS revision,
    coalesce(window_start + $12::interval <= $11::timestamptz, false) AS closed
FROM (
    SELECT window_start, CASE WHEN $7::boolean THEN publication_id ELSE 0 END AS publication_id,
        CASE WHEN $8::boolean THEN run_id ELSE 0 END AS run_id, channel_id, kind,
        CASE WHEN $9::boolean THEN arm ELSE 0 END AS arm, CASE WHEN $10::boolean THEN verdict ELSE '' END AS verdict,
        total, uniques, late, revision
    FROM publishing_analytics
    WHERE grain = $1 AND window_start >= $2 AND window_start < $3
        AND ($4::int[] IS NULL OR channel_id = ANY ($4))
        AND ($5::bigint[] IS NULL OR publication_id = ANY ($5))
        AND ($6::text[] IS NULL OR kind = ANY ($6))
) cells
WHERE (window_start, publication_id, run_id, channel_id, kind, arm, verdict)
    > ($13::timestamptz, $14::bigint, $15::bigint, $16::int, $17::text, $18::int, $19::text)
GROUP BY 1, 2, 3, 4, 5, 6, 7
ORDER BY 1, 2, 3, 4, 5, 6, 7
LIMIT $20;

-- name: totals
-- $1 grain, $2 from, $3 before, $4 channels, $5 publications; $6 to $8 whether publication, run and arm are told apart.
SELECT CASE WHEN $6::boolean THEN publication_id ELSE 0 END AS publication_id,
    CASE WHEN $7::boolean THEN run_id ELSE 0 END AS run_id, channel_id, kind,
    CASE WHEN $8::boolean THEN arm ELSE 0 END AS arm, verdict,
    sum(total)::bigint AS total, sum(uniques)::bigint AS uniques
FROM publishing_analytics
WHERE grain = $1 AND window_start >= $2 AND window_start < $3
    AND ($4::int[] IS NULL OR channel_id = ANY ($4))
    AND ($5::bigint[] IS NULL OR publication_id = ANY ($5))
GROUP BY 1, 2, 3, 4, 5, 6;

-- name: next_window
SELECT min(window_start) FROM publishing_analytics WHERE grain = $1 AND window_start >= $2 AND window_start < $3;

-- name: watermark
SELECT analytics.watermark();
