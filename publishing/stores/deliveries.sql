-- name: claim
-- $1 consumer, $2 topic, $3 partition, $4 expected offset, $5 offset after; $6 run, $7 shard, $8 chunk, $9 channel,
-- $10 kind; $11 destinations, $12 arms, $13 content ids and $14 scores as array literals; $15 lane, $16 template,
-- $17 its version, $18 the frame's deadline, $19 lease in seconds. One row a claimed delivery, at least one in all.
WITH known AS (
    SELECT r.run_day, r.publication_id, r.status AS run_status, p.status AS publication_status, p.name AS publication,
        c.status AS channel_status, c.version AS channel_version, c.kind,
        least(r.deadline_at, $18::timestamptz) AS deadline_at
    FROM publishing_runs r
    JOIN publishing_publications p ON p.id = r.publication_id
    JOIN publishing_channels c ON c.id = $9::int AND c.kind = $10::text
    WHERE r.id = $6::bigint
), fence AS (
    INSERT INTO stream_offsets AS o (consumer, topic, partition, next_offset)
    SELECT $1::text, $2::text, $3::int, $5::bigint
    WHERE EXISTS (SELECT FROM known) AND ($4::bigint = 0
        OR EXISTS (SELECT FROM stream_offsets WHERE consumer = $1 AND topic = $2 AND partition = $3))
    ON CONFLICT (consumer, topic, partition)
        DO UPDATE SET next_offset = excluded.next_offset, updated_at = now() WHERE o.next_offset = $4
    RETURNING 1
), place AS (
    SELECT k.*, nextval('publishing_claim_ids') AS claim_id FROM known k CROSS JOIN fence
), asked AS (
    SELECT u.destination, u.arm, u.content_ids::bigint[] AS content_ids, u.scores::real[] AS scores
    FROM unnest($11::bigint[], $12::smallint[], $13::text[], $14::text[]) AS u (destination, arm, content_ids, scores)
    JOIN publishing_plans f ON f.run_id = $6 AND f.shard = $7::int AND f.chunk = $8::int AND f.channel_id = $9
        AND u.destination = ANY (f.destinations)
), written AS (
    INSERT INTO publishing_deliveries AS d (run_day, run_id, channel_id, destination, publication_id, shard, chunk,
        lane, state, arm, content_ids, scores, template_id, template_version, claim_id, lease_until, deadline_at,
        claimed_at)
    SELECT l.run_day, $6, $9, a.destination, l.publication_id, $7, $8, $15::text, 'claimed', a.arm, a.content_ids,
        a.scores, $16::bigint, $17::int, l.claim_id, now() + make_interval(secs => $19::float8), l.deadline_at, now()
    FROM place l CROSS JOIN asked a
    ORDER BY a.destination
    ON CONFLICT (run_id, channel_id, destination, run_day) DO UPDATE
        SET state = 'claimed', reason = NULL, claim_id = excluded.claim_id, lease_until = excluded.lease_until,
            claimed_at = now(), next_attempt_at = NULL, updated_at = now()
        WHERE (d.state IN ('retry', 'deferred') AND d.next_attempt_at <= now())
            OR (d.state = 'claimed' AND d.lease_until <= now())
    RETURNING d.destination, d.arm, d.content_ids, d.scores, d.attempts
)
SELECT EXISTS (SELECT FROM known) AS is_known, EXISTS (SELECT FROM fence) AS is_fenced, (SELECT count(*) FROM asked) AS planned,
    l.run_day, l.claim_id, l.publication_id, l.publication, l.channel_version,
    w.destination, w.arm, w.content_ids, w.scores, w.attempts, s.email_sealed, s.data_key, s.locale,
    CASE
        WHEN l.run_status = 'cancelled' OR l.publication_status = 'cancelled' THEN 'cancelled'
        WHEN l.deadline_at <= now() THEN 'expired'
        WHEN l.channel_status <> 'active' THEN 'failed'
        WHEN x.reason IS NOT NULL OR l.kind = 'email' AND s.email_sealed IS NULL THEN 'suppressed'
        WHEN l.run_status = 'paused' OR l.publication_status = 'paused' THEN 'deferred'
    END AS verdict,
    CASE
        WHEN l.run_status = 'cancelled' OR l.publication_status = 'cancelled' THEN 'cancelled'
        WHEN l.deadline_at <= now() THEN 'deadline'
        WHEN l.channel_status <> 'active' THEN 'channel_' || l.channel_status
        WHEN x.reason IS NOT NULL OR l.kind = 'email' AND s.email_sealed IS NULL THEN coalesce(x.reason, 'no_address')
        WHEN l.run_status = 'paused' OR l.publication_status = 'paused' THEN 'paused'
    END AS reason
