-- Rollups in plain SQL: metrics.<measurement>_at(step) has the rows of the coarsest rollup whose windows are no longer than
-- `step`, so that a dashboard asks with the interval of its panel and stays fast however long its range is:
--
--     SELECT time_bucket('1h', time), avg(usage_user) FROM metrics.cpu_at('1h') WHERE time > now() - interval '90 days' GROUP BY 1
--
-- `statistic` says what a field's value in a window is: avg, min, max or sum. A window counts by its start. What is not rolled
-- up yet comes from the points, and so does everything where there is no such rollup; what was changed later is in a rollup
-- after its next refresh. A field that came late is in a row of its own, so aggregate. The condition on time reaches the tables:
-- PostgreSQL puts the function's body in its place, and leaves out the branches that a constant step does not need.

-- The time before which a rollup stands for its points: -infinity for none, as long as the oldest of them are not in it.
CREATE FUNCTION catalog.rolled_up_to(wanted_rollup int) RETURNS timestamptz
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT coalesce((
        SELECT upper(s.valid)
        FROM catalog.rollup r
        JOIN catalog.measurement m ON m.id = r.measurement_id,
        catalog.rollup_state(r.measurement_id) s
        WHERE r.id = wanted_rollup AND s.rollup_id = r.id AND s.valid @> greatest(
            (SELECT min(c.range_start) FROM timescaledb_information.chunks c
             WHERE c.hypertable_schema = 'points' AND c.hypertable_name = m.name),
            r.dropped_before + s.width, now() - r.retained + s.width)
    ), '-infinity')
$$;

-- One branch of the function: the rows of a rollup up to where it is made, the points after that, for some fields.
CREATE FUNCTION catalog.branch_of(wanted catalog.measurement, source catalog.rollup, condition text) RETURNS text
LANGUAGE sql STABLE
SET search_path = pg_catalog
AS $$
    SELECT format(
        'SELECT bucket, series_id, %s FROM rollups.%I WHERE %s AND bucket < catalog.rolled_up_to(%s) UNION ALL '
        'SELECT p.time, p.series_id, %s FROM points.%I p WHERE %s AND p.time >= catalog.rolled_up_to(%s) AND (%s)',
        string_agg(CASE WHEN f.field_id IS NULL THEN 'NULL::float8' ELSE format(
            'CASE statistic WHEN ''min'' THEN min_%1$s WHEN ''max'' THEN max_%1$s WHEN ''sum'' THEN sum_%1$s '
            'ELSE sum_%1$s / nullif(count_%1$s, 0) END', k.id) END, ', ' ORDER BY k.id),
        source.view_name, condition, source.id,
        string_agg(CASE WHEN f.field_id IS NULL THEN 'NULL::float8' ELSE format('p.%I', k.column_name) END, ', ' ORDER BY k.id),
        wanted.name, condition, source.id,
        string_agg(format('p.%I IS NOT NULL', k.column_name), ' OR ' ORDER BY k.id) FILTER (WHERE f.field_id IS NOT NULL))
    FROM catalog.field k LEFT JOIN catalog.rollup_field f ON f.field_id = k.id AND f.rollup_id = source.id
    WHERE k.measurement_id = wanted.id
$$;

-- The points of the fields that have no rollup of that width, or of all fields where there is none.
CREATE FUNCTION catalog.rest_of(wanted catalog.measurement, wanted_width text, condition text) RETURNS text
LANGUAGE sql STABLE
SET search_path = pg_catalog
AS $$
    SELECT format(
        'SELECT p.time, p.series_id, %s FROM points.%I p WHERE %s AND (%s)',
        string_agg(CASE WHEN is_rolled_up THEN 'NULL::float8' ELSE format('p.%I', column_name) END, ', ' ORDER BY id),
        wanted.name, condition,
        CASE WHEN bool_or(is_rolled_up) THEN
            string_agg(format('p.%I IS NOT NULL', column_name), ' OR ' ORDER BY id) FILTER (WHERE NOT is_rolled_up)
        ELSE 'true' END)
    FROM (
        SELECT k.id, k.column_name, EXISTS (
            SELECT FROM catalog.rollup_field f JOIN catalog.rollup r ON r.id = f.rollup_id
            WHERE f.field_id = k.id AND r.width = wanted_width) AS is_rolled_up
        FROM catalog.field k WHERE k.measurement_id = wanted.id
    ) fields
    HAVING count(*) FILTER (WHERE NOT is_rolled_up) > 0
$$;

-- The widths that a measurement has rows of, and the steps that each is for; `none` is the points.
CREATE FUNCTION catalog.tiers_of(wanted_measurement int) RETURNS TABLE (width text, condition text)
LANGUAGE sql STABLE
SET search_path = pg_catalog
AS $$
    SELECT tier, concat_ws(' AND ', 'step >= interval ' || quote_literal(from_step), 'step < interval ' || quote_literal(
        lead(from_step) OVER (ORDER BY from_step NULLS FIRST)))
    FROM (VALUES ('none', NULL::interval), ('10m', '10 minutes'), ('1h', '1 hour')) AS t (tier, from_step)
    WHERE tier = 'none' OR EXISTS (
        SELECT FROM catalog.rollup r WHERE r.measurement_id = wanted_measurement AND r.width = t.tier)
