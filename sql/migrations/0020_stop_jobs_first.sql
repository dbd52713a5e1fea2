-- What is dropped has its jobs stopped before: a job that runs holds locks on the tables that are dropped, and may wait for what
-- the drop holds. All are stopped before the first is deleted: to write down how it ended, a job needs a lock that goes with
-- what was deleted.

-- The processes that run these jobs. TimescaleDB locks the number of a job that runs (`ts_lock_job_id`); so does its scheduler
-- for a moment, which is no job.
CREATE FUNCTION catalog.runners_of(jobs int[]) RETURNS SETOF int
LANGUAGE sql VOLATILE
SET search_path = pg_catalog
AS $$
    SELECT l.pid FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid
    WHERE l.locktype = 'advisory' AND l.objsubid = 29749 AND l.classid = ANY (jobs::oid[])
    AND l.database = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database())
    AND l.granted AND l.pid <> pg_backend_pid() AND a.application_name NOT LIKE '%Scheduler'
$$;

-- Cancel these jobs where they are under way, and wait for their end, at most five seconds (lock_not_available otherwise).
CREATE FUNCTION catalog.stop_jobs(jobs int[]) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog
AS $$
DECLARE
    runners int[];
    deadline timestamptz := clock_timestamp() + interval '5 seconds';
BEGIN
    LOOP
        runners := ARRAY(SELECT catalog.runners_of(jobs));
        EXIT WHEN runners = '{}';
        IF clock_timestamp() > deadline THEN
            RAISE lock_not_available USING MESSAGE = format('jobs of the database do not stop: %s', array_to_string(jobs, ', '));
        END IF;
        PERFORM pg_cancel_backend(r) FROM unnest(runners) r;
        PERFORM pg_sleep(0.02);
    END LOOP;
END
$$;

-- Stop and delete the jobs of these relations. One that starts in between may still wait for us, and we for it: then once more.
CREATE FUNCTION catalog.delete_jobs(relations text[]) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog
AS $$
DECLARE
    jobs int[] := ARRAY(SELECT j.job_id FROM timescaledb_information.jobs j
                        WHERE quote_ident(j.hypertable_schema) || '.' || quote_ident(j.hypertable_name) = ANY (relations));
    tries_left int := 5;
BEGIN
    LOOP
        PERFORM catalog.stop_jobs(jobs);
        BEGIN
            EXECUTE format('SELECT %I.delete_job(job) FROM unnest(%L::int[]) job', catalog.timescale(), jobs);
            RETURN;
        EXCEPTION WHEN deadlock_detected THEN
            tries_left := tries_left - 1;
            IF tries_left = 0 THEN
                RAISE;
            END IF;
        END;
    END LOOP;
END
$$;

CREATE FUNCTION catalog.rollup_relations(wanted_measurement int, wanted_width text) RETURNS text[]
LANGUAGE sql STABLE
SET search_path = pg_catalog
AS $$
    SELECT coalesce(array_agg(format('rollups.%I', r.view_name)), '{}') FROM catalog.rollup r
    WHERE r.measurement_id = wanted_measurement AND (r.width = wanted_width OR wanted_width = '10m')
$$;

-- As before, after their jobs.
CREATE OR REPLACE FUNCTION catalog.drop_rollups(wanted_measurement int, wanted_width text) RETURNS text[]
LANGUAGE plpgsql
SET search_path = pg_catalog
AS $$
DECLARE
    gone catalog.rollup;
    dropped text[] := '{}';
BEGIN
    PERFORM catalog.delete_jobs(catalog.rollup_relations(wanted_measurement, wanted_width));
    FOR gone IN SELECT * FROM catalog.rollup r
                WHERE r.measurement_id = wanted_measurement AND (r.width = wanted_width OR wanted_width = '10m')
                ORDER BY r.width DESC LOOP -- 1h before 10m
        EXECUTE format('DROP MATERIALIZED VIEW IF EXISTS rollups.%I', gone.view_name);
        DELETE FROM catalog.rollup r WHERE r.id = gone.id;
        dropped := dropped || format('rollup %s dropped', gone.view_name);
    END LOOP;
    RETURN dropped;
END
$$;

-- As before, with all jobs stopped and deleted before.
CREATE OR REPLACE FUNCTION catalog.drop_measurement(measurement text) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog
AS $$
DECLARE
    gone int := (SELECT m.id FROM catalog.measurement m WHERE m.name = measurement);
BEGIN
    PERFORM catalog.lock_catalog();
    PERFORM catalog.delete_jobs(format('points.%I', measurement) || catalog.rollup_relations(gone, '10m'));
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