FROM (SELECT) AS always
LEFT JOIN place l ON true
LEFT JOIN written w ON true
LEFT JOIN publishing_subscribers s ON s.id = w.destination AND l.kind = 'email' AND s.data_key IS NOT NULL
LEFT JOIN LATERAL (
    SELECT p.reason FROM publishing_suppressions p
    WHERE p.destination = w.destination AND p.scope IN ('all', l.kind, 'channel:' || $9::text)
    UNION ALL
    SELECT CASE s.status WHEN 'active' THEN 'channel_off' ELSE s.status END
    WHERE l.kind = 'email' AND (s.status <> 'active' OR s.channels ->> l.kind = 'false')
    LIMIT 1
) x ON true
ORDER BY w.destination

-- name: submit
-- $1 run_day, $2 run, $3 channel, $4 claim, $5 destinations, $6 lease in seconds. Moves what may still be sent from
-- claimed to submitted and returns it without a verdict; what may not is returned with the verdict that says so.
-- The rest of the claim keeps its lease. The verdict is the claim's, asked again: a function of the database would
-- change for every worker at once, so it stands in both, and tests/integration/sinks/test_verdicts.py compares them.
WITH mine AS (
    SELECT d.destination, d.deadline_at, r.status AS run_status, p.status AS publication_status,
        c.status AS channel_status, c.kind
    FROM publishing_deliveries d
    JOIN publishing_runs r ON r.id = d.run_id
    JOIN publishing_publications p ON p.id = d.publication_id
    JOIN publishing_channels c ON c.id = d.channel_id
    WHERE d.run_day = $1::date AND d.run_id = $2::bigint AND d.channel_id = $3::int AND d.claim_id = $4::bigint
        AND d.destination = ANY ($5::bigint[]) AND d.state = 'claimed' AND d.lease_until > now()
    ORDER BY d.destination
    FOR UPDATE OF d
), checked AS (
    SELECT m.destination,
        CASE
            WHEN m.run_status = 'cancelled' OR m.publication_status = 'cancelled' THEN 'cancelled'
            WHEN m.deadline_at <= now() THEN 'expired'
            WHEN m.channel_status <> 'active' THEN 'failed'
            WHEN x.reason IS NOT NULL OR m.kind = 'email' AND s.email_sealed IS NULL THEN 'suppressed'
            WHEN m.run_status = 'paused' OR m.publication_status = 'paused' THEN 'deferred'
        END AS verdict,
        CASE
            WHEN m.run_status = 'cancelled' OR m.publication_status = 'cancelled' THEN 'cancelled'
            WHEN m.deadline_at <= now() THEN 'deadline'
            WHEN m.channel_status <> 'active' THEN 'channel_' || m.channel_status
            WHEN x.reason IS NOT NULL OR m.kind = 'email' AND s.email_sealed IS NULL THEN coalesce(x.reason, 'no_address')
            WHEN m.run_status = 'paused' OR m.publication_status = 'paused' THEN 'paused'
        END AS reason
    FROM mine m
    LEFT JOIN publishing_subscribers s ON s.id = m.destination AND m.kind = 'email' AND s.data_key IS NOT NULL
    LEFT JOIN LATERAL (
        SELECT p.reason FROM publishing_suppressions p
        WHERE p.destination = m.destination AND p.scope IN ('all', m.kind, 'channel:' || $3::text)
        UNION ALL
        SELECT CASE s.status WHEN 'active' THEN 'channel_off' ELSE s.status END
        WHERE m.kind = 'email' AND (s.status <> 'active' OR s.channels ->> m.kind = 'false')
        LIMIT 1
    ) x ON true
), moved AS (
    UPDATE publishing_deliveries d
    SET state = 'submitted', submitted_at = now(), attempts = d.attempts + 1, updated_at = now(),
        lease_until = now() + make_interval(secs => $6::float8)
    FROM checked c
    WHERE d.run_day = $1 AND d.run_id = $2 AND d.channel_id = $3 AND d.claim_id = $4 AND d.destination = c.destination
        AND d.state = 'claimed' AND c.verdict IS NULL
    RETURNING d.destination
), kept AS (
    UPDATE publishing_deliveries d
    SET lease_until = now() + make_interval(secs => $6::float8)
    WHERE d.run_day = $1 AND d.run_id = $2 AND d.channel_id = $3 AND d.claim_id = $4
        AND NOT d.destination = ANY ($5) AND d.state = 'claimed' AND d.lease_until > now()
)
SELECT c.destination, c.verdict, c.reason
FROM checked c LEFT JOIN moved m USING (destination)
WHERE c.verdict IS NOT NULL OR m.destination IS NOT NULL

