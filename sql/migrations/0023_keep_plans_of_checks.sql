-- As before, but in PL/pgSQL, which keeps its plans for as long as the connection lives: every question about points asks both,
-- and a function in SQL is planned anew for each.
CREATE OR REPLACE FUNCTION catalog.epoch() RETURNS text
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN concat_ws('.', extract(epoch FROM pg_postmaster_start_time()),
                     (SELECT oid FROM pg_database WHERE datname = current_database()),
                     to_regclass('catalog.series')::oid,
                     (SELECT id FROM catalog.lineage));
END
$$;

CREATE OR REPLACE FUNCTION catalog.raw_from(wanted_measurement int) RETURNS timestamptz
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN (
        SELECT coalesce(max(greatest(r.dropped_before, now() - r.retained)), '-infinity')
        FROM catalog.retention r WHERE r.measurement_id = wanted_measurement);
END
$$;
