-- The foundation: offsets, audience, content, the ledger, engagement, the outbox and the analysts' views.

-- What a stream has done: the fence of every consumer, advanced in the statement that applies its effects.
CREATE TABLE stream_offsets (
    consumer text NOT NULL,
    topic text NOT NULL,
    partition int NOT NULL,
    next_offset bigint NOT NULL CHECK (next_offset >= 0),
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (consumer, topic, partition)
);

-- One row: what can never change once data exists.
CREATE TABLE publishing_installation (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    audience_shards int NOT NULL CHECK (audience_shards BETWEEN 1 AND 1024),
    created_at timestamptz NOT NULL DEFAULT now()
);

-- Destination numbers of subscribers and rooms; never reused.
CREATE SEQUENCE publishing_destination_numbers AS bigint;

-- Gapless, commit-ordered numbers: the row lock is held until the numbered change commits.
CREATE TABLE publishing_shard_marks (
    shard int PRIMARY KEY,
    last_seq bigint NOT NULL
);
CREATE TABLE publishing_content_mark (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    last_batch_id bigint NOT NULL
);
INSERT INTO publishing_content_mark (last_batch_id) VALUES (0);

-- Audience -----------------------------------------------------------------------------------------------------------
CREATE TABLE publishing_channels (
    id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind text NOT NULL CHECK (kind IN ('email', 'slack', 'discord', 'webhook', 'feed')),
    name text NOT NULL UNIQUE,
    status text NOT NULL DEFAULT 'active' CHECK (status IN ('active', 'disabled', 'deleted')),
    config_sealed bytea NOT NULL,
    topics jsonb NOT NULL DEFAULT '{}',
    limits jsonb NOT NULL DEFAULT '{}',
    validation jsonb NOT NULL DEFAULT '{"status": "untested", "detail": ""}',
    -- The room's destination number; null for a kind that is no destination by itself (email).
    destination bigint UNIQUE,
    shard int,
    version int NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CHECK ((destination IS NULL) = (shard IS NULL)),
    CHECK ((kind = 'email') = (destination IS NULL))
);
CREATE INDEX publishing_channels_shard ON publishing_channels (shard) WHERE shard IS NOT NULL;

