-- Engagement at volume: partitions that may be made late, the watermark of all partitions, heartbeats, verdict replays.

-- One partition of a table by range, whatever rows of its range the default partition has taken meanwhile: they move
-- into it. Returns whether it was new.
CREATE FUNCTION publishing_ensure_partition(parent text, child text, key text, first text, after text)
RETURNS boolean LANGUAGE plpgsql AS $$
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
$$;

-- Makes the partitions from first_day to last_day, both included: days, and of the hour windows months (all UTC);
-- returns how many were new.
CREATE OR REPLACE FUNCTION publishing_ensure_days(first_day date, last_day date) RETURNS int LANGUAGE plpgsql AS $$
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

-- Time since a content batch, a send or a first touch is asked for by period; rows come nearly in order of time.
CREATE INDEX publishing_engaged_first_at ON publishing_engaged USING brin (first_at) WITH (pages_per_range = 32);

-- When the scheduler last told every partition of a topic what time it is; claimed by whoever is first.
CREATE TABLE publishing_heartbeats (
    topic text PRIMARY KEY,
    beat_at timestamptz NOT NULL
);

-- A change of verdicts after the fact: the events of a partition before its offset here, whose time is at or after
-- `since`, are counted under these rules instead of under the verdict in their frame. The newest that covers an event
-- decides.
CREATE TABLE publishing_verdict_replays (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    rules_version int NOT NULL,
    rules jsonb NOT NULL CHECK (jsonb_typeof(rules) = 'array'),
    since timestamptz NOT NULL CHECK (date_trunc('day', since, 'UTC') = since),
    -- {"<partition>": next offset}
    next_offsets jsonb NOT NULL CHECK (jsonb_typeof(next_offsets) = 'object'),
    replayed_at timestamptz NOT NULL DEFAULT now(),
    changed_cells bigint NOT NULL
);

-- What every partition of the log has passed; null while one of them has said nothing yet.
CREATE FUNCTION analytics.watermark() RETURNS timestamptz STABLE LANGUAGE sql
BEGIN ATOMIC
    SELECT CASE WHEN count(*) >= (SELECT audience_shards FROM public.publishing_installation) THEN min(watermark) END
    FROM public.publishing_watermarks WHERE consumer = 'engagement';
END;
COMMENT ON FUNCTION analytics.watermark() IS
    'Every window that ends at or before this time is closed; write (SELECT analytics.watermark()) to ask once.';

-- Whether a window has ended before the watermark: what changes after that is late, and is named by late and revision.
CREATE FUNCTION publishing_is_closed(grain text, window_start timestamptz) RETURNS boolean STABLE LANGUAGE sql
BEGIN ATOMIC
    SELECT coalesce(window_start + CASE grain WHEN 'minute' THEN interval '1 minute' WHEN 'hour' THEN interval '1 hour'
        ELSE interval '24 hours' END <= analytics.watermark(), false);
END;
