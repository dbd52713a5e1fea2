-- What of the rollups can be relied on, and how long they are kept. TimescaleDB logs which times of a table were changed
-- since its continuous aggregates were refreshed (tsl/src/continuous_aggs/invalidation.c says how): a change is in
-- the log of the table from the commit that makes it, moves to the log of each aggregate when one is refreshed, and
-- from there, since 2.22, to the ranges to be materialized, where it stays until the commit that has materialized them. What is
-- in none of the three is as an aggregate of the points would be.

-- Whether the logs are those of a version that is known: another one may have a fourth place.
CREATE FUNCTION catalog.knows_invalidations() RETURNS boolean
LANGUAGE sql STABLE
SET search_path = pg_catalog
AS $$
    SELECT v[1]::int = 2 AND v[2]::int BETWEEN 14 AND 29
       AND coalesce(current_setting('timescaledb.enable_cagg_wal_based_invalidation', true), 'off') = 'off'
       AND (v[2]::int < 22 OR to_regclass('_timescaledb_catalog.continuous_aggs_materialization_ranges') IS NOT NULL)
    FROM (SELECT string_to_array(extversion, '.') AS v FROM pg_extension WHERE extname = 'timescaledb') e
$$;

-- The windows of this width that have something of these times. All widths divide a day.
CREATE FUNCTION catalog.widened(ranges tstzmultirange, width interval) RETURNS tstzmultirange
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
SET search_path = pg_catalog
AS $$
    SELECT coalesce(range_agg(tstzrange(
        date_bin(width, lower(r), 'epoch'), date_bin(width, upper(r) + width - interval '1 microsecond', 'epoch'))), '{}')
    FROM unnest(ranges) r
$$;

-- The windows of a rollup that TimescaleDB would refresh. Its logs count microseconds since 1970; what is beyond the times
-- that PostgreSQL has is without a bound.
CREATE FUNCTION catalog.stale_windows(view_name text, width interval) RETURNS tstzmultirange
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog
AS $$
DECLARE
    of_view int;
    of_table int;
    w bigint := extract(epoch FROM width)::bigint * 1000000;
    lows bigint[];
    highs bigint[];
    stale tstzmultirange;
BEGIN
    SELECT c.mat_hypertable_id, c.raw_hypertable_id INTO of_view, of_table
    FROM _timescaledb_catalog.continuous_agg c
    WHERE c.user_view_schema = 'rollups' AND c.user_view_name = view_name;
    IF NOT FOUND THEN
        RETURN '{(,)}';
    END IF;
    IF to_regclass('_timescaledb_catalog.continuous_aggs_materialization_ranges') IS NOT NULL THEN
        SELECT array_agg(l.lowest_modified_value), array_agg(l.greatest_modified_value) INTO lows, highs
        FROM _timescaledb_catalog.continuous_aggs_materialization_ranges l WHERE l.materialization_id = of_view;
    END IF;
    SELECT range_agg(tstzrange(to_timestamp((low / 1000000)::float8), to_timestamp((high / 1000000)::float8))) INTO stale
    FROM (
        SELECT DISTINCT CASE WHEN low > -210000000000000000 THEN low - (low % w + w) % w END AS low,
                        CASE WHEN high < 9200000000000000000 THEN high - (high % w + w) % w + w END AS high
        FROM (SELECT l.lowest_modified_value, l.greatest_modified_value
              FROM _timescaledb_catalog.continuous_aggs_materialization_invalidation_log l WHERE l.materialization_id = of_view
              UNION ALL
              SELECT l.lowest_modified_value, l.greatest_modified_value
              FROM _timescaledb_catalog.continuous_aggs_hypertable_invalidation_log l WHERE l.hypertable_id = of_table
              UNION ALL
              SELECT * FROM unnest(lows, highs)) logs (low, high)
    ) windows;
    RETURN coalesce(stale, '{}');
END
$$;

-- The rollups of a measurement, each with its windows that are as they would be made anew: those that are refreshed, and not
-- changed since. A rollup of an hour is as good as the one it is made of. Empty where nobody can say.
CREATE FUNCTION catalog.fresh_windows(
    wanted_measurement int
) RETURNS TABLE (rollup_id int, width interval, part int, view_name text, fresh tstzmultirange)
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog
AS $$
DECLARE
    basis catalog.rollup;
    made catalog.rollup;
    stale tstzmultirange;
    is_known boolean := catalog.knows_invalidations();
BEGIN
    FOR basis IN SELECT * FROM catalog.rollup r WHERE r.measurement_id = wanted_measurement AND r.width = '10m' ORDER BY r.part LOOP
        stale := '{(,)}';
        IF is_known THEN
            stale := catalog.stale_windows(basis.view_name, '10 minutes');
        END IF;
        RETURN QUERY SELECT basis.id, interval '10 minutes', basis.part, basis.view_name, '{(,)}'::tstzmultirange - stale;
        SELECT * INTO made FROM catalog.rollup r
        WHERE r.measurement_id = wanted_measurement AND r.part = basis.part AND r.width = '1h';
        IF FOUND THEN
            RETURN QUERY SELECT made.id, interval '1 hour', made.part, made.view_name,
                '{(,)}'::tstzmultirange - catalog.widened(stale, '1 hour') - catalog.stale_windows(made.view_name, '1 hour');
        END IF;
    END LOOP;
