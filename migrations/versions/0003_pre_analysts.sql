-- What analysts read: views that say whether a window is closed, views of runs and deliveries, comments, and a role that
-- reads these views and nothing else.

-- A few publications over a long period; the keys of both tables begin with the window.
CREATE INDEX publishing_analytics_hour_publication ON publishing_analytics_hour (publication_id, window_start);
CREATE INDEX publishing_analytics_day_publication ON publishing_analytics_day (publication_id, window_start);
CREATE INDEX publishing_runs_created ON publishing_runs (created_at);

-- The watermark stands in a view, not only in a function: a view reads its tables with its owner's rights, a function
-- with its caller's, and an analyst has none on the tables.
CREATE VIEW analytics.freshness AS
    SELECT CASE WHEN count(w.partition) >= i.audience_shards THEN min(w.watermark) END AS watermark,
        count(w.partition) AS partitions_heard,
        i.audience_shards AS partitions,
        max(w.updated_at) AS updated_at
    FROM publishing_installation i
    LEFT JOIN publishing_watermarks w ON w.consumer = 'engagement'
    GROUP BY i.audience_shards;

CREATE OR REPLACE VIEW analytics.engagement_minute AS
    SELECT window_start, publication_id, run_id, channel_id, arm, kind, verdict, total, uniques, late, revision,
        first_at, last_at,
        coalesce(window_start + interval '1 minute' <= (SELECT watermark FROM analytics.freshness), false) AS closed
    FROM publishing_analytics WHERE grain = 'minute';
CREATE OR REPLACE VIEW analytics.engagement_hour AS
    SELECT window_start, publication_id, run_id, channel_id, arm, kind, verdict, total, uniques, late, revision,
        first_at, last_at,
        coalesce(window_start + interval '1 hour' <= (SELECT watermark FROM analytics.freshness), false) AS closed
    FROM publishing_analytics WHERE grain = 'hour';
CREATE OR REPLACE VIEW analytics.engagement_day AS
    SELECT window_start, publication_id, run_id, channel_id, arm, kind, verdict, total, uniques, late, revision,
        first_at, last_at,
        coalesce(window_start + interval '24 hours' <= (SELECT watermark FROM analytics.freshness), false) AS closed
    FROM publishing_analytics WHERE grain = 'day';

CREATE VIEW analytics.channels AS
    SELECT id AS channel_id, kind, name, status, created_at FROM publishing_channels;

CREATE VIEW analytics.runs AS
    SELECT r.id AS run_id, r.publication_id, p.name AS publication, p.trigger_kind, r.status, r.created_at, r.due_at,
        r.deadline_at, r.finished_at, r.content_batch_id, s.candidates, s.planned, r.run_day
    FROM publishing_runs r
    JOIN publishing_publications p ON p.id = r.publication_id
    CROSS JOIN LATERAL (
        SELECT coalesce(sum(candidates), 0)::bigint AS candidates, coalesce(sum(planned), 0)::bigint AS planned
        FROM publishing_run_shards WHERE run_id = r.id) s;

CREATE VIEW analytics.deliveries_by_state AS
    SELECT run_day, publication_id, run_id, channel_id, arm, state, reason, count(*) AS deliveries,
        min(accepted_at) AS first_accepted_at, max(accepted_at) AS last_accepted_at
    FROM publishing_deliveries
    GROUP BY run_day, publication_id, run_id, channel_id, arm, state, reason;

CREATE VIEW analytics.publication_summary AS
    SELECT p.id AS publication_id, p.name AS publication, p.status, p.trigger_kind,
        (SELECT count(*) FROM publishing_runs r WHERE r.publication_id = p.id) AS runs,
        e.accepted, e.delivered, e.bounced, e.complained, e.human_opens, e.machine_opens, e.human_clicks,
        e.unsubscribes, e.first_window, e.last_window
    FROM publishing_publications p
    CROSS JOIN LATERAL (
        SELECT coalesce(sum(total) FILTER (WHERE kind = 'accepted'), 0)::bigint AS accepted,
            coalesce(sum(total) FILTER (WHERE kind = 'delivered'), 0)::bigint AS delivered,
            coalesce(sum(total) FILTER (WHERE kind = 'bounced'), 0)::bigint AS bounced,
            coalesce(sum(uniques) FILTER (WHERE kind = 'complained'), 0)::bigint AS complained,
            coalesce(sum(uniques) FILTER (WHERE kind = 'opened' AND verdict = 'human'), 0)::bigint AS human_opens,
            coalesce(sum(uniques) FILTER (WHERE kind = 'opened' AND verdict <> 'human'), 0)::bigint AS machine_opens,
            coalesce(sum(uniques) FILTER (WHERE kind = 'clicked' AND verdict = 'human'), 0)::bigint AS human_clicks,
            coalesce(sum(uniques) FILTER (WHERE kind = 'unsubscribed' AND verdict = 'human'), 0)::bigint AS unsubscribes,
            min(window_start) AS first_window, max(window_start) AS last_window
        FROM publishing_analytics WHERE grain = 'day' AND publication_id = p.id) e;

