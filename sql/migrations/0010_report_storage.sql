-- What is stored and how the jobs do: for people (`python -m sql report`), for /api/v1/status and for instruments. Both functions
-- run with their owner's rights, since sizes, chunks and errors of jobs are not for every role to see.

-- One row a measurement. Bytes are those on disk, indexes included. A chunk is due when it is old enough to be compressed and is
-- not, or was written to since. Points are counted where they are compressed, and estimated by the planner's statistics elsewhere;
-- values are points times the fields that there are now. `before_bytes` and `after_bytes` are those of what is compressed.
CREATE FUNCTION catalog.storage_report() RETURNS TABLE (
    measurement text, fields int, chunks int, compressed_chunks int, due_chunks int, points bigint,
    raw_bytes bigint, uncompressed_bytes bigint, before_bytes bigint, after_bytes bigint,
    uncompressed_values bigint, compressed_values bigint, rollup_bytes bigint, oldest timestamptz, raw_from timestamptz
)
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '1s'
AS $$
DECLARE
    one catalog.measurement;
    compress_after interval;
    view_name text;
    compressed_points bigint;
BEGIN
    FOR one IN SELECT * FROM catalog.measurement m WHERE m.id = catalog.find_measurement(m.name) ORDER BY m.name LOOP
        measurement := one.name;
        compress_after := CASE WHEN catalog.is_community() THEN catalog.span((catalog.policy_of(one.name)).compress_after) END;
        SELECT count(*) INTO fields FROM catalog.field k WHERE k.measurement_id = one.id;
        SELECT count(*), count(*) FILTER (WHERE c.is_compressed),
               coalesce(sum(pg_total_relation_size(c.chunk)) FILTER (WHERE NOT c.is_compressed), 0),
               count(*) FILTER (WHERE c.range_end < now() - compress_after
                                AND _timescaledb_functions.chunk_status(c.chunk) & 11 <> 1), -- compressed, unordered, partial
               coalesce(sum(greatest(r.reltuples, 0)) FILTER (WHERE NOT c.is_compressed), 0), min(c.range_start)
        INTO chunks, compressed_chunks, uncompressed_bytes, due_chunks, points, oldest
        FROM (SELECT i.*, format('%I.%I', i.chunk_schema, i.chunk_name)::regclass AS chunk FROM timescaledb_information.chunks i
              WHERE i.hypertable_schema = 'points' AND i.hypertable_name = one.name) c
        JOIN pg_class r ON r.oid = c.chunk;
        SELECT coalesce(sum(s.uncompressed_heap_size + s.uncompressed_toast_size + s.uncompressed_index_size), 0),
               coalesce(sum(s.compressed_heap_size + s.compressed_toast_size + s.compressed_index_size), 0),
               coalesce(sum(s.numrows_pre_compression), 0)
        INTO before_bytes, after_bytes, compressed_points
        FROM _timescaledb_catalog.hypertable h
        JOIN _timescaledb_catalog.chunk c ON c.hypertable_id = h.id
        JOIN _timescaledb_catalog.compression_chunk_size s ON s.chunk_id = c.id
        WHERE h.schema_name = 'points' AND h.table_name = one.name;
        uncompressed_values := points * fields;
        compressed_values := compressed_points * fields;
        points := points + compressed_points;
        EXECUTE format('SELECT %I.hypertable_size(%L)', catalog.timescale(), format('points.%I', one.name)) INTO raw_bytes;
        rollup_bytes := 0;
        FOR view_name IN SELECT r.view_name FROM catalog.rollup r WHERE r.measurement_id = one.id LOOP
            rollup_bytes := rollup_bytes + catalog.size_of_rollup(view_name);
        END LOOP;
        raw_from := nullif(catalog.raw_from(one.id), '-infinity');
        RETURN NEXT;
    END LOOP;
END
$$;

CREATE FUNCTION catalog.size_of_rollup(view_name text) RETURNS bigint
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog
AS $$
DECLARE
    materialized text := catalog.materialization(view_name);
    bytes bigint := 0;
BEGIN
    IF materialized IS NOT NULL THEN
        EXECUTE format('SELECT %I.hypertable_size(%L)', catalog.timescale(), materialized) INTO bytes;
    END IF;
    RETURN coalesce(bytes, 0);
END
$$;

-- One row a job of ours: failed when its last run was, late when it should have begun a quarter of an hour ago and has not.
CREATE FUNCTION catalog.job_report() RETURNS TABLE (
    job_id int, action text, relation text, state text, runs bigint, failures bigint,
    last_success timestamptz, next_start timestamptz, error text
)
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT j.job_id, replace(replace(j.proc_name, 'policy_', ''), '_continuous_aggregate', ''),
           format('%s.%s', j.hypertable_schema, j.hypertable_name),
           CASE WHEN s.last_run_status = 'Failed' THEN 'failed'
                WHEN j.scheduled AND s.job_status IS DISTINCT FROM 'Running'
                    AND j.next_start < now() - interval '15 minutes' THEN 'late'
                ELSE 'ok' END,
           coalesce(s.total_runs, 0), coalesce(s.total_failures, 0),
           nullif(s.last_successful_finish, '-infinity'), nullif(j.next_start, '-infinity'),
           CASE WHEN s.last_run_status = 'Failed' THEN (
               SELECT split_part(e.err_message, chr(10), 1) FROM timescaledb_information.job_errors e
               WHERE e.job_id = j.job_id ORDER BY e.finish_time DESC NULLS LAST LIMIT 1) END
    FROM timescaledb_information.jobs j LEFT JOIN timescaledb_information.job_stats s ON s.job_id = j.job_id
    WHERE j.hypertable_schema IN ('points', 'rollups')
    ORDER BY j.job_id
$$;

REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA catalog FROM PUBLIC;
GRANT EXECUTE ON FUNCTION catalog.storage_report, catalog.job_report TO tidemark_query;
