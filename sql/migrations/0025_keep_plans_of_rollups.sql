-- As before, but in PL/pgSQL, which keeps its plans for as long as the connection lives: every question that rollups may
-- help asks, and a function in SQL is planned anew for each.
CREATE OR REPLACE FUNCTION catalog.knows_invalidations() RETURNS boolean
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog
AS $$
BEGIN
    RETURN (
        SELECT v[1]::int = 2 AND v[2]::int BETWEEN 18 AND 29
           AND coalesce(current_setting('timescaledb.enable_cagg_wal_based_invalidation', true), 'off') = 'off'
           AND (v[2]::int < 22 OR to_regclass('_timescaledb_catalog.continuous_aggs_materialization_ranges') IS NOT NULL)
        FROM (SELECT string_to_array(extversion, '.') AS v FROM pg_extension WHERE extname = 'timescaledb') e);
END
$$;

CREATE OR REPLACE FUNCTION catalog.settled_windows(wanted_measurement int)
RETURNS TABLE (rollup_id int, width interval, part int, view_name text, settled tstzmultirange)
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog
AS $$
BEGIN
    RETURN QUERY SELECT w.rollup_id, w.width, w.part, w.view_name, CASE WHEN s.before = '-infinity' THEN '{}' ELSE
        w.fresh * multirange(tstzrange(NULL, date_bin(w.width, nullif(s.before, 'infinity'), 'epoch'))) END
    FROM catalog.fresh_windows(wanted_measurement) w,
    LATERAL (SELECT min(r.settled_before) AS before FROM catalog.rollup r
             WHERE r.measurement_id = wanted_measurement AND r.part = w.part AND (r.id = w.rollup_id OR r.width = '10m')) s;
END
$$;

CREATE OR REPLACE FUNCTION catalog.rollup_state(wanted_measurement int)
RETURNS TABLE (rollup_id int, width interval, part int, view_name text, fields int[], valid tstzmultirange)
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN QUERY SELECT s.rollup_id, s.width, s.part, s.view_name,
        ARRAY(SELECT f.field_id FROM catalog.rollup_field f WHERE f.rollup_id = s.rollup_id ORDER BY f.field_id),
        (s.settled + CASE WHEN kept.expired_before IS NULL THEN '{}' ELSE multirange(
            tstzrange(NULL, date_bin(s.width, kept.expired_before, 'epoch'))) END)
        * multirange(tstzrange(date_bin(s.width, kept.kept_from + s.width - interval '1 microsecond', 'epoch'), NULL))
    FROM catalog.settled_windows(wanted_measurement) s
    JOIN catalog.rollup r ON r.id = s.rollup_id,
    LATERAL (SELECT nullif(catalog.raw_from(wanted_measurement), '-infinity'),
                    nullif(greatest(r.dropped_before, now() - r.retained), '-infinity')) kept (expired_before, kept_from);
END
$$;