$$;

-- What metrics.<measurement>_at does, as the fields and the rollups are now.
CREATE FUNCTION catalog.body_of_at(wanted catalog.measurement) RETURNS text
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog
AS $$
DECLARE
    tier record;
    branches text[] := '{}';
BEGIN
    FOR tier IN SELECT t.width, coalesce(nullif(t.condition, ''), 'true') AS condition FROM catalog.tiers_of(wanted.id) t LOOP
        branches := branches || ARRAY(
            SELECT catalog.branch_of(wanted, r, tier.condition) FROM catalog.rollup r
            WHERE r.measurement_id = wanted.id AND r.width = tier.width ORDER BY r.part
        ) || catalog.rest_of(wanted, tier.width, tier.condition);
    END LOOP;
    RETURN (
        SELECT format('SELECT w.time, s.host, s.tags, %s FROM (%s) AS w (time, series_id, %s) JOIN catalog.series s ON s.id = w.series_id',
                      string_agg(format('w.%I', k.column_name), ', ' ORDER BY k.id), array_to_string(branches, ' UNION ALL '),
                      string_agg(format('%I', k.column_name), ', ' ORDER BY k.id))
        FROM catalog.field k WHERE k.measurement_id = wanted.id);
END
$$;

-- Make metrics.<measurement>_at what it should be, unless it is. A name that leaves no room for _at has none.
CREATE FUNCTION catalog.refresh_at(wanted catalog.measurement) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog
AS $$
DECLARE
    body text;
BEGIN
    IF octet_length(wanted.name || '_at') > 63 THEN
        RETURN;
    END IF;
    body := catalog.body_of_at(wanted);
    IF body IS DISTINCT FROM (SELECT p.prosrc FROM pg_proc p
                              WHERE p.oid = to_regprocedure(format('metrics.%I(interval, text)', wanted.name || '_at'))) THEN
        EXECUTE format(
            'CREATE OR REPLACE FUNCTION metrics.%I(step interval, statistic text DEFAULT ''avg'') RETURNS SETOF metrics.%I '
            'LANGUAGE sql STABLE PARALLEL SAFE AS %L', wanted.name || '_at', wanted.name, body);
    END IF;
END
$$;

-- As before, and the function beside the view: it has the view's columns.
CREATE OR REPLACE FUNCTION catalog.refresh_view(wanted catalog.measurement) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog
AS $$
DECLARE
    columns text;
BEGIN
    SELECT string_agg(format('p.%I', column_name), ', ' ORDER BY id) INTO columns
    FROM catalog.field WHERE measurement_id = wanted.id;
    EXECUTE format(
        'CREATE OR REPLACE VIEW metrics.%I AS SELECT p.time, s.host, s.tags, %s '
        'FROM points.%I p JOIN catalog.series s ON s.id = p.series_id',
        wanted.name, columns, wanted.name);
    PERFORM catalog.refresh_at(wanted);
END
$$;

-- As before, and the function that chooses among the rollups, whichever there are now.
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
    PERFORM catalog.refresh_at(wanted);
    RETURN changes;
END
$$;

-- As before; the function goes first, since it has the view's row type.
CREATE OR REPLACE FUNCTION catalog.drop_measurement(measurement text) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog
AS $$
DECLARE
    gone int := (SELECT m.id FROM catalog.measurement m WHERE m.name = measurement);
BEGIN
    PERFORM catalog.lock_catalog();
    PERFORM catalog.drop_rollups(gone, '10m');
    IF octet_length(measurement || '_at') <= 63 THEN
        EXECUTE format('DROP FUNCTION IF EXISTS metrics.%I(interval, text)', measurement || '_at');
    END IF;
    EXECUTE format('DROP VIEW IF EXISTS metrics.%I', measurement);
    EXECUTE format('DROP TABLE IF EXISTS points.%I', measurement);
    DELETE FROM catalog.series WHERE measurement_id = gone;
    DELETE FROM catalog.field WHERE measurement_id = gone;
    DELETE FROM catalog.measurement WHERE id = gone;
END
$$;

REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA catalog FROM PUBLIC;
GRANT EXECUTE ON FUNCTION catalog.rolled_up_to TO tidemark_query;

-- Measurements that are there already; one that is being made meanwhile gets its function in the next round of maintenance.
SELECT catalog.refresh_at(m) FROM catalog.measurement m
WHERE m.id = catalog.find_measurement(m.name) AND to_regclass(format('metrics.%I', m.name)) IS NOT NULL;
