CREATE SCHEMA analytics;

CREATE TABLE public.publishing_installation (
    only_row boolean DEFAULT true NOT NULL,
    audience_shards integer NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT publishing_installation_audience_shards_check CHECK (((audience_shards >= 1) AND (audience_shards <= 1024))),
    CONSTRAINT publishing_installation_only_row_check CHECK (only_row)
);

CREATE TABLE public.publishing_watermarks (
    consumer text NOT NULL,
    partition integer NOT NULL,
    watermark timestamp with time zone NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL
);

CREATE FUNCTION analytics.watermark() RETURNS timestamp with time zone
    LANGUAGE sql STABLE
    BEGIN ATOMIC
 SELECT
         CASE
             WHEN (count(*) >= ( SELECT publishing_installation.audience_shards
                FROM public.publishing_installation)) THEN min(publishing_watermarks.watermark)
             ELSE NULL::timestamp with time zone
         END AS "case"
    FROM public.publishing_watermarks
   WHERE (publishing_watermarks.consumer = 'engagement'::text);
END;

COMMENT ON FUNCTION analytics.watermark() IS 'Every window that ends at or before this time is closed; write (SELECT analytics.watermark()) to ask once.';

CREATE FUNCTION public.publishing_ensure_days(first_day date, last_day date) RETURNS integer
    LANGUAGE plpgsql
    AS $$
DECLARE
    made int := 0;
    day date;
    month date;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('publishing_ensure_days'));
    FOR day IN SELECT generate_series(first_day, last_day, interval '1 day')::date LOOP
        made := made
            + publishing_ensure_partition('publishing_deliveries', 'publishing_deliveries_' || to_char(day, 'YYYYMMDD'),
                'run_day', day::text, (day + 1)::text)::int
            + publishing_ensure_partition('publishing_event_ids', 'publishing_event_ids_' || to_char(day, 'YYYYMMDD'),
                'day', day::text, (day + 1)::text)::int
            + publishing_ensure_partition('publishing_analytics_minute',
                'publishing_analytics_minute_' || to_char(day, 'YYYYMMDD'), 'window_start',
                day::text || ' 00:00+00', (day + 1)::text || ' 00:00+00')::int;
    END LOOP;
    FOR month IN SELECT generate_series(date_trunc('month', first_day), last_day, interval '1 month')::date LOOP
        made := made
            + publishing_ensure_partition('publishing_analytics_hour',
                'publishing_analytics_hour_' || to_char(month, 'YYYYMM'), 'window_start',
                month::text || ' 00:00+00', (month + interval '1 month')::date::text || ' 00:00+00')::int;
    END LOOP;
    RETURN made;
END
$$;

CREATE FUNCTION public.publishing_ensure_partition(parent text, child text, key text, first text, after text) RETURNS boolean
    LANGUAGE plpgsql
    AS $_$
BEGIN
    IF to_regclass(child) IS NOT NULL THEN
        RETURN false;
    END IF;
    EXECUTE format('LOCK TABLE %I IN ACCESS EXCLUSIVE MODE', parent || '_default');
    EXECUTE format('CREATE TABLE %I (LIKE %I INCLUDING ALL)', child, parent);
    EXECUTE format('WITH moved AS (DELETE FROM %1$I WHERE %2$I >= %3$L AND %2$I < %4$L RETURNING *)'
        ' INSERT INTO %5$I SELECT * FROM moved', parent || '_default', key, first, after, child);
    EXECUTE format('ALTER TABLE %I ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)', parent, child, first, after);
    RETURN true;
END
$_$;

CREATE FUNCTION public.publishing_grant_analyst() RETURNS boolean
    LANGUAGE plpgsql
    AS $$
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

CREATE FUNCTION public.publishing_is_closed(grain text, window_start timestamp with time zone) RETURNS boolean
    LANGUAGE sql STABLE
    BEGIN ATOMIC
 SELECT COALESCE(((window_start +
         CASE grain
             WHEN 'minute'::text THEN '00:01:00'::interval
             WHEN 'hour'::text THEN '01:00:00'::interval
             ELSE '24:00:00'::interval
         END) <= analytics.watermark()), false) AS "coalesce";
END;

CREATE TABLE public.publishing_channels (
    id integer NOT NULL,
    kind text NOT NULL,
    name text NOT NULL,
    status text DEFAULT 'active'::text NOT NULL,
    config_sealed bytea NOT NULL,
    topics jsonb DEFAULT '{}'::jsonb NOT NULL,
    limits jsonb DEFAULT '{}'::jsonb NOT NULL,
    validation jsonb DEFAULT '{"detail": "", "status": "untested"}'::jsonb NOT NULL,
    destination bigint,
    shard integer,
    version integer DEFAULT 1 NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT publishing_channels_check CHECK (((destination IS NULL) = (shard IS NULL))),
    CONSTRAINT publishing_channels_check1 CHECK (((kind = 'email'::text) = (destination IS NULL))),
    CONSTRAINT publishing_channels_kind_check CHECK ((kind = ANY (ARRAY['email'::text, 'slack'::text, 'discord'::text, 'webhook'::text, 'feed'::text]))),
    CONSTRAINT publishing_channels_status_check CHECK ((status = ANY (ARRAY['active'::text, 'disabled'::text, 'deleted'::text])))
);

CREATE VIEW analytics.channels AS
 SELECT id AS channel_id,
    kind,
    name,
    status,
    created_at
   FROM public.publishing_channels;

COMMENT ON VIEW analytics.channels IS 'Channels without their configuration.';

COMMENT ON COLUMN analytics.channels.channel_id IS 'Number of the channel.';

COMMENT ON COLUMN analytics.channels.kind IS 'email, slack, discord, webhook or feed.';

COMMENT ON COLUMN analytics.channels.name IS 'Its name, unique.';

COMMENT ON COLUMN analytics.channels.status IS 'active, disabled or deleted.';

COMMENT ON COLUMN analytics.channels.created_at IS 'When it was made.';

CREATE TABLE public.publishing_deliveries (
    run_day date NOT NULL,
    run_id bigint NOT NULL,
    channel_id integer NOT NULL,
    destination bigint NOT NULL,
    publication_id bigint NOT NULL,
    shard integer NOT NULL,
    chunk integer NOT NULL,
    lane text NOT NULL,
    state text NOT NULL,
    reason text,
    arm smallint DEFAULT 0 NOT NULL,
    content_ids bigint[] NOT NULL,
    scores real[] NOT NULL,
    template_id bigint DEFAULT 0 NOT NULL,
    template_version integer DEFAULT 0 NOT NULL,
    claim_id bigint,
    lease_until timestamp with time zone,
    attempts smallint DEFAULT 0 NOT NULL,
    attempt_log jsonb DEFAULT '[]'::jsonb NOT NULL,
    next_attempt_at timestamp with time zone,
    deadline_at timestamp with time zone,
    provider_message_id text,
    claimed_at timestamp with time zone,
    submitted_at timestamp with time zone,
    accepted_at timestamp with time zone,
    settled_at timestamp with time zone,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT publishing_deliveries_lane_check CHECK ((lane = ANY (ARRAY['bulk'::text, 'alert'::text]))),
    CONSTRAINT publishing_deliveries_state_check CHECK ((state = ANY (ARRAY['claimed'::text, 'submitted'::text, 'accepted'::text, 'delivered'::text, 'bounced'::text, 'complained'::text, 'suppressed'::text, 'capped'::text, 'deferred'::text, 'retry'::text, 'expired'::text, 'cancelled'::text, 'failed'::text, 'in_doubt'::text])))
)
PARTITION BY RANGE (run_day);

CREATE TABLE public.publishing_plans (
    run_id bigint NOT NULL,
    shard integer NOT NULL,
    chunk integer NOT NULL,
    channel_id integer NOT NULL,
    topic text NOT NULL,
    partition integer NOT NULL,
    destinations bigint[] NOT NULL,
    frame bytea NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    emitted_at timestamp with time zone
);

CREATE TABLE public.publishing_run_shards (
    run_id bigint NOT NULL,
    shard integer NOT NULL,
    candidates integer NOT NULL,
    excluded jsonb DEFAULT '{}'::jsonb NOT NULL,
    planned integer NOT NULL,
    planned_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT publishing_run_shards_candidates_check CHECK ((candidates >= 0)),
    CONSTRAINT publishing_run_shards_planned_check CHECK ((planned >= 0))
);

