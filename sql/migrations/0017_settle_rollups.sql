-- Rollups that lack nothing, whatever was being committed while they were refreshed first. TimescaleDB logs a change of times
-- that were refreshed before; a transaction asks for that just before it commits (`cache_inval_htab_write`). A refresh that covers its
-- times for the first time between the two neither sees its points nor hears of them. So nothing is said to hold that is not
-- settled: who settles a rollup (`sql/rollups.py`) waits for the transactions that may have asked before, refreshes once more
-- what was refreshed meanwhile, and then moves `settled_before`.

ALTER TABLE catalog.rollup ADD COLUMN settled_before timestamptz NOT NULL DEFAULT '-infinity';
COMMENT ON COLUMN catalog.rollup.settled_before IS
    'Every change before it is in the rollup, or in TimescaleDB''s logs. What is later is not relied on.';

-- The time up to which TimescaleDB logs changes of what a rollup is made of: it was refreshed up to there, if not everywhere.
CREATE FUNCTION catalog.logged_before(view_name text) RETURNS timestamptz
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog
AS $$
DECLARE
    logged bigint;
BEGIN
    SELECT t.watermark INTO logged
    FROM _timescaledb_catalog.continuous_agg c
    JOIN _timescaledb_catalog.continuous_aggs_invalidation_threshold t ON t.hypertable_id = c.raw_hypertable_id
    WHERE c.user_view_schema = 'rollups' AND c.user_view_name = view_name;
    RETURN CASE WHEN logged > 9200000000000000000 THEN 'infinity'
                WHEN logged > -210000000000000000 THEN to_timestamp((logged / 1000000)::float8)
                ELSE '-infinity' END;
EXCEPTION WHEN undefined_table OR undefined_column THEN
    RETURN '-infinity'; -- a TimescaleDB that is not as it says
END
$$;

-- What is rolled up already is taken as it is, but for the last day, which is refreshed once more.
UPDATE catalog.rollup r SET settled_before = date_bin(
    '1 hour', least(now() - interval '1 day', catalog.logged_before(r.view_name)), 'epoch');

-- As before, without the versions that cannot refresh what they have nothing against (`force`).
CREATE OR REPLACE FUNCTION catalog.knows_invalidations() RETURNS boolean
LANGUAGE sql STABLE
SET search_path = pg_catalog
AS $$
    SELECT v[1]::int = 2 AND v[2]::int BETWEEN 18 AND 29
       AND coalesce(current_setting('timescaledb.enable_cagg_wal_based_invalidation', true), 'off') = 'off'
       AND (v[2]::int < 22 OR to_regclass('_timescaledb_catalog.continuous_aggs_materialization_ranges') IS NOT NULL)
    FROM (SELECT string_to_array(extversion, '.') AS v FROM pg_extension WHERE extname = 'timescaledb') e
$$;

-- As `fresh_windows`, without what is not settled.
CREATE FUNCTION catalog.settled_windows(
    wanted_measurement int
) RETURNS TABLE (rollup_id int, width interval, part int, view_name text, settled tstzmultirange)
LANGUAGE sql STABLE
SET search_path = pg_catalog
AS $$
    SELECT w.rollup_id, w.width, w.part, w.view_name, CASE WHEN s.before = '-infinity' THEN '{}' ELSE
        w.fresh * multirange(tstzrange(NULL, date_bin(w.width, nullif(s.before, 'infinity'), 'epoch'))) END
    FROM catalog.fresh_windows(wanted_measurement) w,
    LATERAL (SELECT min(r.settled_before) AS before FROM catalog.rollup r
             WHERE r.measurement_id = wanted_measurement AND r.part = w.part AND (r.id = w.rollup_id OR r.width = '10m')) s
$$;

-- As before, of what is settled.
CREATE OR REPLACE FUNCTION catalog.rollup_state(
    wanted_measurement int
) RETURNS TABLE (rollup_id int, width interval, part int, view_name text, fields int[], valid tstzmultirange)
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT s.rollup_id, s.width, s.part, s.view_name,
           ARRAY(SELECT f.field_id FROM catalog.rollup_field f WHERE f.rollup_id = s.rollup_id ORDER BY f.field_id),
           (s.settled + CASE WHEN expired_before IS NULL THEN '{}' ELSE multirange(
               tstzrange(NULL, date_bin(s.width, expired_before, 'epoch'))) END)
           * multirange(tstzrange(date_bin(s.width, kept_from + s.width - interval '1 microsecond', 'epoch'), NULL))
    FROM catalog.settled_windows(wanted_measurement) s
    JOIN catalog.rollup r ON r.id = s.rollup_id,
    LATERAL (SELECT nullif(catalog.raw_from(wanted_measurement), '-infinity'),
                    nullif(greatest(r.dropped_before, now() - r.retained), '-infinity')) kept (expired_before, kept_from)
