-- name: add
-- $1 channel, $2 run, $3 guids, $4 content ids, $5 entries as JSON texts, $6 times of publication. An entry that stands
-- stays as it is: a guid names one article for good.
INSERT INTO publishing_feed_entries (channel_id, guid, run_id, content_id, entry, published_at)
SELECT $1::int, u.guid, $2::bigint, u.content_id, u.entry::jsonb, u.published_at
FROM unnest($3::text[], $4::bigint[], $5::text[], $6::timestamptz[]) AS u (guid, content_id, entry, published_at)
ORDER BY u.guid
ON CONFLICT (channel_id, guid) DO NOTHING

-- name: newest
SELECT guid, run_id, content_id, entry, published_at FROM publishing_feed_entries
WHERE channel_id = $1::int ORDER BY published_at DESC, guid LIMIT $2::int