CREATE TABLE public.publishing_runs (
    id bigint NOT NULL,
    run_day date DEFAULT ((now() AT TIME ZONE 'UTC'::text))::date NOT NULL,
    publication_id bigint NOT NULL,
    publication_version integer NOT NULL,
    due_at timestamp with time zone,
    content_batch_id bigint,
    shards integer NOT NULL,
    after_subscribers bigint[] DEFAULT '{}'::bigint[] NOT NULL,
    after_content bigint DEFAULT 0 NOT NULL,
    deadline_at timestamp with time zone,
    status text DEFAULT 'running'::text NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    finished_at timestamp with time zone,
    CONSTRAINT publishing_runs_check CHECK (((due_at IS NULL) <> (content_batch_id IS NULL))),
    CONSTRAINT publishing_runs_status_check CHECK ((status = ANY (ARRAY['running'::text, 'paused'::text, 'done'::text, 'cancelled'::text])))
);

CREATE VIEW analytics.conservation AS
 SELECT r.id AS run_id,
    s.candidates,
    s.excluded,
    s.planned,
    p.unclaimed,
    d.by_state,
    (s.shards_planned = r.shards) AS planned_by_all,
    ((s.candidates = (s.excluded_total + s.planned)) AND (s.planned = p.in_frames) AND (s.planned = (p.unclaimed + d.total))) AS holds
   FROM (((public.publishing_runs r
     CROSS JOIN LATERAL ( SELECT (count(*))::integer AS shards_planned,
            COALESCE(sum(publishing_run_shards.candidates), (0)::bigint) AS candidates,
            COALESCE(sum(publishing_run_shards.planned), (0)::bigint) AS planned,
            (COALESCE(sum(( SELECT sum((e.value)::bigint) AS sum
                   FROM jsonb_each_text(publishing_run_shards.excluded) e(key, value))), (0)::numeric))::bigint AS excluded_total,
            COALESCE(( SELECT jsonb_object_agg(reasons.reason, reasons.n) AS jsonb_object_agg
                   FROM ( SELECT e.key AS reason,
                            sum((e.value)::bigint) AS n
                           FROM (public.publishing_run_shards x
                             CROSS JOIN LATERAL jsonb_each_text(x.excluded) e(key, value))
                          WHERE (x.run_id = r.id)
                          GROUP BY e.key) reasons), '{}'::jsonb) AS excluded
           FROM public.publishing_run_shards
          WHERE (publishing_run_shards.run_id = r.id)) s)
     CROSS JOIN LATERAL ( SELECT count(*) AS in_frames,
            count(*) FILTER (WHERE (NOT (EXISTS ( SELECT
                   FROM public.publishing_deliveries d_1
                  WHERE ((d_1.run_day = r.run_day) AND (d_1.run_id = r.id) AND (d_1.channel_id = f.channel_id) AND (d_1.destination = f.destination)))))) AS unclaimed
           FROM ( SELECT DISTINCT publishing_plans.channel_id,
                    unnest(publishing_plans.destinations) AS destination
                   FROM public.publishing_plans
                  WHERE (publishing_plans.run_id = r.id)) f) p)
     CROSS JOIN LATERAL ( SELECT (COALESCE(sum(states.n), (0)::numeric))::bigint AS total,
            COALESCE(jsonb_object_agg(states.state, states.n), '{}'::jsonb) AS by_state
           FROM ( SELECT publishing_deliveries.state,
                    count(*) AS n
                   FROM public.publishing_deliveries
                  WHERE ((publishing_deliveries.run_day = r.run_day) AND (publishing_deliveries.run_id = r.id))
                  GROUP BY publishing_deliveries.state) states) d);

COMMENT ON VIEW analytics.conservation IS 'candidates = excluded + planned; planned = unclaimed + the sum of by_state; holds says whether both are so.';

COMMENT ON COLUMN analytics.conservation.run_id IS 'Run.';

COMMENT ON COLUMN analytics.conservation.candidates IS 'Destinations considered.';

COMMENT ON COLUMN analytics.conservation.excluded IS 'Left out, by reason.';

COMMENT ON COLUMN analytics.conservation.planned IS 'Chosen.';

COMMENT ON COLUMN analytics.conservation.unclaimed IS 'Chosen, and not yet taken for sending.';

COMMENT ON COLUMN analytics.conservation.by_state IS 'Taken for sending, by state.';

COMMENT ON COLUMN analytics.conservation.planned_by_all IS 'Whether every shard has planned.';

COMMENT ON COLUMN analytics.conservation.holds IS 'Whether nothing is lost and nothing is there twice.';

CREATE VIEW analytics.deliveries_by_state AS
 SELECT run_day,
    publication_id,
    run_id,
    channel_id,
    arm,
    state,
    reason,
    count(*) AS deliveries,
    min(accepted_at) AS first_accepted_at,
    max(accepted_at) AS last_accepted_at
   FROM public.publishing_deliveries
  GROUP BY run_day, publication_id, run_id, channel_id, arm, state, reason;

COMMENT ON VIEW analytics.deliveries_by_state IS 'The ledger, counted; filter by run_day to read little. No reader is named.';

COMMENT ON COLUMN analytics.deliveries_by_state.run_day IS 'Day of the run, UTC; the partition.';

COMMENT ON COLUMN analytics.deliveries_by_state.publication_id IS 'Publication.';

COMMENT ON COLUMN analytics.deliveries_by_state.run_id IS 'Run.';

COMMENT ON COLUMN analytics.deliveries_by_state.channel_id IS 'Channel.';

COMMENT ON COLUMN analytics.deliveries_by_state.arm IS 'Arm of an experiment; 0 without one.';

COMMENT ON COLUMN analytics.deliveries_by_state.state IS 'State of the ledger; what is planned and not claimed has no row.';

COMMENT ON COLUMN analytics.deliveries_by_state.reason IS 'Why: the provider''s or our own word; null where there is nothing to explain.';

COMMENT ON COLUMN analytics.deliveries_by_state.deliveries IS 'Deliveries in that state for that reason.';

COMMENT ON COLUMN analytics.deliveries_by_state.first_accepted_at IS 'When a provider first took one of them.';

COMMENT ON COLUMN analytics.deliveries_by_state.last_accepted_at IS 'When a provider last took one of them.';

CREATE VIEW analytics.freshness AS
 SELECT
        CASE
            WHEN (count(w.partition) >= i.audience_shards) THEN min(w.watermark)
            ELSE NULL::timestamp with time zone
        END AS watermark,
    count(w.partition) AS partitions_heard,
    i.audience_shards AS partitions,
    max(w.updated_at) AS updated_at
   FROM (public.publishing_installation i
     LEFT JOIN public.publishing_watermarks w ON ((w.consumer = 'engagement'::text)))
  GROUP BY i.audience_shards;

COMMENT ON VIEW analytics.freshness IS 'How far engagement has been counted: one row.';

COMMENT ON COLUMN analytics.freshness.watermark IS 'Windows that end at or before it are closed; null while a partition has said nothing yet.';

COMMENT ON COLUMN analytics.freshness.partitions_heard IS 'Partitions that have said something.';

COMMENT ON COLUMN analytics.freshness.partitions IS 'Partitions there are.';

COMMENT ON COLUMN analytics.freshness.updated_at IS 'When a partition''s watermark last moved.';

CREATE TABLE public.publishing_analytics (
    grain text NOT NULL,
    window_start timestamp with time zone NOT NULL,
    publication_id bigint NOT NULL,
    run_id bigint NOT NULL,
    channel_id integer NOT NULL,
    arm smallint NOT NULL,
    kind text NOT NULL,
    verdict text NOT NULL,
    total bigint NOT NULL,
    uniques bigint NOT NULL,
    late bigint NOT NULL,
    revision integer NOT NULL,
    first_at timestamp with time zone NOT NULL,
    last_at timestamp with time zone NOT NULL,
    CONSTRAINT publishing_analytics_grain_check CHECK ((grain = ANY (ARRAY['minute'::text, 'hour'::text, 'day'::text])))
)
PARTITION BY LIST (grain);

CREATE VIEW analytics.engagement_day AS
 SELECT window_start,
    publication_id,
    run_id,
    channel_id,
    arm,
    kind,
    verdict,
    total,
    uniques,
    late,
    revision,
    first_at,
    last_at,
    COALESCE(((window_start + '24:00:00'::interval) <= ( SELECT freshness.watermark
           FROM analytics.freshness)), false) AS closed
   FROM public.publishing_analytics
  WHERE (grain = 'day'::text);

COMMENT ON VIEW analytics.engagement_day IS 'What readers and providers did, by day of event time (UTC); kept for good.';