$$;

CREATE OR REPLACE FUNCTION catalog.is_rolled_up(wanted catalog.measurement, before timestamptz) RETURNS boolean
LANGUAGE sql STABLE
SET search_path = pg_catalog
AS $$
    SELECT NOT EXISTS (
        SELECT FROM catalog.settled_windows(wanted.id) s, (
            SELECT min(c.range_start) AS oldest FROM timescaledb_information.chunks c
            WHERE c.hypertable_schema = 'points' AND c.hypertable_name = wanted.name
        ) chunks
        WHERE oldest < before
        AND NOT s.settled @> tstzrange(date_bin(s.width, oldest, 'epoch'), date_bin(s.width, before, 'epoch')))
$$;

-- The transactions under way that have written something, and hold a lock on one of the relations: who asks whether its changes
-- are to be logged holds one on `continuous_aggs_invalidation_threshold` until it is seen, and a refresh one on what it fills.
CREATE FUNCTION catalog.writers_at(relations text[]) RETURNS TABLE (relation text, writer text)
LANGUAGE sql VOLATILE
SET search_path = pg_catalog
AS $$
    WITH locks AS MATERIALIZED (
        SELECT * FROM pg_locks WHERE granted AND pid IS DISTINCT FROM pg_backend_pid()
    )
    SELECT DISTINCT asked, l.virtualtransaction
    FROM unnest(relations) asked
    JOIN locks l ON l.locktype = 'relation' AND l.relation = asked::regclass
        AND l.database = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database())
    JOIN locks x ON x.virtualtransaction = l.virtualtransaction AND x.locktype = 'transactionid'
$$;

-- The rollups that were refreshed up to a time that is not settled, and that time; the finer ones first.
CREATE FUNCTION catalog.unsettled_rollups() RETURNS TABLE (rollup_id int, view_name text, relation text, until timestamptz)
LANGUAGE sql STABLE
SET search_path = pg_catalog
AS $$
    SELECT r.id, r.view_name, catalog.materialization(r.view_name), l.until
    FROM catalog.rollup r, LATERAL (SELECT catalog.logged_before(r.view_name) AS until) l
    WHERE catalog.knows_invalidations() AND l.until > r.settled_before AND catalog.materialization(r.view_name) IS NOT NULL
    ORDER BY r.width, r.id -- 10m before 1h
$$;

-- The windows of a rollup that are not settled, before that time, and that TimescaleDB has nothing against: they may have been
-- refreshed too early. Only as far back as there are points, and as the job of the rollup looks; in pieces as it refreshes.
CREATE FUNCTION catalog.windows_to_repeat(
    wanted_rollup int, until timestamptz
) RETURNS TABLE (window_start timestamptz, window_end timestamptz)
LANGUAGE sql STABLE
SET search_path = pg_catalog
AS $$
    WITH bounds AS (
        SELECT r.view_name, w.width, w.piece,
               greatest(date_bin(w.width, greatest(r.settled_before, c.oldest), 'epoch'),
                        date_bin(w.width, now() - (j.config ->> 'start_offset')::interval + w.width, 'epoch')) AS low,
               date_bin(w.width, windows_to_repeat.until + w.width - interval '1 microsecond', 'epoch') AS high
        FROM catalog.rollup r
        JOIN catalog.measurement m ON m.id = r.measurement_id
        JOIN (VALUES ('10m', interval '10 minutes', interval '1 day'), ('1h', '1 hour', '7 days')) AS w (name, width, piece)
            ON w.name = r.width
        JOIN timescaledb_information.jobs j ON j.hypertable_schema = 'rollups' AND j.hypertable_name = r.view_name
            AND j.proc_name = 'policy_refresh_continuous_aggregate',
        LATERAL (SELECT min(c.range_start) AS oldest FROM timescaledb_information.chunks c
                 WHERE c.hypertable_schema = 'points' AND c.hypertable_name = m.name) c
        WHERE r.id = wanted_rollup AND c.oldest < windows_to_repeat.until
    )
    SELECT lower(w), upper(w)
    FROM bounds b, generate_series(date_bin(b.piece, b.low, 'epoch'), b.high, b.piece) AS start,
    unnest((CASE WHEN b.low < b.high THEN multirange(tstzrange(b.low, b.high)) ELSE '{}' END
            - catalog.stale_windows(b.view_name, b.width)) * multirange(tstzrange(start, start + b.piece))) w