-- name: record
-- $1 run_day, $2 run, $3 channel, $4 claim; $5 destinations, $6 states, $7 reasons, $8 provider ids, $9 seconds until
-- the next attempt, $10 whether the attempt counts; $11 topic, $12 partition, $13 frame of the receipts or null,
-- $14 ce_source, $15 traceparent. All of it or nothing: when a row has another owner by now, nothing is written and
-- `held` names the rows that are still ours, so that the frame of receipts never says more than the ledger.
WITH answers AS (
    SELECT * FROM unnest($5::bigint[], $6::text[], $7::text[], $8::text[], $9::float8[], $10::boolean[])
        AS u (destination, state, reason, provider_message_id, after_s, is_counted)
), mine AS (
    SELECT d.destination
    FROM publishing_deliveries d JOIN answers a USING (destination)
    WHERE d.run_day = $1::date AND d.run_id = $2::bigint AND d.channel_id = $3::int AND d.claim_id = $4::bigint
        AND (d.state IN ('claimed', 'submitted', 'in_doubt')
            OR a.state = 'accepted' AND d.state IN ('delivered', 'bounced', 'complained'))
    ORDER BY d.destination
    FOR UPDATE OF d
), whole AS (
    SELECT count(*) = cardinality($5) AS is_whole, array_agg(destination) AS held FROM mine
), moved AS (
    UPDATE publishing_deliveries d
    SET state = CASE WHEN d.state IN ('claimed', 'submitted', 'in_doubt') THEN a.state ELSE d.state END,
        reason = a.reason,
        provider_message_id = coalesce(a.provider_message_id, d.provider_message_id),
        attempts = CASE WHEN d.state = 'claimed' OR a.is_counted THEN d.attempts ELSE d.attempts - 1 END,
        attempt_log = CASE WHEN d.state = 'claimed' THEN d.attempt_log ELSE
            CASE WHEN jsonb_array_length(d.attempt_log) >= 10 THEN d.attempt_log - 0 ELSE d.attempt_log END
            || jsonb_build_array(jsonb_build_object('attempt', d.attempts, 'at', now(),
                'answer', coalesce(a.reason, a.state))) END,
        next_attempt_at = CASE WHEN a.state IN ('retry', 'deferred')
            THEN now() + make_interval(secs => a.after_s) END,
        accepted_at = CASE WHEN a.state = 'accepted' THEN now() ELSE d.accepted_at END,
        settled_at = CASE WHEN a.state IN ('retry', 'deferred', 'in_doubt') THEN NULL ELSE now() END,
        lease_until = NULL, updated_at = now()
    FROM answers a, whole
    WHERE whole.is_whole AND d.destination = a.destination
        AND d.run_day = $1 AND d.run_id = $2 AND d.channel_id = $3 AND d.claim_id = $4
), receipts AS (
    INSERT INTO publishing_outbox (topic, partition, frame, ce_source, traceparent)
    SELECT $11::text, $12::int, $13::bytea, $14::text, $15::text FROM whole WHERE is_whole AND $13 IS NOT NULL
    RETURNING id
)
SELECT is_whole, held, (SELECT id FROM receipts) AS outbox_id FROM whole

-- name: hand_back
-- $1 run_day, $2 run, $3 channel, $4 claim, $5 seconds until it is due. Nothing of these was sent.
UPDATE publishing_deliveries d
SET state = 'retry', reason = $6::text, next_attempt_at = now() + make_interval(secs => $5::float8),
    lease_until = NULL, updated_at = now()
WHERE d.run_day = $1::date AND d.run_id = $2::bigint AND d.channel_id = $3::int AND d.claim_id = $4::bigint
    AND d.state = 'claimed'

-- name: mark_sent
UPDATE publishing_outbox SET sent_at = now() WHERE id = $1::bigint

-- name: disable_channel
-- $1 channel, $2 the provider's word.
UPDATE publishing_channels
SET status = 'disabled', validation = jsonb_build_object('status', 'failed', 'detail', $2::text),
    version = version + 1, updated_at = now()
WHERE id = $1::int AND status = 'active'