CREATE TABLE publishing_subscribers (
    -- The destination number.
    id bigint PRIMARY KEY,
    shard int NOT NULL,
    external_id text UNIQUE,
    status text NOT NULL DEFAULT 'active' CHECK (status IN ('pending', 'active', 'paused', 'unsubscribed', 'erased')),
    -- Wrapped AES-256 key of this subscriber; null once erased: everything sealed under it is then gone.
    data_key bytea,
    email_sealed bytea,
    email_lookup bytea UNIQUE,
    time_zone text NOT NULL DEFAULT 'UTC',
    locale text NOT NULL DEFAULT 'en',
    cadence text NOT NULL DEFAULT 'immediate' CHECK (cadence IN ('immediate', 'hourly', 'daily', 'weekly')),
    topics jsonb NOT NULL DEFAULT '{}',
    channels jsonb NOT NULL DEFAULT '{}',
    caps jsonb NOT NULL DEFAULT '{}',
    attributes jsonb NOT NULL DEFAULT '{}',
    version int NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX publishing_subscribers_shard ON publishing_subscribers (shard);

CREATE TABLE publishing_subscriber_state (
    destination bigint PRIMARY KEY,
    shard int NOT NULL,
    -- Learned interests: topic -> weight.
    learned jsonb NOT NULL DEFAULT '{}',
    events bigint NOT NULL DEFAULT 0,
    -- Ring of the articles sent most recently.
    recent bigint[] NOT NULL DEFAULT '{}',
    updated_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX publishing_subscriber_state_shard ON publishing_subscriber_state (shard);

CREATE TABLE publishing_suppressions (
    destination bigint NOT NULL,
    -- 'all', a kind ('email'), or 'channel:<id>'.
    scope text NOT NULL,
    reason text NOT NULL CHECK (reason IN ('unsubscribed', 'bounced', 'complained', 'manual')),
    source text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (destination, scope)
);

CREATE TABLE publishing_consents (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    destination bigint NOT NULL,
    purpose text NOT NULL,
    text_version text NOT NULL,
    source text NOT NULL,
    given_at timestamptz NOT NULL,
    withdrawn_at timestamptz
);
CREATE INDEX publishing_consents_destination ON publishing_consents (destination);

-- Content ------------------------------------------------------------------------------------------------------------
CREATE TABLE publishing_content (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    source text NOT NULL,
    external_id text NOT NULL,
    version int NOT NULL,
    type text NOT NULL CHECK (type IN ('article', 'alert')),
    title text NOT NULL,
    summary text NOT NULL,
    body text,
    url text NOT NULL,
    topics jsonb NOT NULL,
    language text NOT NULL,
    author text,
    priority text NOT NULL CHECK (priority IN ('bulk', 'alert')),
    quality real NOT NULL CHECK (quality BETWEEN 0 AND 1),
    published_at timestamptz NOT NULL,
    expires_at timestamptz,
    retracted boolean NOT NULL DEFAULT false,
    submitted_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (source, external_id)
);
CREATE INDEX publishing_content_published ON publishing_content (published_at);

-- What content.ready is produced from, and nothing else.
CREATE TABLE publishing_content_batches (
    batch_id bigint PRIMARY KEY,
    source_partition int NOT NULL,
    items jsonb NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    emitted_at timestamptz
);
CREATE INDEX publishing_content_batches_unsent ON publishing_content_batches (source_partition, batch_id)
    WHERE emitted_at IS NULL;

CREATE TABLE publishing_quarantine (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    source text NOT NULL,
    external_id text NOT NULL,
    reason text NOT NULL,
    detail jsonb NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL DEFAULT now(),
    resolved_at timestamptz
);

-- Publications, runs and the ledger ----------------------------------------------------------------------------------
CREATE TABLE publishing_templates (
    id bigint NOT NULL,
    version int NOT NULL,
    kind text NOT NULL CHECK (kind IN ('email', 'slack', 'discord', 'webhook', 'feed')),
    name text NOT NULL,
    status text NOT NULL DEFAULT 'draft' CHECK (status IN ('draft', 'published', 'archived')),
    source jsonb NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (id, version)
);
CREATE SEQUENCE publishing_template_numbers AS bigint OWNED BY publishing_templates.id;

CREATE TABLE publishing_publications (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text NOT NULL,
    status text NOT NULL CHECK (status IN
        ('draft', 'in_review', 'approved', 'scheduled', 'running', 'paused', 'done', 'cancelled')),
    -- trigger, content, audience, channels, selection, template_id, priority, deadline_minutes: contracts of the API.
    definition jsonb NOT NULL,
    trigger_kind text NOT NULL GENERATED ALWAYS AS (definition -> 'trigger' ->> 'kind') STORED,
    -- When the next run is due; null when nothing is.
    next_due_at timestamptz,
    version int NOT NULL DEFAULT 1,
    created_by text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX publishing_publications_due ON publishing_publications (next_due_at) WHERE next_due_at IS NOT NULL;

CREATE TABLE publishing_runs (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    -- The day its deliveries are filed under: a function of the run, so that a delivery's key stays unique.
    run_day date NOT NULL DEFAULT (now() AT TIME ZONE 'UTC')::date,
    publication_id bigint NOT NULL REFERENCES publishing_publications (id),
    publication_version int NOT NULL,
    due_at timestamptz,
    content_batch_id bigint,
    shards int NOT NULL,
    -- Change numbers a shard must have applied before it plans: one a shard, and the content batch.
    after_subscribers bigint[] NOT NULL DEFAULT '{}',
    after_content bigint NOT NULL DEFAULT 0,
    deadline_at timestamptz,
    status text NOT NULL DEFAULT 'running' CHECK (status IN ('running', 'paused', 'done', 'cancelled')),
    created_at timestamptz NOT NULL DEFAULT now(),
    finished_at timestamptz,
    CHECK ((due_at IS NULL) <> (content_batch_id IS NULL)),
    UNIQUE (publication_id, due_at),
    UNIQUE (publication_id, content_batch_id)
);
CREATE INDEX publishing_runs_running ON publishing_runs (id) WHERE status = 'running';

CREATE TABLE publishing_run_shards (
    run_id bigint NOT NULL REFERENCES publishing_runs (id),
    shard int NOT NULL,
    candidates int NOT NULL CHECK (candidates >= 0),
    excluded jsonb NOT NULL DEFAULT '{}',
    planned int NOT NULL CHECK (planned >= 0),
    planned_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (run_id, shard)
);

-- The frames of a plan; a frame is produced from its row and from nothing else.
CREATE TABLE publishing_plans (
    run_id bigint NOT NULL REFERENCES publishing_runs (id),
    shard int NOT NULL,
    chunk int NOT NULL,
    channel_id int NOT NULL REFERENCES publishing_channels (id),
    topic text NOT NULL,
    partition int NOT NULL,
    destinations bigint[] NOT NULL,
    frame bytea NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    emitted_at timestamptz,
    PRIMARY KEY (run_id, shard, chunk)
);
CREATE INDEX publishing_plans_unsent ON publishing_plans (shard, run_id, chunk) WHERE emitted_at IS NULL;

CREATE SEQUENCE publishing_claim_ids AS bigint;

CREATE TABLE publishing_deliveries (
    run_day date NOT NULL,
    run_id bigint NOT NULL,
    channel_id int NOT NULL,
    destination bigint NOT NULL,
    publication_id bigint NOT NULL,
    shard int NOT NULL,
    chunk int NOT NULL,
    lane text NOT NULL CHECK (lane IN ('bulk', 'alert')),
    -- A planned delivery that nobody has claimed has no row yet.
    state text NOT NULL CHECK (state IN (
        'claimed', 'submitted', 'accepted', 'delivered', 'bounced', 'complained', 'suppressed', 'capped', 'deferred',
        'retry', 'expired', 'cancelled', 'failed', 'in_doubt')),
    reason text,
    arm smallint NOT NULL DEFAULT 0,
    content_ids bigint[] NOT NULL,
    scores real[] NOT NULL,
    template_id bigint NOT NULL DEFAULT 0,
    template_version int NOT NULL DEFAULT 0,
    claim_id bigint,
    lease_until timestamptz,
    attempts smallint NOT NULL DEFAULT 0,
    -- [{attempt, at, answer}], the last ten.
    attempt_log jsonb NOT NULL DEFAULT '[]',
    next_attempt_at timestamptz,
    deadline_at timestamptz,
    provider_message_id text,
    claimed_at timestamptz,
    submitted_at timestamptz,
    accepted_at timestamptz,
    settled_at timestamptz,
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (run_id, channel_id, destination, run_day)
) PARTITION BY RANGE (run_day);
CREATE TABLE publishing_deliveries_default PARTITION OF publishing_deliveries DEFAULT;
CREATE INDEX publishing_deliveries_claim ON publishing_deliveries (claim_id) WHERE state IN ('claimed', 'submitted');
CREATE INDEX publishing_deliveries_lease ON publishing_deliveries (lease_until) WHERE state IN ('claimed', 'submitted');
CREATE INDEX publishing_deliveries_retry ON publishing_deliveries (next_attempt_at) WHERE state IN ('retry', 'deferred');
CREATE INDEX publishing_deliveries_doubt ON publishing_deliveries (channel_id) WHERE state = 'in_doubt';
CREATE INDEX publishing_deliveries_destination ON publishing_deliveries (destination);
CREATE INDEX publishing_deliveries_provider ON publishing_deliveries (provider_message_id)
    WHERE provider_message_id IS NOT NULL;

-- What a feed channel shows: one entry an article.
CREATE TABLE publishing_feed_entries (
    channel_id int NOT NULL REFERENCES publishing_channels (id),
    guid text NOT NULL,
    run_id bigint NOT NULL,
    content_id bigint NOT NULL,
    entry jsonb NOT NULL,
    published_at timestamptz NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (channel_id, guid)
);
CREATE INDEX publishing_feed_entries_newest ON publishing_feed_entries (channel_id, published_at DESC);

-- Engagement ---------------------------------------------------------------------------------------------------------
CREATE TABLE publishing_analytics (
    grain text NOT NULL CHECK (grain IN ('minute', 'hour', 'day')),
    window_start timestamptz NOT NULL,
    publication_id bigint NOT NULL,
    run_id bigint NOT NULL,
    channel_id int NOT NULL,
    arm smallint NOT NULL,
    kind text NOT NULL,
    verdict text NOT NULL,
    total bigint NOT NULL,
    uniques bigint NOT NULL,
    late bigint NOT NULL,
    revision int NOT NULL,
    first_at timestamptz NOT NULL,
    last_at timestamptz NOT NULL,
    PRIMARY KEY (grain, window_start, publication_id, run_id, channel_id, arm, kind, verdict)
) PARTITION BY LIST (grain);
CREATE TABLE publishing_analytics_minute PARTITION OF publishing_analytics FOR VALUES IN ('minute')
    PARTITION BY RANGE (window_start);
CREATE TABLE publishing_analytics_minute_default PARTITION OF publishing_analytics_minute DEFAULT;
CREATE TABLE publishing_analytics_hour PARTITION OF publishing_analytics FOR VALUES IN ('hour')
    PARTITION BY RANGE (window_start);
CREATE TABLE publishing_analytics_hour_default PARTITION OF publishing_analytics_hour DEFAULT;
CREATE TABLE publishing_analytics_day PARTITION OF publishing_analytics FOR VALUES IN ('day');

-- First touch, for reader kinds only.
CREATE TABLE publishing_engaged (
    run_id bigint NOT NULL,
    channel_id int NOT NULL,
    destination bigint NOT NULL,
    kind text NOT NULL CHECK (kind IN ('opened', 'clicked', 'unsubscribed', 'complained')),
    human boolean NOT NULL,
    first_at timestamptz NOT NULL,
    PRIMARY KEY (run_id, channel_id, destination, kind, human)
);

-- Ids of what came from outside, and of the ledger's own frames; the day is the event's, so a repeat meets itself.
CREATE TABLE publishing_event_ids (
    day date NOT NULL,
    event_id bytea NOT NULL CHECK (octet_length(event_id) = 16),
    PRIMARY KEY (day, event_id)
) PARTITION BY RANGE (day);
CREATE TABLE publishing_event_ids_default PARTITION OF publishing_event_ids DEFAULT;

CREATE TABLE publishing_watermarks (
    consumer text NOT NULL,
    partition int NOT NULL,
    -- Largest event time seen, less the lateness allowed: a window that ends at or before it is closed.
    watermark timestamptz NOT NULL,
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (consumer, partition)
);

-- Management ---------------------------------------------------------------------------------------------------------
CREATE TABLE publishing_experiments (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    publication_id bigint NOT NULL REFERENCES publishing_publications (id),
    seed text NOT NULL,
    arms jsonb NOT NULL,
    status text NOT NULL DEFAULT 'draft' CHECK (status IN ('draft', 'running', 'decided', 'stopped')),
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE publishing_api_keys (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text NOT NULL,
    key_hash bytea NOT NULL UNIQUE,
    role text NOT NULL CHECK (role IN ('reader', 'editor', 'approver', 'admin')),
    created_at timestamptz NOT NULL DEFAULT now(),
    revoked_at timestamptz
);

CREATE TABLE publishing_audit (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at timestamptz NOT NULL DEFAULT now(),
    actor text NOT NULL,
    role text NOT NULL,
    action text NOT NULL,
    entity text NOT NULL,
    entity_id text NOT NULL,
    request_id text NOT NULL,
    -- Names of the fields that changed and counts; never a reader's address.
    change jsonb NOT NULL DEFAULT '{}'
);
CREATE INDEX publishing_audit_entity ON publishing_audit (entity, entity_id);

-- Records to be produced, written in the statement that decided them.
CREATE TABLE publishing_outbox (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    topic text NOT NULL,
    partition int NOT NULL,
    -- Either an encoded record, or the fields of one message (the relay gathers and encodes them).
    frame bytea,
    payload jsonb,
    ce_source text NOT NULL,
    traceparent text,
    created_at timestamptz NOT NULL DEFAULT now(),
    sent_at timestamptz,
    CHECK ((frame IS NULL) <> (payload IS NULL))
);
CREATE INDEX publishing_outbox_unsent ON publishing_outbox (id) WHERE sent_at IS NULL;

-- Daily partitions ---------------------------------------------------------------------------------------------------
-- Makes the daily partitions from first_day to last_day, both included; returns how many were new.
CREATE FUNCTION publishing_ensure_days(first_day date, last_day date) RETURNS int LANGUAGE plpgsql AS $$
DECLARE
    made int := 0;
    day date;
    parent text;
    child text;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('publishing_ensure_days'));
    FOR day IN SELECT generate_series(first_day, last_day, interval '1 day')::date LOOP
        FOREACH parent IN ARRAY ARRAY['publishing_deliveries', 'publishing_event_ids', 'publishing_analytics_minute'] LOOP
            child := parent || '_' || to_char(day, 'YYYYMMDD');
            IF to_regclass(child) IS NULL THEN
                EXECUTE format('CREATE TABLE %I PARTITION OF %I FOR VALUES FROM (%L) TO (%L)', child, parent,
                    CASE WHEN parent = 'publishing_analytics_minute' THEN day::text || ' 00:00+00' ELSE day::text END,
                    CASE WHEN parent = 'publishing_analytics_minute' THEN (day + 1)::text || ' 00:00+00'
                        ELSE (day + 1)::text END);
                made := made + 1;
            END IF;
        END LOOP;
    END LOOP;
    RETURN made;
END
$$;

-- The analysts' face -------------------------------------------------------------------------------------------------
CREATE SCHEMA analytics;

CREATE VIEW analytics.engagement_minute AS
    SELECT window_start, publication_id, run_id, channel_id, arm, kind, verdict, total, uniques, late, revision,
        first_at, last_at
    FROM publishing_analytics WHERE grain = 'minute';
CREATE VIEW analytics.engagement_hour AS
    SELECT window_start, publication_id, run_id, channel_id, arm, kind, verdict, total, uniques, late, revision,
        first_at, last_at
    FROM publishing_analytics WHERE grain = 'hour';
CREATE VIEW analytics.engagement_day AS
    SELECT window_start, publication_id, run_id, channel_id, arm, kind, verdict, total, uniques, late, revision,
        first_at, last_at
    FROM publishing_analytics WHERE grain = 'day';

CREATE VIEW analytics.watermarks AS
    SELECT consumer, min(watermark) AS watermark, count(*) AS partitions, max(updated_at) AS updated_at
    FROM publishing_watermarks GROUP BY consumer;

-- The conservation law of a run: what was planned is unclaimed or in exactly one state.
CREATE VIEW analytics.conservation AS
    SELECT r.id AS run_id,
        s.candidates,
        s.excluded,
        s.planned,
        p.unclaimed,
        d.by_state,
        s.shards_planned = r.shards AS planned_by_all,
        s.candidates = s.excluded_total + s.planned
            AND s.planned = p.in_frames
            AND s.planned = p.unclaimed + d.total AS holds
    FROM publishing_runs r
    CROSS JOIN LATERAL (
        SELECT count(*)::int AS shards_planned,
            coalesce(sum(candidates), 0)::bigint AS candidates,
            coalesce(sum(planned), 0)::bigint AS planned,
            coalesce(sum((SELECT sum(e.value::bigint) FROM jsonb_each_text(excluded) e)), 0)::bigint AS excluded_total,
            coalesce((SELECT jsonb_object_agg(reason, n) FROM (
                SELECT e.key AS reason, sum(e.value::bigint) AS n
                FROM publishing_run_shards x CROSS JOIN jsonb_each_text(x.excluded) e
                WHERE x.run_id = r.id GROUP BY e.key) reasons), '{}'::jsonb) AS excluded
        FROM publishing_run_shards WHERE run_id = r.id) s
    CROSS JOIN LATERAL (
        SELECT count(*) AS in_frames,
            count(*) FILTER (WHERE NOT EXISTS (
                SELECT FROM publishing_deliveries d
                WHERE d.run_day = r.run_day AND d.run_id = r.id AND d.channel_id = f.channel_id
                    AND d.destination = f.destination)) AS unclaimed
        FROM (SELECT DISTINCT channel_id, unnest(destinations) AS destination
            FROM publishing_plans WHERE run_id = r.id) f) p
    CROSS JOIN LATERAL (
        SELECT coalesce(sum(n), 0)::bigint AS total, coalesce(jsonb_object_agg(state, n), '{}'::jsonb) AS by_state
        FROM (SELECT state, count(*) AS n FROM publishing_deliveries
            WHERE run_day = r.run_day AND run_id = r.id GROUP BY state) states) d;

COMMENT ON VIEW analytics.conservation IS
    'candidates = excluded + planned; planned = unclaimed + the sum of by_state; holds says whether both are so.';
COMMENT ON VIEW analytics.engagement_minute IS
    'Engagement by minute of event time; late counts events after the window closed, revision the changes since.';