COMMENT ON COLUMN analytics.engagement_day.window_start IS 'Beginning of the window, UTC; an event belongs to the window of its own time.';

COMMENT ON COLUMN analytics.engagement_day.publication_id IS 'Publication; 0 where the event names none.';

COMMENT ON COLUMN analytics.engagement_day.run_id IS 'Run of the publication; 0 where the event names none.';

COMMENT ON COLUMN analytics.engagement_day.channel_id IS 'Channel (analytics.channels).';

COMMENT ON COLUMN analytics.engagement_day.arm IS 'Arm of an experiment; 0 without one.';

COMMENT ON COLUMN analytics.engagement_day.kind IS 'opened, clicked, unsubscribed (readers); accepted, delivered, bounced, complained, failed, deferred, suppressed (sending).';

COMMENT ON COLUMN analytics.engagement_day.verdict IS 'human or machine for what readers did, by rules that can be replayed; unknown otherwise.';

COMMENT ON COLUMN analytics.engagement_day.total IS 'Events; a reader who opens twice counts twice.';

COMMENT ON COLUMN analytics.engagement_day.uniques IS 'Readers whose first touch of this kind in this run and channel fell into this window; human first touches are counted apart from all others. Sums over windows, runs and channels stay exact counts of (run, channel, reader).';

COMMENT ON COLUMN analytics.engagement_day.late IS 'Of total: events that arrived after the window was closed.';

COMMENT ON COLUMN analytics.engagement_day.revision IS 'How many times the row was changed after its window was closed; 0 means as it was at closing.';

COMMENT ON COLUMN analytics.engagement_day.first_at IS 'Earliest event time in the row.';

COMMENT ON COLUMN analytics.engagement_day.last_at IS 'Latest event time in the row.';

COMMENT ON COLUMN analytics.engagement_day.closed IS 'Whether every partition of the log has passed the end of the window.';

CREATE VIEW analytics.engagement_hour AS
 SELECT window_start,
    publication_id,
    run_id,
    channel_id,
    arm,
    kind,
    verdict,
    total,
    uniques,
    late,
    revision,
    first_at,
    last_at,
    COALESCE(((window_start + '01:00:00'::interval) <= ( SELECT freshness.watermark
           FROM analytics.freshness)), false) AS closed
   FROM public.publishing_analytics
  WHERE (grain = 'hour'::text);

COMMENT ON VIEW analytics.engagement_hour IS 'What readers and providers did, by hour of event time (UTC); kept 13 months.';

COMMENT ON COLUMN analytics.engagement_hour.window_start IS 'Beginning of the window, UTC; an event belongs to the window of its own time.';

COMMENT ON COLUMN analytics.engagement_hour.publication_id IS 'Publication; 0 where the event names none.';

COMMENT ON COLUMN analytics.engagement_hour.run_id IS 'Run of the publication; 0 where the event names none.';

COMMENT ON COLUMN analytics.engagement_hour.channel_id IS 'Channel (analytics.channels).';

COMMENT ON COLUMN analytics.engagement_hour.arm IS 'Arm of an experiment; 0 without one.';

COMMENT ON COLUMN analytics.engagement_hour.kind IS 'opened, clicked, unsubscribed (readers); accepted, delivered, bounced, complained, failed, deferred, suppressed (sending).';

COMMENT ON COLUMN analytics.engagement_hour.verdict IS 'human or machine for what readers did, by rules that can be replayed; unknown otherwise.';

COMMENT ON COLUMN analytics.engagement_hour.total IS 'Events; a reader who opens twice counts twice.';

COMMENT ON COLUMN analytics.engagement_hour.uniques IS 'Readers whose first touch of this kind in this run and channel fell into this window; human first touches are counted apart from all others. Sums over windows, runs and channels stay exact counts of (run, channel, reader).';

COMMENT ON COLUMN analytics.engagement_hour.late IS 'Of total: events that arrived after the window was closed.';

COMMENT ON COLUMN analytics.engagement_hour.revision IS 'How many times the row was changed after its window was closed; 0 means as it was at closing.';

COMMENT ON COLUMN analytics.engagement_hour.first_at IS 'Earliest event time in the row.';

COMMENT ON COLUMN analytics.engagement_hour.last_at IS 'Latest event time in the row.';

COMMENT ON COLUMN analytics.engagement_hour.closed IS 'Whether every partition of the log has passed the end of the window.';

CREATE VIEW analytics.engagement_minute AS
 SELECT window_start,
    publication_id,
    run_id,
    channel_id,
    arm,
    kind,
    verdict,
    total,
    uniques,
    late,
    revision,
    first_at,
    last_at,
    COALESCE(((window_start + '00:01:00'::interval) <= ( SELECT freshness.watermark
           FROM analytics.freshness)), false) AS closed
   FROM public.publishing_analytics
  WHERE (grain = 'minute'::text);

COMMENT ON VIEW analytics.engagement_minute IS 'What readers and providers did, by minute of event time (UTC); kept 14 days.';

COMMENT ON COLUMN analytics.engagement_minute.window_start IS 'Beginning of the window, UTC; an event belongs to the window of its own time.';

COMMENT ON COLUMN analytics.engagement_minute.publication_id IS 'Publication; 0 where the event names none.';

COMMENT ON COLUMN analytics.engagement_minute.run_id IS 'Run of the publication; 0 where the event names none.';

COMMENT ON COLUMN analytics.engagement_minute.channel_id IS 'Channel (analytics.channels).';

COMMENT ON COLUMN analytics.engagement_minute.arm IS 'Arm of an experiment; 0 without one.';

COMMENT ON COLUMN analytics.engagement_minute.kind IS 'opened, clicked, unsubscribed (readers); accepted, delivered, bounced, complained, failed, deferred, suppressed (sending).';

COMMENT ON COLUMN analytics.engagement_minute.verdict IS 'human or machine for what readers did, by rules that can be replayed; unknown otherwise.';

COMMENT ON COLUMN analytics.engagement_minute.total IS 'Events; a reader who opens twice counts twice.';

COMMENT ON COLUMN analytics.engagement_minute.uniques IS 'Readers whose first touch of this kind in this run and channel fell into this window; human first touches are counted apart from all others. Sums over windows, runs and channels stay exact counts of (run, channel, reader).';

COMMENT ON COLUMN analytics.engagement_minute.late IS 'Of total: events that arrived after the window was closed.';

COMMENT ON COLUMN analytics.engagement_minute.revision IS 'How many times the row was changed after its window was closed; 0 means as it was at closing.';

COMMENT ON COLUMN analytics.engagement_minute.first_at IS 'Earliest event time in the row.';

COMMENT ON COLUMN analytics.engagement_minute.last_at IS 'Latest event time in the row.';

COMMENT ON COLUMN analytics.engagement_minute.closed IS 'Whether every partition of the log has passed the end of the window.';

CREATE TABLE public.publishing_content (
    id bigint NOT NULL,
    source text NOT NULL,
    external_id text NOT NULL,
    version integer NOT NULL,
    type text NOT NULL,
    title text NOT NULL,
    summary text NOT NULL,
    body text,
    url text NOT NULL,
    topics jsonb NOT NULL,
    language text NOT NULL,
    author text,
    priority text NOT NULL,
    quality real NOT NULL,
    published_at timestamp with time zone NOT NULL,
    expires_at timestamp with time zone,
    retracted boolean DEFAULT false NOT NULL,
    submitted_at timestamp with time zone NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT publishing_content_priority_check CHECK ((priority = ANY (ARRAY['bulk'::text, 'alert'::text]))),
    CONSTRAINT publishing_content_quality_check CHECK (((quality >= (0)::double precision) AND (quality <= (1)::double precision))),
    CONSTRAINT publishing_content_type_check CHECK ((type = ANY (ARRAY['article'::text, 'alert'::text])))
);

CREATE TABLE public.publishing_link_clicks (
    publication_id bigint NOT NULL,
    run_id bigint NOT NULL,
    content_id bigint NOT NULL,
    link smallint NOT NULL,
    verdict text NOT NULL,
    total bigint NOT NULL
);

CREATE VIEW analytics.link_clicks AS
 SELECT l.publication_id,
    l.run_id,
    l.content_id,
    i.title,
    l.link,
    l.verdict,
    l.total
   FROM (public.publishing_link_clicks l
     LEFT JOIN public.publishing_content i ON ((i.id = l.content_id)));

COMMENT ON VIEW analytics.link_clicks IS 'Clicks by article and link of a run, and by the verdict at the time they were counted.';