-- Comments ------------------------------------------------------------------------------------------------------------
DO $$
DECLARE
    grain text;
    said text[];
BEGIN
    FOREACH grain IN ARRAY ARRAY['minute', 'hour', 'day'] LOOP
        EXECUTE format('COMMENT ON VIEW analytics.%I IS %L', 'engagement_' || grain, format(
            'What readers and providers did, by %s of event time (UTC); kept %s.', grain,
            CASE grain WHEN 'minute' THEN '14 days' WHEN 'hour' THEN '13 months' ELSE 'for good' END));
        FOREACH said SLICE 1 IN ARRAY ARRAY[
            ['window_start', 'Beginning of the window, UTC; an event belongs to the window of its own time.'],
            ['publication_id', 'Publication; 0 where the event names none.'],
            ['run_id', 'Run of the publication; 0 where the event names none.'],
            ['channel_id', 'Channel (analytics.channels).'],
            ['arm', 'Arm of an experiment; 0 without one.'],
            ['kind', 'opened, clicked, unsubscribed (readers); accepted, delivered, bounced, complained, failed, deferred, suppressed (sending).'],
            ['verdict', 'human or machine for what readers did, by rules that can be replayed; unknown otherwise.'],
            ['total', 'Events; a reader who opens twice counts twice.'],
            ['uniques', 'Readers whose first touch of this kind in this run and channel fell into this window; human first touches are counted apart from all others. Sums over windows, runs and channels stay exact counts of (run, channel, reader).'],
            ['late', 'Of total: events that arrived after the window was closed.'],
            ['revision', 'How many times the row was changed after its window was closed; 0 means as it was at closing.'],
            ['first_at', 'Earliest event time in the row.'],
            ['last_at', 'Latest event time in the row.'],
            ['closed', 'Whether every partition of the log has passed the end of the window.']
        ] LOOP
            EXECUTE format('COMMENT ON COLUMN analytics.%I.%I IS %L', 'engagement_' || grain, said[1], said[2]);
        END LOOP;
    END LOOP;
    FOREACH said SLICE 1 IN ARRAY ARRAY[
        ['freshness', '', 'How far engagement has been counted: one row.'],
        ['freshness', 'watermark', 'Windows that end at or before it are closed; null while a partition has said nothing yet.'],
        ['freshness', 'partitions_heard', 'Partitions that have said something.'],
        ['freshness', 'partitions', 'Partitions there are.'],
        ['freshness', 'updated_at', 'When a partition''s watermark last moved.'],
        ['watermarks', '', 'The lowest watermark of each consumer over the partitions that have said something.'],
        ['watermarks', 'consumer', 'Consumer of the log; engagement makes the windows.'],
        ['watermarks', 'watermark', 'Lowest watermark of its partitions.'],
        ['watermarks', 'partitions', 'Partitions that have said something.'],
        ['watermarks', 'updated_at', 'When one of them last moved.'],
        ['channels', '', 'Channels without their configuration.'],
        ['channels', 'channel_id', 'Number of the channel.'],
        ['channels', 'kind', 'email, slack, discord, webhook or feed.'],
        ['channels', 'name', 'Its name, unique.'],
        ['channels', 'status', 'active, disabled or deleted.'],
        ['channels', 'created_at', 'When it was made.'],
        ['runs', '', 'Executions of publications.'],
        ['runs', 'run_id', 'Number of the run.'],
        ['runs', 'publication_id', 'Its publication.'],
        ['runs', 'publication', 'The publication''s name today.'],
        ['runs', 'trigger_kind', 'now, at, every or on_content.'],
        ['runs', 'status', 'running, paused, done or cancelled.'],
        ['runs', 'created_at', 'When the run was made.'],
        ['runs', 'due_at', 'When it was due; null for on_content.'],
        ['runs', 'deadline_at', 'After this nothing of it is sent; null without a deadline.'],
        ['runs', 'finished_at', 'When nothing of it was left to send.'],
        ['runs', 'content_batch_id', 'The content that caused it; null unless on_content.'],
        ['runs', 'candidates', 'Destinations considered, so far as shards have planned.'],
        ['runs', 'planned', 'Destinations chosen.'],
        ['runs', 'run_day', 'The day its deliveries are filed under, UTC.'],
        ['deliveries_by_state', '', 'The ledger, counted; filter by run_day to read little. No reader is named.'],
        ['deliveries_by_state', 'run_day', 'Day of the run, UTC; the partition.'],
        ['deliveries_by_state', 'publication_id', 'Publication.'],
        ['deliveries_by_state', 'run_id', 'Run.'],
        ['deliveries_by_state', 'channel_id', 'Channel.'],
        ['deliveries_by_state', 'arm', 'Arm of an experiment; 0 without one.'],
        ['deliveries_by_state', 'state', 'State of the ledger; what is planned and not claimed has no row.'],
        ['deliveries_by_state', 'reason', 'Why: the provider''s or our own word; null where there is nothing to explain.'],
        ['deliveries_by_state', 'deliveries', 'Deliveries in that state for that reason.'],
        ['deliveries_by_state', 'first_accepted_at', 'When a provider first took one of them.'],
        ['deliveries_by_state', 'last_accepted_at', 'When a provider last took one of them.'],
        ['publication_summary', '', 'Each publication over its whole life, from the day windows.'],
        ['publication_summary', 'publication_id', 'Number of the publication.'],
        ['publication_summary', 'publication', 'Its name.'],
        ['publication_summary', 'status', 'draft, in_review, approved, scheduled, running, paused, done or cancelled.'],
        ['publication_summary', 'trigger_kind', 'now, at, every or on_content.'],
        ['publication_summary', 'runs', 'How many times it ran.'],
        ['publication_summary', 'accepted', 'Messages that a provider took.'],
        ['publication_summary', 'delivered', 'Messages that a provider says it delivered; 0 where it never says.'],
        ['publication_summary', 'bounced', 'Messages that bounced for good.'],
        ['publication_summary', 'complained', 'Readers who complained, once a run and channel.'],
        ['publication_summary', 'human_opens', 'Readers who opened, by human verdict, once a run and channel.'],
        ['publication_summary', 'machine_opens', 'Readers for whom a machine (or nobody knows who) opened, once a run and channel.'],
        ['publication_summary', 'human_clicks', 'Readers who clicked, by human verdict, once a run and channel.'],
        ['publication_summary', 'unsubscribes', 'Readers who unsubscribed, by human verdict, once a run and channel.'],
        ['publication_summary', 'first_window', 'First day with engagement.'],
        ['publication_summary', 'last_window', 'Last day with engagement.'],
        ['conservation', 'run_id', 'Run.'],
        ['conservation', 'candidates', 'Destinations considered.'],
        ['conservation', 'excluded', 'Left out, by reason.'],
        ['conservation', 'planned', 'Chosen.'],
        ['conservation', 'unclaimed', 'Chosen, and not yet taken for sending.'],
        ['conservation', 'by_state', 'Taken for sending, by state.'],
        ['conservation', 'planned_by_all', 'Whether every shard has planned.'],
        ['conservation', 'holds', 'Whether nothing is lost and nothing is there twice.']
    ] LOOP
        IF said[2] = '' THEN
            EXECUTE format('COMMENT ON VIEW analytics.%I IS %L', said[1], said[3]);
        ELSE
            EXECUTE format('COMMENT ON COLUMN analytics.%I.%I IS %L', said[1], said[2], said[3]);
        END IF;
    END LOOP;
END
$$;

-- The analysts' role --------------------------------------------------------------------------------------------------
-- Gives tidewire_analyst the views of this schema, and nothing else; returns whether there is such a role. Roles are of
-- the whole server: whoever may not make one leaves it to an administrator, who then calls this function again.
CREATE FUNCTION publishing_grant_analyst() RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'tidewire_analyst') THEN
        BEGIN
            CREATE ROLE tidewire_analyst NOLOGIN;
        EXCEPTION
            WHEN duplicate_object OR unique_violation THEN
                NULL; -- another database of this server was migrated at the same time
            WHEN insufficient_privilege THEN
                RAISE NOTICE 'tidewire_analyst is not there and may not be made: CREATE ROLE tidewire_analyst NOLOGIN; SELECT publishing_grant_analyst();';
                RETURN false;
        END;
    END IF;
    GRANT USAGE ON SCHEMA analytics TO tidewire_analyst;
    GRANT SELECT ON ALL TABLES IN SCHEMA analytics TO tidewire_analyst;
    RETURN true;
END
$$;
SELECT publishing_grant_analyst();
