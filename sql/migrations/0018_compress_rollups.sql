-- Rollups are compressed as points are, a segment for each series: those of an hour are kept for years, and become the largest part
-- of an old store. A chunk of theirs is compressed when its end is a day old, or as old as points are when they are compressed, by a
-- job that looks once a day: late points mostly come before, and what is refreshed in a compressed chunk is decompressed by the
-- series and compressed again at most once a day.

-- Whether a refresh may change compressed rows, however many: before 2.20.1 it was bounded as other writing is.
CREATE FUNCTION catalog.can_compress_rollups() RETURNS boolean
LANGUAGE sql STABLE
SET search_path = pg_catalog
AS $$
    SELECT (v[1]::int, v[2]::int) >= (2, 21)
    FROM (SELECT string_to_array(extversion, '.') AS v FROM pg_extension WHERE extname = 'timescaledb') e
$$;

-- Make the chunks of a rollup be compressed `after` that time; NULL: no more chunks. Returns whether that was changed.
CREATE FUNCTION catalog.compress_rollup(view_name text, after interval) RETURNS boolean
LANGUAGE plpgsql
SET search_path = pg_catalog
AS $$
BEGIN
    IF after IS NULL THEN
        RETURN catalog.remove_job('rollups', view_name, 'policy_compression');
    END IF;
    IF NOT (SELECT c.compression_enabled FROM timescaledb_information.continuous_aggregates c
            WHERE c.view_schema = 'rollups' AND c.view_name = compress_rollup.view_name) THEN
        EXECUTE format('ALTER MATERIALIZED VIEW rollups.%I SET (timescaledb.enable_columnstore, '
                       'timescaledb.segmentby = ''series_id'', timescaledb.orderby = ''bucket DESC'')', view_name);
    END IF;
    RETURN catalog.ensure_job('rollups', view_name, 'policy_compression', 'compress_after', after, format(
        'CALL %I.add_columnstore_policy(%L, after => interval %L, schedule_interval => interval ''1 day'')',
        catalog.timescale(), format('rollups.%I', view_name), after));
END
$$;

-- Compress the rollups of a measurement whose points are compressed after that time; NULL: never.
CREATE FUNCTION catalog.apply_rollup_compression(wanted catalog.measurement, after interval) RETURNS text[]
LANGUAGE plpgsql
SET search_path = pg_catalog
AS $$
DECLARE
    made catalog.rollup;
    changes text[] := '{}';
BEGIN
    IF NOT catalog.can_compress_rollups() THEN
        RETURN changes;
    END IF;
    after := CASE WHEN after IS NOT NULL THEN greatest(after, interval '1 day') END;
    FOR made IN SELECT * FROM catalog.rollup r WHERE r.measurement_id = wanted.id ORDER BY r.part, r.width LOOP
        IF catalog.compress_rollup(made.view_name, after) THEN
            changes := changes || format('rollup %s compressed %s', made.view_name, coalesce('after ' || after, 'no more'));
        END IF;
    END LOOP;
    RETURN changes;
END
$$;

-- As before, and the rollups are compressed.
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
        changes := changes || catalog.apply_rollup_jobs(wanted, policy.rollup_10m, policy.rollup_1h)
                           || catalog.apply_rollup_compression(wanted, catalog.span(policy.compress_after));
    END IF;
    PERFORM catalog.refresh_at(wanted);
    RETURN changes;
END
$$;

-- One row a rollup, for people. Bytes are those on disk, indexes included; `settled_before` is NULL where nothing is settled.
CREATE FUNCTION catalog.rollup_report() RETURNS TABLE (
    measurement text, width text, part int, view_name text, fields int, chunks int, compressed_chunks int, bytes bigint,
    settled_before timestamptz
)
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '1s'
AS $$
    SELECT m.name, r.width, r.part, r.view_name,
           (SELECT count(*) FROM catalog.rollup_field f WHERE f.rollup_id = r.id)::int,
           c.chunks, c.compressed_chunks, catalog.size_of_rollup(r.view_name), nullif(r.settled_before, '-infinity')
    FROM catalog.rollup r
    JOIN catalog.measurement m ON m.id = r.measurement_id,
    LATERAL (SELECT count(*)::int AS chunks, (count(*) FILTER (WHERE c.is_compressed))::int AS compressed_chunks
             FROM timescaledb_information.chunks c
             WHERE format('%I.%I', c.hypertable_schema, c.hypertable_name) = catalog.materialization(r.view_name)) c
    ORDER BY m.name, r.part, r.width
$$;

REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA catalog FROM PUBLIC;
GRANT EXECUTE ON FUNCTION catalog.rollup_report TO tidemark_query;