COMMENT ON COLUMN analytics.link_clicks.publication_id IS 'Publication.';

COMMENT ON COLUMN analytics.link_clicks.run_id IS 'Run of the publication.';

COMMENT ON COLUMN analytics.link_clicks.content_id IS 'Article.';

COMMENT ON COLUMN analytics.link_clicks.title IS 'Title of the article; null once the article is gone.';

COMMENT ON COLUMN analytics.link_clicks.link IS 'Place of the link in its message, from 0.';

COMMENT ON COLUMN analytics.link_clicks.verdict IS 'human, machine or unknown.';

COMMENT ON COLUMN analytics.link_clicks.total IS 'Clicks; repeats of one reader count each time.';

CREATE TABLE public.publishing_publications (
    id bigint NOT NULL,
    name text NOT NULL,
    status text NOT NULL,
    definition jsonb NOT NULL,
    trigger_kind text GENERATED ALWAYS AS (((definition -> 'trigger'::text) ->> 'kind'::text)) STORED NOT NULL,
    next_due_at timestamp with time zone,
    version integer DEFAULT 1 NOT NULL,
    created_by text NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT publishing_publications_status_check CHECK ((status = ANY (ARRAY['draft'::text, 'in_review'::text, 'approved'::text, 'scheduled'::text, 'running'::text, 'paused'::text, 'done'::text, 'cancelled'::text])))
);

CREATE VIEW analytics.publication_summary AS
 SELECT p.id AS publication_id,
    p.name AS publication,
    p.status,
    p.trigger_kind,
    ( SELECT count(*) AS count
           FROM public.publishing_runs r
          WHERE (r.publication_id = p.id)) AS runs,
    e.accepted,
    e.delivered,
    e.bounced,
    e.complained,
    e.human_opens,
    e.machine_opens,
    e.human_clicks,
    e.unsubscribes,
    e.first_window,
    e.last_window
   FROM (public.publishing_publications p
     CROSS JOIN LATERAL ( SELECT (COALESCE(sum(publishing_analytics.total) FILTER (WHERE (publishing_analytics.kind = 'accepted'::text)), (0)::numeric))::bigint AS accepted,
            (COALESCE(sum(publishing_analytics.total) FILTER (WHERE (publishing_analytics.kind = 'delivered'::text)), (0)::numeric))::bigint AS delivered,
            (COALESCE(sum(publishing_analytics.total) FILTER (WHERE (publishing_analytics.kind = 'bounced'::text)), (0)::numeric))::bigint AS bounced,
            (COALESCE(sum(publishing_analytics.uniques) FILTER (WHERE (publishing_analytics.kind = 'complained'::text)), (0)::numeric))::bigint AS complained,
            (COALESCE(sum(publishing_analytics.uniques) FILTER (WHERE ((publishing_analytics.kind = 'opened'::text) AND (publishing_analytics.verdict = 'human'::text))), (0)::numeric))::bigint AS human_opens,
            (COALESCE(sum(publishing_analytics.uniques) FILTER (WHERE ((publishing_analytics.kind = 'opened'::text) AND (publishing_analytics.verdict <> 'human'::text))), (0)::numeric))::bigint AS machine_opens,
            (COALESCE(sum(publishing_analytics.uniques) FILTER (WHERE ((publishing_analytics.kind = 'clicked'::text) AND (publishing_analytics.verdict = 'human'::text))), (0)::numeric))::bigint AS human_clicks,
            (COALESCE(sum(publishing_analytics.uniques) FILTER (WHERE ((publishing_analytics.kind = 'unsubscribed'::text) AND (publishing_analytics.verdict = 'human'::text))), (0)::numeric))::bigint AS unsubscribes,
            min(publishing_analytics.window_start) AS first_window,
            max(publishing_analytics.window_start) AS last_window
           FROM public.publishing_analytics
          WHERE ((publishing_analytics.grain = 'day'::text) AND (publishing_analytics.publication_id = p.id))) e);

COMMENT ON VIEW analytics.publication_summary IS 'Each publication over its whole life, from the day windows.';

COMMENT ON COLUMN analytics.publication_summary.publication_id IS 'Number of the publication.';

COMMENT ON COLUMN analytics.publication_summary.publication IS 'Its name.';

COMMENT ON COLUMN analytics.publication_summary.status IS 'draft, in_review, approved, scheduled, running, paused, done or cancelled.';

COMMENT ON COLUMN analytics.publication_summary.trigger_kind IS 'now, at, every or on_content.';

COMMENT ON COLUMN analytics.publication_summary.runs IS 'How many times it ran.';

COMMENT ON COLUMN analytics.publication_summary.accepted IS 'Messages that a provider took.';

COMMENT ON COLUMN analytics.publication_summary.delivered IS 'Messages that a provider says it delivered; 0 where it never says.';

COMMENT ON COLUMN analytics.publication_summary.bounced IS 'Messages that bounced for good.';

COMMENT ON COLUMN analytics.publication_summary.complained IS 'Readers who complained, once a run and channel.';

COMMENT ON COLUMN analytics.publication_summary.human_opens IS 'Readers who opened, by human verdict, once a run and channel.';

COMMENT ON COLUMN analytics.publication_summary.machine_opens IS 'Readers for whom a machine (or nobody knows who) opened, once a run and channel.';

COMMENT ON COLUMN analytics.publication_summary.human_clicks IS 'Readers who clicked, by human verdict, once a run and channel.';

COMMENT ON COLUMN analytics.publication_summary.unsubscribes IS 'Readers who unsubscribed, by human verdict, once a run and channel.';

COMMENT ON COLUMN analytics.publication_summary.first_window IS 'First day with engagement.';

COMMENT ON COLUMN analytics.publication_summary.last_window IS 'Last day with engagement.';

CREATE VIEW analytics.runs AS
 SELECT r.id AS run_id,
    r.publication_id,
    p.name AS publication,
    p.trigger_kind,
    r.status,
    r.created_at,
    r.due_at,
    r.deadline_at,
    r.finished_at,
    r.content_batch_id,
    s.candidates,
    s.planned,
    r.run_day
   FROM ((public.publishing_runs r
     JOIN public.publishing_publications p ON ((p.id = r.publication_id)))
     CROSS JOIN LATERAL ( SELECT COALESCE(sum(publishing_run_shards.candidates), (0)::bigint) AS candidates,
            COALESCE(sum(publishing_run_shards.planned), (0)::bigint) AS planned
           FROM public.publishing_run_shards
          WHERE (publishing_run_shards.run_id = r.id)) s);

COMMENT ON VIEW analytics.runs IS 'Executions of publications.';

COMMENT ON COLUMN analytics.runs.run_id IS 'Number of the run.';

COMMENT ON COLUMN analytics.runs.publication_id IS 'Its publication.';

COMMENT ON COLUMN analytics.runs.publication IS 'The publication''s name today.';

COMMENT ON COLUMN analytics.runs.trigger_kind IS 'now, at, every or on_content.';

COMMENT ON COLUMN analytics.runs.status IS 'running, paused, done or cancelled.';

COMMENT ON COLUMN analytics.runs.created_at IS 'When the run was made.';

COMMENT ON COLUMN analytics.runs.due_at IS 'When it was due; null for on_content.';

COMMENT ON COLUMN analytics.runs.deadline_at IS 'After this nothing of it is sent; null without a deadline.';

COMMENT ON COLUMN analytics.runs.finished_at IS 'When nothing of it was left to send.';

COMMENT ON COLUMN analytics.runs.content_batch_id IS 'The content that caused it; null unless on_content.';

COMMENT ON COLUMN analytics.runs.candidates IS 'Destinations considered, so far as shards have planned.';

COMMENT ON COLUMN analytics.runs.planned IS 'Destinations chosen.';

COMMENT ON COLUMN analytics.runs.run_day IS 'The day its deliveries are filed under, UTC.';

CREATE VIEW analytics.watermarks AS
 SELECT consumer,
    min(watermark) AS watermark,
    count(*) AS partitions,
    max(updated_at) AS updated_at
   FROM public.publishing_watermarks
  GROUP BY consumer;

COMMENT ON VIEW analytics.watermarks IS 'The lowest watermark of each consumer over the partitions that have said something.';

COMMENT ON COLUMN analytics.watermarks.consumer IS 'Consumer of the log; engagement makes the windows.';

COMMENT ON COLUMN analytics.watermarks.watermark IS 'Lowest watermark of its partitions.';

COMMENT ON COLUMN analytics.watermarks.partitions IS 'Partitions that have said something.';

