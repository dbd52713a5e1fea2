-- As before, but a job that failed stays failed until it succeeds, also while it is tried again: the last run's status is not known
-- then, and an alert that has to last for some minutes would begin anew with each try. And a job that is about to run, whose next
-- start is -infinity for a moment, is not late.
CREATE OR REPLACE FUNCTION catalog.job_report() RETURNS TABLE (
    job_id int, action text, relation text, state text, runs bigint, failures bigint,
    last_success timestamptz, next_start timestamptz, error text
)
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT j.job_id, replace(replace(j.proc_name, 'policy_', ''), '_continuous_aggregate', ''),
           format('%s.%s', j.hypertable_schema, j.hypertable_name),
           CASE WHEN t.consecutive_failures > 0 THEN 'failed'
                WHEN j.scheduled AND s.job_status IS DISTINCT FROM 'Running'
                    AND j.next_start > '-infinity' AND j.next_start < now() - interval '15 minutes' THEN 'late'
                ELSE 'ok' END,
           coalesce(s.total_runs, 0), coalesce(s.total_failures, 0),
           nullif(s.last_successful_finish, '-infinity'), nullif(j.next_start, '-infinity'),
           CASE WHEN t.consecutive_failures > 0 THEN (
               SELECT split_part(e.err_message, chr(10), 1) FROM timescaledb_information.job_errors e
               WHERE e.job_id = j.job_id ORDER BY e.finish_time DESC NULLS LAST LIMIT 1) END
    FROM timescaledb_information.jobs j LEFT JOIN timescaledb_information.job_stats s ON s.job_id = j.job_id
    LEFT JOIN _timescaledb_internal.bgw_job_stat t ON t.job_id = j.job_id
    WHERE j.hypertable_schema IN ('points', 'rollups')
    ORDER BY j.job_id
$$;