EXCEPTION WHEN undefined_table OR undefined_column OR undefined_function THEN
    RETURN; -- a TimescaleDB that is not as it says; the points are always right
END
$$;

-- The rollups of a measurement, and the times for which each is what an aggregate of the points gives, or gave, where they
-- have expired; whole windows. Read it in the statement that reads the rollups, or before, in the same snapshot.
CREATE FUNCTION catalog.rollup_state(
    wanted_measurement int
) RETURNS TABLE (rollup_id int, width interval, part int, view_name text, fields int[], valid tstzmultirange)
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT s.rollup_id, s.width, s.part, s.view_name,
           ARRAY(SELECT f.field_id FROM catalog.rollup_field f WHERE f.rollup_id = s.rollup_id ORDER BY f.field_id),
           (s.fresh + CASE WHEN expired_before IS NULL THEN '{}' ELSE multirange(
               tstzrange(NULL, date_bin(s.width, expired_before, 'epoch'))) END)
           * multirange(tstzrange(date_bin(s.width, kept_from + s.width - interval '1 microsecond', 'epoch'), NULL))
    FROM catalog.fresh_windows(wanted_measurement) s
    JOIN catalog.rollup r ON r.id = s.rollup_id,
    LATERAL (SELECT nullif(catalog.raw_from(wanted_measurement), '-infinity'),
                    nullif(greatest(r.dropped_before, now() - r.retained), '-infinity')) kept (expired_before, kept_from)
$$;

-- Whether all points before that moment are in all rollups of their measurement.
CREATE FUNCTION catalog.is_rolled_up(wanted catalog.measurement, before timestamptz) RETURNS boolean
LANGUAGE sql STABLE
SET search_path = pg_catalog
AS $$
    SELECT NOT EXISTS (
        SELECT FROM catalog.fresh_windows(wanted.id) s, (
            SELECT min(c.range_start) AS oldest FROM timescaledb_information.chunks c
            WHERE c.hypertable_schema = 'points' AND c.hypertable_name = wanted.name
        ) chunks
        WHERE oldest < before
        AND NOT s.fresh @> tstzrange(date_bin(s.width, oldest, 'epoch'), date_bin(s.width, before, 'epoch')))
$$;

-- Bring into force how long points are kept. They are not dropped before they are rolled up: where a policy is new to
-- points that are there already, this waits for it.
CREATE FUNCTION catalog.apply_retention(wanted catalog.measurement, keep text) RETURNS text[]
LANGUAGE plpgsql
SET search_path = pg_catalog
AS $$
DECLARE
    wanted_span interval := catalog.span(keep);
    relation text := format('points.%I', wanted.name);
    in_force interval := (SELECT r.retained FROM catalog.retention r WHERE r.measurement_id = wanted.id);
    is_changed boolean;
BEGIN
    IF wanted_span < coalesce(in_force, wanted_span + interval '1 day')
            AND NOT catalog.is_rolled_up(wanted, now() - wanted_span) THEN
        RETURN '{}';
    END IF;
    is_changed := catalog.retain(wanted.id, wanted_span);
    IF catalog.is_community() THEN
        PERFORM catalog.ensure_retention_job('points', wanted.name, wanted_span);
    END IF;
    RETURN CASE WHEN is_changed THEN ARRAY[format('raw points kept %s', keep)] ELSE '{}' END;
END
$$;

-- Make the job drop what is older than `keep`; NULL: no job.
CREATE FUNCTION catalog.ensure_retention_job(schema_name text, relation text, keep interval) RETURNS boolean
LANGUAGE plpgsql
SET search_path = pg_catalog
AS $$
BEGIN
    IF keep IS NULL THEN
        RETURN catalog.remove_job(schema_name, relation, 'policy_retention');
    END IF;
    RETURN catalog.ensure_job(schema_name, relation, 'policy_retention', 'drop_after', keep + catalog.grace(), format(
        'SELECT %I.add_retention_policy(%L, drop_after => interval %L, schedule_interval => interval ''6 hours'')',
        catalog.timescale(), format('%I.%I', schema_name, relation), keep + catalog.grace()));
END
$$;

-- Make the job refresh a rollup: all that was changed in the last `start` (NULL: ever), up to two minutes ago, in which most points
-- arrive that are ever to come. Where a refresh can be done in batches, each has the rows of a chunk at most.
CREATE FUNCTION catalog.ensure_refresh_job(made catalog.rollup, start interval) RETURNS boolean
LANGUAGE plpgsql
SET search_path = pg_catalog
AS $$
DECLARE
    batches text := '';