COMMENT ON COLUMN analytics.watermarks.updated_at IS 'When one of them last moved.';

CREATE TABLE public.publishing_analytics_day (
    grain text CONSTRAINT publishing_analytics_grain_not_null NOT NULL,
    window_start timestamp with time zone CONSTRAINT publishing_analytics_window_start_not_null NOT NULL,
    publication_id bigint CONSTRAINT publishing_analytics_publication_id_not_null NOT NULL,
    run_id bigint CONSTRAINT publishing_analytics_run_id_not_null NOT NULL,
    channel_id integer CONSTRAINT publishing_analytics_channel_id_not_null NOT NULL,
    arm smallint CONSTRAINT publishing_analytics_arm_not_null NOT NULL,
    kind text CONSTRAINT publishing_analytics_kind_not_null NOT NULL,
    verdict text CONSTRAINT publishing_analytics_verdict_not_null NOT NULL,
    total bigint CONSTRAINT publishing_analytics_total_not_null NOT NULL,
    uniques bigint CONSTRAINT publishing_analytics_uniques_not_null NOT NULL,
    late bigint CONSTRAINT publishing_analytics_late_not_null NOT NULL,
    revision integer CONSTRAINT publishing_analytics_revision_not_null NOT NULL,
    first_at timestamp with time zone CONSTRAINT publishing_analytics_first_at_not_null NOT NULL,
    last_at timestamp with time zone CONSTRAINT publishing_analytics_last_at_not_null NOT NULL,
    CONSTRAINT publishing_analytics_grain_check CHECK ((grain = ANY (ARRAY['minute'::text, 'hour'::text, 'day'::text])))
);

CREATE TABLE public.publishing_analytics_hour (
    grain text CONSTRAINT publishing_analytics_grain_not_null NOT NULL,
    window_start timestamp with time zone CONSTRAINT publishing_analytics_window_start_not_null NOT NULL,
    publication_id bigint CONSTRAINT publishing_analytics_publication_id_not_null NOT NULL,
    run_id bigint CONSTRAINT publishing_analytics_run_id_not_null NOT NULL,
    channel_id integer CONSTRAINT publishing_analytics_channel_id_not_null NOT NULL,
    arm smallint CONSTRAINT publishing_analytics_arm_not_null NOT NULL,
    kind text CONSTRAINT publishing_analytics_kind_not_null NOT NULL,
    verdict text CONSTRAINT publishing_analytics_verdict_not_null NOT NULL,
    total bigint CONSTRAINT publishing_analytics_total_not_null NOT NULL,
    uniques bigint CONSTRAINT publishing_analytics_uniques_not_null NOT NULL,
    late bigint CONSTRAINT publishing_analytics_late_not_null NOT NULL,
    revision integer CONSTRAINT publishing_analytics_revision_not_null NOT NULL,
    first_at timestamp with time zone CONSTRAINT publishing_analytics_first_at_not_null NOT NULL,
    last_at timestamp with time zone CONSTRAINT publishing_analytics_last_at_not_null NOT NULL,
    CONSTRAINT publishing_analytics_grain_check CHECK ((grain = ANY (ARRAY['minute'::text, 'hour'::text, 'day'::text])))
)
PARTITION BY RANGE (window_start);

CREATE TABLE public.publishing_analytics_hour_default (
    grain text CONSTRAINT publishing_analytics_grain_not_null NOT NULL,
    window_start timestamp with time zone CONSTRAINT publishing_analytics_window_start_not_null NOT NULL,
    publication_id bigint CONSTRAINT publishing_analytics_publication_id_not_null NOT NULL,
    run_id bigint CONSTRAINT publishing_analytics_run_id_not_null NOT NULL,
    channel_id integer CONSTRAINT publishing_analytics_channel_id_not_null NOT NULL,
    arm smallint CONSTRAINT publishing_analytics_arm_not_null NOT NULL,
    kind text CONSTRAINT publishing_analytics_kind_not_null NOT NULL,
    verdict text CONSTRAINT publishing_analytics_verdict_not_null NOT NULL,
    total bigint CONSTRAINT publishing_analytics_total_not_null NOT NULL,
    uniques bigint CONSTRAINT publishing_analytics_uniques_not_null NOT NULL,
    late bigint CONSTRAINT publishing_analytics_late_not_null NOT NULL,
    revision integer CONSTRAINT publishing_analytics_revision_not_null NOT NULL,
    first_at timestamp with time zone CONSTRAINT publishing_analytics_first_at_not_null NOT NULL,
    last_at timestamp with time zone CONSTRAINT publishing_analytics_last_at_not_null NOT NULL,
    CONSTRAINT publishing_analytics_grain_check CHECK ((grain = ANY (ARRAY['minute'::text, 'hour'::text, 'day'::text])))
);

CREATE TABLE public.publishing_analytics_minute (
    grain text CONSTRAINT publishing_analytics_grain_not_null NOT NULL,
    window_start timestamp with time zone CONSTRAINT publishing_analytics_window_start_not_null NOT NULL,
    publication_id bigint CONSTRAINT publishing_analytics_publication_id_not_null NOT NULL,
    run_id bigint CONSTRAINT publishing_analytics_run_id_not_null NOT NULL,
    channel_id integer CONSTRAINT publishing_analytics_channel_id_not_null NOT NULL,
    arm smallint CONSTRAINT publishing_analytics_arm_not_null NOT NULL,
    kind text CONSTRAINT publishing_analytics_kind_not_null NOT NULL,
    verdict text CONSTRAINT publishing_analytics_verdict_not_null NOT NULL,
    total bigint CONSTRAINT publishing_analytics_total_not_null NOT NULL,
    uniques bigint CONSTRAINT publishing_analytics_uniques_not_null NOT NULL,
    late bigint CONSTRAINT publishing_analytics_late_not_null NOT NULL,
    revision integer CONSTRAINT publishing_analytics_revision_not_null NOT NULL,
    first_at timestamp with time zone CONSTRAINT publishing_analytics_first_at_not_null NOT NULL,
    last_at timestamp with time zone CONSTRAINT publishing_analytics_last_at_not_null NOT NULL,
    CONSTRAINT publishing_analytics_grain_check CHECK ((grain = ANY (ARRAY['minute'::text, 'hour'::text, 'day'::text])))
)
PARTITION BY RANGE (window_start);

CREATE TABLE public.publishing_analytics_minute_default (
    grain text CONSTRAINT publishing_analytics_grain_not_null NOT NULL,
    window_start timestamp with time zone CONSTRAINT publishing_analytics_window_start_not_null NOT NULL,
    publication_id bigint CONSTRAINT publishing_analytics_publication_id_not_null NOT NULL,
    run_id bigint CONSTRAINT publishing_analytics_run_id_not_null NOT NULL,
    channel_id integer CONSTRAINT publishing_analytics_channel_id_not_null NOT NULL,
    arm smallint CONSTRAINT publishing_analytics_arm_not_null NOT NULL,
    kind text CONSTRAINT publishing_analytics_kind_not_null NOT NULL,
    verdict text CONSTRAINT publishing_analytics_verdict_not_null NOT NULL,
    total bigint CONSTRAINT publishing_analytics_total_not_null NOT NULL,
    uniques bigint CONSTRAINT publishing_analytics_uniques_not_null NOT NULL,
    late bigint CONSTRAINT publishing_analytics_late_not_null NOT NULL,
    revision integer CONSTRAINT publishing_analytics_revision_not_null NOT NULL,
    first_at timestamp with time zone CONSTRAINT publishing_analytics_first_at_not_null NOT NULL,
    last_at timestamp with time zone CONSTRAINT publishing_analytics_last_at_not_null NOT NULL,
    CONSTRAINT publishing_analytics_grain_check CHECK ((grain = ANY (ARRAY['minute'::text, 'hour'::text, 'day'::text])))
);

CREATE TABLE public.publishing_api_keys (
    id bigint NOT NULL,
    name text NOT NULL,
    key_hash bytea NOT NULL,
    role text NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    revoked_at timestamp with time zone,
    CONSTRAINT publishing_api_keys_role_check CHECK ((role = ANY (ARRAY['reader'::text, 'editor'::text, 'approver'::text, 'admin'::text])))
);

ALTER TABLE public.publishing_api_keys ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.publishing_api_keys_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE public.publishing_audit (
    id bigint NOT NULL,
    at timestamp with time zone DEFAULT now() NOT NULL,
    actor text NOT NULL,
    role text NOT NULL,
    action text NOT NULL,
    entity text NOT NULL,
    entity_id text NOT NULL,
    request_id text NOT NULL,
    change jsonb DEFAULT '{}'::jsonb NOT NULL
);