$$;

-- From now on a rollup is relied on up to that time.
CREATE FUNCTION catalog.settle_rollup(wanted_rollup int, until timestamptz) RETURNS void
LANGUAGE sql
SET search_path = pg_catalog
AS $$
    UPDATE catalog.rollup r SET settled_before = greatest(r.settled_before, until) WHERE r.id = wanted_rollup
$$;

-- As before, but nobody writes meanwhile: a transaction that began to write what a rollup is made of before there was that rollup
-- would not be logged for it.
CREATE OR REPLACE FUNCTION catalog.create_rollup_10m(wanted catalog.measurement, part int, fields int[]) RETURNS text
LANGUAGE plpgsql
SET search_path = pg_catalog
AS $$
DECLARE
    made catalog.rollup;
BEGIN
    EXECUTE format('LOCK TABLE points.%I IN SHARE ROW EXCLUSIVE MODE', wanted.name);
    INSERT INTO catalog.rollup (measurement_id, width, part, view_name)
    VALUES (wanted.id, '10m', part, format('m%s_10m_%s', wanted.id, part)) RETURNING * INTO made;
    INSERT INTO catalog.rollup_field (rollup_id, field_id) SELECT made.id, f FROM unnest(fields) f;
    EXECUTE format(
        'CREATE MATERIALIZED VIEW rollups.%I WITH (timescaledb.continuous, timescaledb.materialized_only = true) AS '
        'SELECT %I.time_bucket(interval ''10 minutes'', time) AS bucket, series_id, %s FROM points.%I GROUP BY 1, 2 WITH NO DATA',
        made.view_name, catalog.timescale(),
        (SELECT string_agg(format('sum(%1$I) AS sum_%2$s, count(%1$I) AS count_%2$s, '
                                  'min(%1$I) AS min_%2$s, max(%1$I) AS max_%2$s', k.column_name, k.id), ', ' ORDER BY k.id)
         FROM catalog.field k WHERE k.id = ANY (fields)),
        wanted.name);
    PERFORM catalog.set_rollup_chunks(made.view_name, '7 days');
    RETURN made.view_name;
END
$$;

CREATE OR REPLACE FUNCTION catalog.create_rollup_1h(basis catalog.rollup) RETURNS text
LANGUAGE plpgsql
SET search_path = pg_catalog
AS $$
DECLARE
    made catalog.rollup;
BEGIN
    EXECUTE format('LOCK TABLE %s IN SHARE ROW EXCLUSIVE MODE', catalog.materialization(basis.view_name));
    INSERT INTO catalog.rollup (measurement_id, width, part, view_name)
    VALUES (basis.measurement_id, '1h', basis.part, format('m%s_1h_%s', basis.measurement_id, basis.part)) RETURNING * INTO made;
    INSERT INTO catalog.rollup_field (rollup_id, field_id)
    SELECT made.id, f.field_id FROM catalog.rollup_field f WHERE f.rollup_id = basis.id;
    EXECUTE format(
        'CREATE MATERIALIZED VIEW rollups.%I WITH (timescaledb.continuous, timescaledb.materialized_only = true) AS '
        'SELECT %I.time_bucket(interval ''1 hour'', bucket) AS bucket, series_id, %s FROM rollups.%I GROUP BY 1, 2 WITH NO DATA',
        made.view_name, catalog.timescale(),
        (SELECT string_agg(format('sum(sum_%1$s) AS sum_%1$s, sum(count_%1$s)::bigint AS count_%1$s, '
                                  'min(min_%1$s) AS min_%1$s, max(max_%1$s) AS max_%1$s', f.field_id),
                           ', ' ORDER BY f.field_id)
         FROM catalog.rollup_field f WHERE f.rollup_id = basis.id),
        basis.view_name);
    PERFORM catalog.set_rollup_chunks(made.view_name, '28 days');
    RETURN made.view_name;
END
$$;

REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA catalog FROM PUBLIC;