BEGIN
    IF EXISTS (SELECT FROM pg_proc p WHERE p.proname = 'add_continuous_aggregate_policy'
               AND 'buckets_per_batch' = ANY (p.proargnames)) THEN
        batches := format(', buckets_per_batch => %s', CASE made.width WHEN '10m' THEN 144 ELSE 168 END);
    END IF;
    RETURN catalog.ensure_job('rollups', made.view_name, 'policy_refresh_continuous_aggregate', 'start_offset', start, format(
        'SELECT %I.add_continuous_aggregate_policy(%L, start_offset => %L::interval, end_offset => interval ''2 minutes'', '
        'schedule_interval => interval ''10 minutes''%s)',
        catalog.timescale(), format('rollups.%I', made.view_name), start, batches));
END
$$;

-- Make the jobs of all rollups of a measurement. A refresh looks back as far as its source is whole: it would take the rows
-- away whose source has expired. That is a little further than the source is kept, which has a day of grace: the window in
-- which its time ends is refreshed as a whole, and a rollup of an hour sees what the one it is made of has refreshed last.
CREATE FUNCTION catalog.apply_rollup_jobs(wanted catalog.measurement, keep_10m text, keep_1h text) RETURNS text[]
LANGUAGE plpgsql
SET search_path = pg_catalog
AS $$
DECLARE
    made catalog.rollup;
    keep text;
    start interval;
    changes text[] := '{}';
BEGIN
    SELECT least(r.retained + interval '2 hours', date_trunc('day', now() - nullif(r.dropped_before, '-infinity'))) INTO start
    FROM catalog.retention r WHERE r.measurement_id = wanted.id;
    FOR made IN SELECT * FROM catalog.rollup r WHERE r.measurement_id = wanted.id ORDER BY r.part, r.width LOOP
        keep := CASE made.width WHEN '10m' THEN keep_10m ELSE keep_1h END;
        IF catalog.retain_rollup(made.id, catalog.span(keep)) THEN
            changes := changes || format('rollup %s kept %s', made.view_name, keep);
        END IF;
        PERFORM catalog.ensure_retention_job('rollups', made.view_name, catalog.span(keep));
        PERFORM catalog.ensure_refresh_job(made, CASE made.width
            WHEN '10m' THEN least(start, catalog.span(keep_10m))
            ELSE least(start + interval '12 hours', catalog.span(keep_10m), catalog.span(keep_1h)) END);
    END LOOP;
    RETURN changes;
END
$$;

CREATE FUNCTION catalog.retain_rollup(wanted_rollup int, wanted interval) RETURNS boolean
LANGUAGE plpgsql
SET search_path = pg_catalog
AS $$
BEGIN
    UPDATE catalog.rollup r SET retained = wanted, dropped_before = greatest(r.dropped_before, now() - r.retained - catalog.grace())
    WHERE r.id = wanted_rollup AND r.retained IS DISTINCT FROM wanted;
    RETURN FOUND;
END
$$;

CREATE OR REPLACE FUNCTION catalog.apply_policy(measurement text) RETURNS text[]
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '1s'
AS $$
DECLARE
    wanted catalog.measurement;
    policy record := catalog.policy_of(measurement);
    changes text[];
BEGIN
    PERFORM catalog.lock_catalog();
    SELECT * INTO wanted FROM catalog.measurement m WHERE m.id = catalog.find_measurement(measurement);
    IF wanted.id IS NULL THEN
        RETURN '{}';
    END IF;
    changes := catalog.apply_chunk_interval(wanted, catalog.span(policy.chunk_interval));
    IF catalog.is_community() THEN
        changes := changes || catalog.apply_compression(wanted, catalog.span(policy.compress_after))
                           || catalog.apply_rollups(wanted, policy.rollup_10m, policy.rollup_1h);
    END IF;
    changes := changes || catalog.apply_retention(wanted, policy.retain_raw);
    IF catalog.is_community() THEN
        changes := changes || catalog.apply_rollup_jobs(wanted, policy.rollup_10m, policy.rollup_1h);
    END IF;
    RETURN changes;
END
$$;

-- As before, with the rollups.
CREATE OR REPLACE FUNCTION catalog.drop_measurement(measurement text) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog
AS $$
DECLARE
    gone int := (SELECT m.id FROM catalog.measurement m WHERE m.name = measurement);
BEGIN
    PERFORM catalog.lock_catalog();
    PERFORM catalog.drop_rollups(gone, '10m');
    EXECUTE format('DROP VIEW IF EXISTS metrics.%I', measurement);
    EXECUTE format('DROP TABLE IF EXISTS points.%I', measurement);
    DELETE FROM catalog.series WHERE measurement_id = gone;
    DELETE FROM catalog.field WHERE measurement_id = gone;
    DELETE FROM catalog.measurement WHERE id = gone;
END
$$;

REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA catalog FROM PUBLIC;
GRANT EXECUTE ON FUNCTION catalog.rollup_state TO tidemark_query;