ALTER TABLE public.publishing_audit ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.publishing_audit_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

ALTER TABLE public.publishing_channels ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.publishing_channels_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE SEQUENCE public.publishing_claim_ids
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;

CREATE TABLE public.publishing_consents (
    id bigint NOT NULL,
    destination bigint NOT NULL,
    purpose text NOT NULL,
    text_version text NOT NULL,
    source text NOT NULL,
    given_at timestamp with time zone NOT NULL,
    withdrawn_at timestamp with time zone
);

ALTER TABLE public.publishing_consents ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.publishing_consents_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE public.publishing_content_batches (
    batch_id bigint NOT NULL,
    source_partition integer NOT NULL,
    items jsonb NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    emitted_at timestamp with time zone
);

ALTER TABLE public.publishing_content ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.publishing_content_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE public.publishing_content_mark (
    only_row boolean DEFAULT true NOT NULL,
    last_batch_id bigint NOT NULL,
    CONSTRAINT publishing_content_mark_only_row_check CHECK (only_row)
);

CREATE TABLE public.publishing_deliveries_default (
    run_day date CONSTRAINT publishing_deliveries_run_day_not_null NOT NULL,
    run_id bigint CONSTRAINT publishing_deliveries_run_id_not_null NOT NULL,
    channel_id integer CONSTRAINT publishing_deliveries_channel_id_not_null NOT NULL,
    destination bigint CONSTRAINT publishing_deliveries_destination_not_null NOT NULL,
    publication_id bigint CONSTRAINT publishing_deliveries_publication_id_not_null NOT NULL,
    shard integer CONSTRAINT publishing_deliveries_shard_not_null NOT NULL,
    chunk integer CONSTRAINT publishing_deliveries_chunk_not_null NOT NULL,
    lane text CONSTRAINT publishing_deliveries_lane_not_null NOT NULL,
    state text CONSTRAINT publishing_deliveries_state_not_null NOT NULL,
    reason text,
    arm smallint DEFAULT 0 CONSTRAINT publishing_deliveries_arm_not_null NOT NULL,
    content_ids bigint[] CONSTRAINT publishing_deliveries_content_ids_not_null NOT NULL,
    scores real[] CONSTRAINT publishing_deliveries_scores_not_null NOT NULL,
    template_id bigint DEFAULT 0 CONSTRAINT publishing_deliveries_template_id_not_null NOT NULL,
    template_version integer DEFAULT 0 CONSTRAINT publishing_deliveries_template_version_not_null NOT NULL,
    claim_id bigint,
    lease_until timestamp with time zone,
    attempts smallint DEFAULT 0 CONSTRAINT publishing_deliveries_attempts_not_null NOT NULL,
    attempt_log jsonb DEFAULT '[]'::jsonb CONSTRAINT publishing_deliveries_attempt_log_not_null NOT NULL,
    next_attempt_at timestamp with time zone,
    deadline_at timestamp with time zone,
    provider_message_id text,
    claimed_at timestamp with time zone,
    submitted_at timestamp with time zone,
    accepted_at timestamp with time zone,
    settled_at timestamp with time zone,
    updated_at timestamp with time zone DEFAULT now() CONSTRAINT publishing_deliveries_updated_at_not_null NOT NULL,
    CONSTRAINT publishing_deliveries_lane_check CHECK ((lane = ANY (ARRAY['bulk'::text, 'alert'::text]))),
    CONSTRAINT publishing_deliveries_state_check CHECK ((state = ANY (ARRAY['claimed'::text, 'submitted'::text, 'accepted'::text, 'delivered'::text, 'bounced'::text, 'complained'::text, 'suppressed'::text, 'capped'::text, 'deferred'::text, 'retry'::text, 'expired'::text, 'cancelled'::text, 'failed'::text, 'in_doubt'::text])))
);

CREATE SEQUENCE public.publishing_destination_numbers
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;

CREATE TABLE public.publishing_engaged (
    run_id bigint NOT NULL,
    channel_id integer NOT NULL,
    destination bigint NOT NULL,
    kind text NOT NULL,
    human boolean NOT NULL,
    first_at timestamp with time zone NOT NULL,
    CONSTRAINT publishing_engaged_kind_check CHECK ((kind = ANY (ARRAY['opened'::text, 'clicked'::text, 'unsubscribed'::text, 'complained'::text])))
);

CREATE TABLE public.publishing_event_ids (
    day date NOT NULL,
    event_id bytea NOT NULL,
    CONSTRAINT publishing_event_ids_event_id_check CHECK ((octet_length(event_id) = 16))
)
PARTITION BY RANGE (day);

CREATE TABLE public.publishing_event_ids_default (
    day date CONSTRAINT publishing_event_ids_day_not_null NOT NULL,
    event_id bytea CONSTRAINT publishing_event_ids_event_id_not_null NOT NULL,
    CONSTRAINT publishing_event_ids_event_id_check CHECK ((octet_length(event_id) = 16))
);

CREATE TABLE public.publishing_experiments (
    id bigint NOT NULL,
    publication_id bigint NOT NULL,
    seed text NOT NULL,
    arms jsonb NOT NULL,
    status text DEFAULT 'draft'::text NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT publishing_experiments_status_check CHECK ((status = ANY (ARRAY['draft'::text, 'running'::text, 'decided'::text, 'stopped'::text])))
);

ALTER TABLE public.publishing_experiments ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.publishing_experiments_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE public.publishing_feed_entries (
    channel_id integer NOT NULL,
    guid text NOT NULL,
    run_id bigint NOT NULL,
    content_id bigint NOT NULL,
    entry jsonb NOT NULL,
    published_at timestamp with time zone NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL
);

CREATE TABLE public.publishing_heartbeats (
    topic text NOT NULL,
    beat_at timestamp with time zone NOT NULL
);

CREATE TABLE public.publishing_outbox (
    id bigint NOT NULL,
    topic text NOT NULL,
    partition integer NOT NULL,
    frame bytea,
    payload jsonb,
    ce_source text NOT NULL,
    traceparent text,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    sent_at timestamp with time zone,
    CONSTRAINT publishing_outbox_check CHECK (((frame IS NULL) <> (payload IS NULL)))
);

ALTER TABLE public.publishing_outbox ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.publishing_outbox_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

ALTER TABLE public.publishing_publications ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.publishing_publications_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE public.publishing_quarantine (
    id bigint NOT NULL,
    source text NOT NULL,
    external_id text NOT NULL,
    reason text NOT NULL,
    detail jsonb DEFAULT '{}'::jsonb NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    resolved_at timestamp with time zone
);

ALTER TABLE public.publishing_quarantine ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.publishing_quarantine_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

ALTER TABLE public.publishing_runs ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.publishing_runs_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE public.publishing_shard_marks (
    shard integer NOT NULL,
    last_seq bigint NOT NULL
);

CREATE TABLE public.publishing_subscriber_state (
    destination bigint NOT NULL,
    shard integer NOT NULL,
    learned jsonb DEFAULT '{}'::jsonb NOT NULL,
    events bigint DEFAULT 0 NOT NULL,
    recent bigint[] DEFAULT '{}'::bigint[] NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL
);

CREATE TABLE public.publishing_subscribers (
    id bigint NOT NULL,
    shard integer NOT NULL,
    external_id text,
    status text DEFAULT 'active'::text NOT NULL,
    data_key bytea,
    email_sealed bytea,
    email_lookup bytea,
    time_zone text DEFAULT 'UTC'::text NOT NULL,
    locale text DEFAULT 'en'::text NOT NULL,
    cadence text DEFAULT 'immediate'::text NOT NULL,
    topics jsonb DEFAULT '{}'::jsonb NOT NULL,
    channels jsonb DEFAULT '{}'::jsonb NOT NULL,
    caps jsonb DEFAULT '{}'::jsonb NOT NULL,
    attributes jsonb DEFAULT '{}'::jsonb NOT NULL,
    version integer DEFAULT 1 NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT publishing_subscribers_cadence_check CHECK ((cadence = ANY (ARRAY['immediate'::text, 'hourly'::text, 'daily'::text, 'weekly'::text]))),
    CONSTRAINT publishing_subscribers_status_check CHECK ((status = ANY (ARRAY['pending'::text, 'active'::text, 'paused'::text, 'unsubscribed'::text, 'erased'::text])))
);

