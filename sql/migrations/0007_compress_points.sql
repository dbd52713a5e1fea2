-- Compression, which the community edition of TimescaleDB has: a segment for each series, the newest points first. A job
-- compresses the chunks that are old enough, and again those that were written to since.

CREATE FUNCTION catalog.is_community() RETURNS boolean
LANGUAGE sql STABLE
SET search_path = pg_catalog
AS $$ SELECT catalog.edition() ->> 'edition' = 'community' $$;

-- Make `relation` have the one job of the procedure `proc` whose setting `key` is `wanted`, made by `statement` unless it
-- is there; returns whether it was another one before. A job that runs meanwhile is not disturbed.
CREATE FUNCTION catalog.ensure_job(
    schema_name text, relation text, proc text, key text, wanted interval, statement text
) RETURNS boolean
LANGUAGE plpgsql
SET search_path = pg_catalog
AS $$
DECLARE
    job record;
BEGIN
    SELECT j.job_id, j.config INTO job FROM timescaledb_information.jobs j
    WHERE j.hypertable_schema = schema_name AND j.hypertable_name = relation AND j.proc_name = proc;
    IF NOT FOUND THEN
        EXECUTE statement;
        RETURN true;
    ELSIF (job.config ->> key)::interval IS DISTINCT FROM wanted THEN
        EXECUTE format('SELECT %I.alter_job(%s, config => %L)', catalog.timescale(), job.job_id,
                       job.config || jsonb_build_object(key, wanted));
        RETURN true;
    END IF;
    RETURN false;
END
$$;

CREATE FUNCTION catalog.remove_job(schema_name text, relation text, proc text) RETURNS boolean
LANGUAGE plpgsql
SET search_path = pg_catalog
AS $$
DECLARE
    job int;
BEGIN
    SELECT j.job_id INTO job FROM timescaledb_information.jobs j
    WHERE j.hypertable_schema = schema_name AND j.hypertable_name = relation AND j.proc_name = proc;
    IF FOUND THEN
        EXECUTE format('SELECT %I.delete_job(%s)', catalog.timescale(), job);
    END IF;
    RETURN FOUND;
END
$$;

-- Whether the server's TimescaleDB speaks of a columnstore, as it does since 2.18, and not of compression any more.
CREATE FUNCTION catalog.has_columnstore() RETURNS boolean
LANGUAGE sql STABLE
SET search_path = pg_catalog
AS $$
    SELECT EXISTS (SELECT FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
                   WHERE p.proname = 'add_columnstore_policy' AND n.nspname = catalog.timescale())
$$;

-- Compress chunks `after` that time; NULL: no more chunks. What is compressed stays so.
CREATE FUNCTION catalog.apply_compression(wanted catalog.measurement, after interval) RETURNS text[]
LANGUAGE plpgsql
SET search_path = pg_catalog
AS $$
DECLARE
    is_off boolean;
    relation text := format('points.%I', wanted.name);
    job text := 'SELECT %I.add_compression_policy(%L, compress_after => interval %L, schedule_interval => interval %L)';
    settings text := 'timescaledb.compress, timescaledb.compress_segmentby = %L, timescaledb.compress_orderby = %L';
BEGIN
    IF after IS NULL THEN
        is_off := catalog.remove_job('points', wanted.name, 'policy_compression');
        RETURN CASE WHEN is_off THEN '{compression off}' ELSE '{}' END;
    END IF;
    IF catalog.has_columnstore() THEN
        job := 'CALL %I.add_columnstore_policy(%L, after => interval %L, schedule_interval => interval %L)';
        settings := 'timescaledb.enable_columnstore, timescaledb.segmentby = %L, timescaledb.orderby = %L';
    END IF;
    IF NOT (SELECT h.compression_enabled FROM timescaledb_information.hypertables h
            WHERE h.hypertable_schema = 'points' AND h.hypertable_name = wanted.name) THEN
        EXECUTE format('ALTER TABLE %s SET (' || settings || ')', relation, 'series_id', 'time DESC');
    END IF;
    IF catalog.ensure_job('points', wanted.name, 'policy_compression', 'compress_after', after,
                          format(job, catalog.timescale(), relation, after, '30 minutes')) THEN
        RETURN ARRAY[format('compressed after %s', after)];
    END IF;
    RETURN '{}';
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
        changes := changes || catalog.apply_compression(wanted, catalog.span(policy.compress_after));
    END IF;
    IF catalog.retain(wanted.id, catalog.span(policy.retain_raw)) THEN
        changes := changes || format('raw points kept %s', policy.retain_raw);
    END IF;
    RETURN changes;
END
$$;

REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA catalog FROM PUBLIC;