CREATE TABLE public.publishing_suppressions (
    destination bigint NOT NULL,
    scope text NOT NULL,
    reason text NOT NULL,
    source text NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT publishing_suppressions_reason_check CHECK ((reason = ANY (ARRAY['unsubscribed'::text, 'bounced'::text, 'complained'::text, 'manual'::text])))
);

CREATE TABLE public.publishing_templates (
    id bigint NOT NULL,
    version integer NOT NULL,
    kind text NOT NULL,
    name text NOT NULL,
    status text DEFAULT 'draft'::text NOT NULL,
    source jsonb NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT publishing_templates_kind_check CHECK ((kind = ANY (ARRAY['email'::text, 'slack'::text, 'discord'::text, 'webhook'::text, 'feed'::text]))),
    CONSTRAINT publishing_templates_status_check CHECK ((status = ANY (ARRAY['draft'::text, 'published'::text, 'archived'::text])))
);

CREATE SEQUENCE public.publishing_template_numbers
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;

ALTER SEQUENCE public.publishing_template_numbers OWNED BY public.publishing_templates.id;

CREATE TABLE public.publishing_verdict_replays (
    id bigint NOT NULL,
    rules_version integer NOT NULL,
    rules jsonb NOT NULL,
    since timestamp with time zone NOT NULL,
    next_offsets jsonb NOT NULL,
    replayed_at timestamp with time zone DEFAULT now() NOT NULL,
    changed_cells bigint NOT NULL,
    CONSTRAINT publishing_verdict_replays_next_offsets_check CHECK ((jsonb_typeof(next_offsets) = 'object'::text)),
    CONSTRAINT publishing_verdict_replays_rules_check CHECK ((jsonb_typeof(rules) = 'array'::text)),
    CONSTRAINT publishing_verdict_replays_since_check CHECK ((date_trunc('day'::text, since, 'UTC'::text) = since))
);

ALTER TABLE public.publishing_verdict_replays ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.publishing_verdict_replays_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE public.stream_offsets (
    consumer text NOT NULL,
    topic text NOT NULL,
    partition integer NOT NULL,
    next_offset bigint NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT stream_offsets_next_offset_check CHECK ((next_offset >= 0))
);

ALTER TABLE ONLY public.publishing_analytics ATTACH PARTITION public.publishing_analytics_day FOR VALUES IN ('day');

ALTER TABLE ONLY public.publishing_analytics ATTACH PARTITION public.publishing_analytics_hour FOR VALUES IN ('hour');

ALTER TABLE ONLY public.publishing_analytics_hour ATTACH PARTITION public.publishing_analytics_hour_default DEFAULT;

ALTER TABLE ONLY public.publishing_analytics ATTACH PARTITION public.publishing_analytics_minute FOR VALUES IN ('minute');

ALTER TABLE ONLY public.publishing_analytics_minute ATTACH PARTITION public.publishing_analytics_minute_default DEFAULT;

ALTER TABLE ONLY public.publishing_deliveries ATTACH PARTITION public.publishing_deliveries_default DEFAULT;

ALTER TABLE ONLY public.publishing_event_ids ATTACH PARTITION public.publishing_event_ids_default DEFAULT;

ALTER TABLE ONLY public.publishing_analytics
    ADD CONSTRAINT publishing_analytics_pkey PRIMARY KEY (grain, window_start, publication_id, run_id, channel_id, arm, kind, verdict);

ALTER TABLE ONLY public.publishing_analytics_day
    ADD CONSTRAINT publishing_analytics_day_pkey PRIMARY KEY (grain, window_start, publication_id, run_id, channel_id, arm, kind, verdict);

ALTER TABLE ONLY public.publishing_analytics_hour
    ADD CONSTRAINT publishing_analytics_hour_pkey PRIMARY KEY (grain, window_start, publication_id, run_id, channel_id, arm, kind, verdict);

ALTER TABLE ONLY public.publishing_analytics_hour_default
    ADD CONSTRAINT publishing_analytics_hour_default_pkey PRIMARY KEY (grain, window_start, publication_id, run_id, channel_id, arm, kind, verdict);

ALTER TABLE ONLY public.publishing_analytics_minute
    ADD CONSTRAINT publishing_analytics_minute_pkey PRIMARY KEY (grain, window_start, publication_id, run_id, channel_id, arm, kind, verdict);

ALTER TABLE ONLY public.publishing_analytics_minute_default
    ADD CONSTRAINT publishing_analytics_minute_default_pkey PRIMARY KEY (grain, window_start, publication_id, run_id, channel_id, arm, kind, verdict);

ALTER TABLE ONLY public.publishing_api_keys
    ADD CONSTRAINT publishing_api_keys_key_hash_key UNIQUE (key_hash);

ALTER TABLE ONLY public.publishing_api_keys
    ADD CONSTRAINT publishing_api_keys_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.publishing_audit
    ADD CONSTRAINT publishing_audit_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.publishing_channels
    ADD CONSTRAINT publishing_channels_destination_key UNIQUE (destination);

ALTER TABLE ONLY public.publishing_channels
    ADD CONSTRAINT publishing_channels_name_key UNIQUE (name);

ALTER TABLE ONLY public.publishing_channels
    ADD CONSTRAINT publishing_channels_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.publishing_consents
    ADD CONSTRAINT publishing_consents_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.publishing_content_batches
    ADD CONSTRAINT publishing_content_batches_pkey PRIMARY KEY (batch_id);

ALTER TABLE ONLY public.publishing_content_mark
    ADD CONSTRAINT publishing_content_mark_pkey PRIMARY KEY (only_row);

ALTER TABLE ONLY public.publishing_content
    ADD CONSTRAINT publishing_content_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.publishing_content
    ADD CONSTRAINT publishing_content_source_external_id_key UNIQUE (source, external_id);

ALTER TABLE ONLY public.publishing_deliveries
    ADD CONSTRAINT publishing_deliveries_pkey PRIMARY KEY (run_id, channel_id, destination, run_day);

ALTER TABLE ONLY public.publishing_deliveries_default
    ADD CONSTRAINT publishing_deliveries_default_pkey PRIMARY KEY (run_id, channel_id, destination, run_day);

ALTER TABLE ONLY public.publishing_engaged
    ADD CONSTRAINT publishing_engaged_pkey PRIMARY KEY (run_id, channel_id, destination, kind, human);

ALTER TABLE ONLY public.publishing_event_ids
    ADD CONSTRAINT publishing_event_ids_pkey PRIMARY KEY (day, event_id);

ALTER TABLE ONLY public.publishing_event_ids_default
    ADD CONSTRAINT publishing_event_ids_default_pkey PRIMARY KEY (day, event_id);

ALTER TABLE ONLY public.publishing_experiments
    ADD CONSTRAINT publishing_experiments_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.publishing_feed_entries
    ADD CONSTRAINT publishing_feed_entries_pkey PRIMARY KEY (channel_id, guid);

ALTER TABLE ONLY public.publishing_heartbeats
    ADD CONSTRAINT publishing_heartbeats_pkey PRIMARY KEY (topic);

ALTER TABLE ONLY public.publishing_installation
    ADD CONSTRAINT publishing_installation_pkey PRIMARY KEY (only_row);

ALTER TABLE ONLY public.publishing_link_clicks
    ADD CONSTRAINT publishing_link_clicks_pkey PRIMARY KEY (publication_id, run_id, content_id, link, verdict);

ALTER TABLE ONLY public.publishing_outbox
    ADD CONSTRAINT publishing_outbox_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.publishing_plans
    ADD CONSTRAINT publishing_plans_pkey PRIMARY KEY (run_id, shard, chunk);

ALTER TABLE ONLY public.publishing_publications
    ADD CONSTRAINT publishing_publications_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.publishing_quarantine
    ADD CONSTRAINT publishing_quarantine_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.publishing_run_shards
    ADD CONSTRAINT publishing_run_shards_pkey PRIMARY KEY (run_id, shard);

ALTER TABLE ONLY public.publishing_runs
    ADD CONSTRAINT publishing_runs_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.publishing_runs
    ADD CONSTRAINT publishing_runs_publication_id_content_batch_id_key UNIQUE (publication_id, content_batch_id);

ALTER TABLE ONLY public.publishing_runs
    ADD CONSTRAINT publishing_runs_publication_id_due_at_key UNIQUE (publication_id, due_at);

ALTER TABLE ONLY public.publishing_shard_marks
    ADD CONSTRAINT publishing_shard_marks_pkey PRIMARY KEY (shard);

ALTER TABLE ONLY public.publishing_subscriber_state
    ADD CONSTRAINT publishing_subscriber_state_pkey PRIMARY KEY (destination);

ALTER TABLE ONLY public.publishing_subscribers
    ADD CONSTRAINT publishing_subscribers_email_lookup_key UNIQUE (email_lookup);

ALTER TABLE ONLY public.publishing_subscribers
    ADD CONSTRAINT publishing_subscribers_external_id_key UNIQUE (external_id);

ALTER TABLE ONLY public.publishing_subscribers
    ADD CONSTRAINT publishing_subscribers_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.publishing_suppressions
    ADD CONSTRAINT publishing_suppressions_pkey PRIMARY KEY (destination, scope);

ALTER TABLE ONLY public.publishing_templates
    ADD CONSTRAINT publishing_templates_pkey PRIMARY KEY (id, version);

ALTER TABLE ONLY public.publishing_verdict_replays
    ADD CONSTRAINT publishing_verdict_replays_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.publishing_watermarks
    ADD CONSTRAINT publishing_watermarks_pkey PRIMARY KEY (consumer, partition);

ALTER TABLE ONLY public.stream_offsets
    ADD CONSTRAINT stream_offsets_pkey PRIMARY KEY (consumer, topic, partition);

CREATE INDEX publishing_analytics_day_publication ON public.publishing_analytics_day USING btree (publication_id, window_start);

CREATE INDEX publishing_analytics_hour_publication ON ONLY public.publishing_analytics_hour USING btree (publication_id, window_start);

CREATE INDEX publishing_analytics_hour_defau_publication_id_window_start_idx ON public.publishing_analytics_hour_default USING btree (publication_id, window_start);

CREATE INDEX publishing_audit_entity ON public.publishing_audit USING btree (entity, entity_id);

CREATE INDEX publishing_channels_shard ON public.publishing_channels USING btree (shard) WHERE (shard IS NOT NULL);

CREATE INDEX publishing_consents_destination ON public.publishing_consents USING btree (destination);

CREATE INDEX publishing_content_batches_unsent ON public.publishing_content_batches USING btree (source_partition, batch_id) WHERE (emitted_at IS NULL);

CREATE INDEX publishing_content_published ON public.publishing_content USING btree (published_at);

CREATE INDEX publishing_deliveries_claim ON ONLY public.publishing_deliveries USING btree (claim_id) WHERE (state = ANY (ARRAY['claimed'::text, 'submitted'::text]));

CREATE INDEX publishing_deliveries_doubt ON ONLY public.publishing_deliveries USING btree (channel_id) WHERE (state = 'in_doubt'::text);

CREATE INDEX publishing_deliveries_default_channel_id_idx ON public.publishing_deliveries_default USING btree (channel_id) WHERE (state = 'in_doubt'::text);

CREATE INDEX publishing_deliveries_default_claim_id_idx ON public.publishing_deliveries_default USING btree (claim_id) WHERE (state = ANY (ARRAY['claimed'::text, 'submitted'::text]));

CREATE INDEX publishing_deliveries_destination ON ONLY public.publishing_deliveries USING btree (destination);

CREATE INDEX publishing_deliveries_default_destination_idx ON public.publishing_deliveries_default USING btree (destination);

CREATE INDEX publishing_deliveries_lease ON ONLY public.publishing_deliveries USING btree (lease_until) WHERE (state = ANY (ARRAY['claimed'::text, 'submitted'::text]));

CREATE INDEX publishing_deliveries_default_lease_until_idx ON public.publishing_deliveries_default USING btree (lease_until) WHERE (state = ANY (ARRAY['claimed'::text, 'submitted'::text]));

CREATE INDEX publishing_deliveries_retry ON ONLY public.publishing_deliveries USING btree (next_attempt_at) WHERE (state = ANY (ARRAY['retry'::text, 'deferred'::text]));

CREATE INDEX publishing_deliveries_default_next_attempt_at_idx ON public.publishing_deliveries_default USING btree (next_attempt_at) WHERE (state = ANY (ARRAY['retry'::text, 'deferred'::text]));

CREATE INDEX publishing_deliveries_provider ON ONLY public.publishing_deliveries USING btree (provider_message_id) WHERE (provider_message_id IS NOT NULL);

CREATE INDEX publishing_deliveries_default_provider_message_id_idx ON public.publishing_deliveries_default USING btree (provider_message_id) WHERE (provider_message_id IS NOT NULL);

CREATE INDEX publishing_engaged_first_at ON public.publishing_engaged USING brin (first_at) WITH (pages_per_range='32');

CREATE INDEX publishing_feed_entries_newest ON public.publishing_feed_entries USING btree (channel_id, published_at DESC);

CREATE INDEX publishing_outbox_unsent ON public.publishing_outbox USING btree (id) WHERE (sent_at IS NULL);

CREATE INDEX publishing_plans_unsent ON public.publishing_plans USING btree (shard, run_id, chunk) WHERE (emitted_at IS NULL);

CREATE INDEX publishing_publications_due ON public.publishing_publications USING btree (next_due_at) WHERE (next_due_at IS NOT NULL);

CREATE INDEX publishing_runs_created ON public.publishing_runs USING btree (created_at);

CREATE INDEX publishing_runs_running ON public.publishing_runs USING btree (id) WHERE (status = 'running'::text);

CREATE INDEX publishing_subscriber_state_shard ON public.publishing_subscriber_state USING btree (shard);

CREATE INDEX publishing_subscribers_shard ON public.publishing_subscribers USING btree (shard);

ALTER INDEX public.publishing_analytics_pkey ATTACH PARTITION public.publishing_analytics_day_pkey;

ALTER INDEX public.publishing_analytics_hour_publication ATTACH PARTITION public.publishing_analytics_hour_defau_publication_id_window_start_idx;

ALTER INDEX public.publishing_analytics_hour_pkey ATTACH PARTITION public.publishing_analytics_hour_default_pkey;

ALTER INDEX public.publishing_analytics_pkey ATTACH PARTITION public.publishing_analytics_hour_pkey;

ALTER INDEX public.publishing_analytics_minute_pkey ATTACH PARTITION public.publishing_analytics_minute_default_pkey;

ALTER INDEX public.publishing_analytics_pkey ATTACH PARTITION public.publishing_analytics_minute_pkey;

ALTER INDEX public.publishing_deliveries_doubt ATTACH PARTITION public.publishing_deliveries_default_channel_id_idx;

ALTER INDEX public.publishing_deliveries_claim ATTACH PARTITION public.publishing_deliveries_default_claim_id_idx;

ALTER INDEX public.publishing_deliveries_destination ATTACH PARTITION public.publishing_deliveries_default_destination_idx;

ALTER INDEX public.publishing_deliveries_lease ATTACH PARTITION public.publishing_deliveries_default_lease_until_idx;

ALTER INDEX public.publishing_deliveries_retry ATTACH PARTITION public.publishing_deliveries_default_next_attempt_at_idx;

ALTER INDEX public.publishing_deliveries_pkey ATTACH PARTITION public.publishing_deliveries_default_pkey;

ALTER INDEX public.publishing_deliveries_provider ATTACH PARTITION public.publishing_deliveries_default_provider_message_id_idx;

ALTER INDEX public.publishing_event_ids_pkey ATTACH PARTITION public.publishing_event_ids_default_pkey;

ALTER TABLE ONLY public.publishing_experiments
    ADD CONSTRAINT publishing_experiments_publication_id_fkey FOREIGN KEY (publication_id) REFERENCES public.publishing_publications(id);

ALTER TABLE ONLY public.publishing_feed_entries
    ADD CONSTRAINT publishing_feed_entries_channel_id_fkey FOREIGN KEY (channel_id) REFERENCES public.publishing_channels(id);

ALTER TABLE ONLY public.publishing_plans
    ADD CONSTRAINT publishing_plans_channel_id_fkey FOREIGN KEY (channel_id) REFERENCES public.publishing_channels(id);

ALTER TABLE ONLY public.publishing_plans
    ADD CONSTRAINT publishing_plans_run_id_fkey FOREIGN KEY (run_id) REFERENCES public.publishing_runs(id);

ALTER TABLE ONLY public.publishing_run_shards
    ADD CONSTRAINT publishing_run_shards_run_id_fkey FOREIGN KEY (run_id) REFERENCES public.publishing_runs(id);

ALTER TABLE ONLY public.publishing_runs
    ADD CONSTRAINT publishing_runs_publication_id_fkey FOREIGN KEY (publication_id) REFERENCES public.publishing_publications(id);
