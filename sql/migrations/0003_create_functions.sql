-- How measurements, fields and series come to be. Every function that changes the catalog does so under one
-- advisory lock, so that any number of ingestors may meet the same new thing at the same moment: one makes
-- it, the others find it made. All are idempotent. They run with their owner's rights, so that the ingest
-- role needs no right to change a table.

CREATE FUNCTION catalog.lock_catalog() RETURNS void
LANGUAGE sql
SET search_path = pg_catalog
AS $$ SELECT pg_advisory_xact_lock(hashtextextended('tidemark.catalog', 0)) $$;

-- Names that a table or a view of ours, or PostgreSQL itself, needs get one more underscore; so does a name
-- that looks like such a result, which keeps the rule reversible: no two fields share a column.
CREATE FUNCTION catalog.column_of(field text) RETURNS text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
SET search_path = pg_catalog
AS $$
    SELECT CASE WHEN field ~ '^(time|series_id|host|tags|ctid|xmin|xmax|cmin|cmax|tableoid)_*$'
                THEN field || '_' ELSE field END
$$;

-- The view that people read: time, host, tags, then the fields in the order in which they came. A view can
-- only gain columns at its end, and so it does.
CREATE FUNCTION catalog.refresh_view(wanted catalog.measurement) RETURNS void
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
END
$$;

-- The hypertable of a new measurement. Its one index carries the measurement's number, not its name, so that
-- no measurement's name can collide with an index; ingest refuses measurement names that begin as it does.
CREATE FUNCTION catalog.create_points(wanted catalog.measurement) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog
AS $$
DECLARE
    timescale text := (
        SELECT n.nspname FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace
        WHERE e.extname = 'timescaledb');
BEGIN
    EXECUTE format('CREATE TABLE points.%I (time timestamptz NOT NULL, series_id int NOT NULL)', wanted.name);
    EXECUTE format('SELECT %I.create_hypertable(%L, %L, chunk_time_interval => interval %L, create_default_indexes => false)',
                   timescale, format('points.%I', wanted.name), 'time', '6 hours');
    EXECUTE format('CREATE UNIQUE INDEX %I ON points.%I (series_id, time DESC)',
                   format('_tidemark_%s_key', wanted.id), wanted.name);
END
$$;

-- Take a measurement out of the catalog, with its series and its points.
CREATE FUNCTION catalog.drop_measurement(measurement text) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog
AS $$
DECLARE
    gone int := (SELECT m.id FROM catalog.measurement m WHERE m.name = measurement);
BEGIN
    PERFORM catalog.lock_catalog();
    EXECUTE format('DROP VIEW IF EXISTS metrics.%I', measurement);
    EXECUTE format('DROP TABLE IF EXISTS points.%I', measurement);
    DELETE FROM catalog.series WHERE measurement_id = gone;
    DELETE FROM catalog.field WHERE measurement_id = gone;
    DELETE FROM catalog.measurement WHERE id = gone;
END
$$;

-- The number of a measurement, NULL without its table: somebody may have dropped that by hand.
CREATE FUNCTION catalog.find_measurement(measurement text) RETURNS int
LANGUAGE sql STABLE
SET search_path = pg_catalog
AS $$
    SELECT m.id FROM catalog.measurement m
    WHERE m.name = measurement AND to_regclass(format('points.%I', m.name)) IS NOT NULL
$$;

CREATE FUNCTION catalog.missing_fields(measurement text, fields text[]) RETURNS text[]
LANGUAGE sql STABLE
SET search_path = pg_catalog
AS $$
    SELECT coalesce(array_agg(f ORDER BY n), '{}')
    FROM (SELECT f, min(n) AS n FROM unnest(fields) WITH ORDINALITY AS u (f, n) GROUP BY f) AS wanted
    WHERE NOT EXISTS (
        SELECT FROM catalog.field k WHERE k.measurement_id = catalog.find_measurement(measurement) AND k.name = f)
$$;

-- Make fields that `measurement` lacks, and `measurement` itself if need be; nothing when that breaks a limit.
CREATE FUNCTION catalog.make_fields(measurement text, missing text[], max_fields int, max_measurements int) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog
AS $$
DECLARE
    made catalog.measurement;
BEGIN
    SELECT * INTO made FROM catalog.measurement m WHERE m.id = catalog.find_measurement(measurement);
    IF (SELECT count(*) FROM catalog.field k WHERE k.measurement_id = made.id) + cardinality(missing) > max_fields THEN
        RETURN;
    END IF;
    IF made.id IS NULL THEN
        IF EXISTS (SELECT FROM catalog.measurement m WHERE m.name = measurement) THEN
            PERFORM catalog.drop_measurement(measurement);
        END IF;
        IF (SELECT count(*) FROM catalog.measurement) >= max_measurements THEN
            RETURN;
        END IF;
        INSERT INTO catalog.measurement (name) VALUES (measurement) RETURNING * INTO made;
        PERFORM catalog.create_points(made);
    END IF;
    EXECUTE format('ALTER TABLE points.%I %s', made.name, (
        SELECT string_agg(format('ADD COLUMN %I double precision', catalog.column_of(f)), ', ' ORDER BY n)
        FROM unnest(missing) WITH ORDINALITY AS u (f, n)));
    INSERT INTO catalog.field (measurement_id, name, column_name)
    SELECT made.id, f, catalog.column_of(f) FROM unnest(missing) WITH ORDINALITY AS u (f, n) ORDER BY n;
    PERFORM catalog.refresh_view(made);
END
$$;

-- Make `measurement` and its `fields` exist, and return all fields that it has then, with their columns. The
-- caller knows by what is missing that there was no room: past `max_fields` none of `fields` is made, and past
-- `max_measurements` no measurement. Waits at most a second for readers and writers of the table to let go of
-- it (lock_not_available otherwise: try again), so that it never holds the queue behind it for longer.
CREATE FUNCTION catalog.ensure_fields(
    measurement text, fields text[], max_fields int DEFAULT 1000, max_measurements int DEFAULT 10000
) RETURNS TABLE (name text, column_name text)
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '1s'
AS $$
DECLARE
    missing text[] := catalog.missing_fields(measurement, fields);
BEGIN
    IF cardinality(missing) > 0 THEN
        PERFORM catalog.lock_catalog();
        -- What was missing may have been made while we waited for the lock.
        missing := catalog.missing_fields(measurement, fields);
        IF cardinality(missing) > 0 THEN
            PERFORM catalog.make_fields(measurement, missing, max_fields, max_measurements);
        END IF;
    END IF;
    RETURN QUERY SELECT k.name, k.column_name FROM catalog.field k
    WHERE k.measurement_id = catalog.find_measurement(measurement);
END
$$;

-- Make the series of `measurement` with these `tags` exist, and return their ids in the order asked. An id is
-- NULL for a series past `max_series`. The count of series is taken from the highest id: ids are given out one by
-- one, and counting millions would be slow. Raises undefined_table when there is no such measurement. Waits
-- five seconds for others that make something, each of whom may make thousands of series.
CREATE FUNCTION catalog.ensure_series(
    measurement text, tags jsonb[],
    host_tags text[] DEFAULT '{host,hostname,host.name,instance}', max_series int DEFAULT 10000000
) RETURNS int[]
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '5s'
AS $$
DECLARE
    wanted_id int := (SELECT m.id FROM catalog.measurement m WHERE m.name = ensure_series.measurement);
    ids int[];
BEGIN
    IF wanted_id IS NULL THEN
        RAISE undefined_table USING MESSAGE = format('there is no measurement "%s"', ensure_series.measurement);
    END IF;
    ids := catalog.find_series(wanted_id, tags);
    IF array_position(ids, NULL) IS NULL THEN
        RETURN ids;
    END IF;
    PERFORM catalog.lock_catalog();
    INSERT INTO catalog.series (measurement_id, tags, host)
    SELECT wanted_id, t, (SELECT t ->> h FROM unnest(host_tags) WITH ORDINALITY AS u (h, n) WHERE t ? h ORDER BY n LIMIT 1)
    FROM (
        SELECT t, min(n) AS n FROM unnest(ensure_series.tags) WITH ORDINALITY AS u (t, n)
        WHERE NOT EXISTS (SELECT FROM catalog.series s
                          WHERE s.measurement_id = wanted_id AND catalog.tags_key(s.tags) = catalog.tags_key(t))
        GROUP BY t ORDER BY min(n)
        LIMIT greatest(0, max_series - coalesce((SELECT max(s.id) FROM catalog.series s), 0))
    ) new_series
    ORDER BY n;
    RETURN catalog.find_series(wanted_id, tags);
END
$$;

CREATE FUNCTION catalog.find_series(wanted_id int, wanted jsonb[]) RETURNS int[]
LANGUAGE sql
SET search_path = pg_catalog
AS $$
    SELECT coalesce(array_agg(s.id ORDER BY u.n), '{}')
    FROM unnest(wanted) WITH ORDINALITY AS u (t, n)
    LEFT JOIN catalog.series s
        ON s.measurement_id = wanted_id AND catalog.tags_key(s.tags) = catalog.tags_key(u.t)
$$;

-- Which catalog this is, and in which state of things removed. Ids that were learned in one epoch mean nothing in
-- another: the database may have been dropped and made again, restored from a dump (then the database or the
-- table is another one) or from a copy of the server's files (then the server was started anew), or things may
-- have been taken out of the catalog (then its lineage is another).
CREATE FUNCTION catalog.epoch() RETURNS text
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT concat_ws('.', extract(epoch FROM pg_postmaster_start_time()),
                          (SELECT oid FROM pg_database WHERE datname = current_database()),
                          to_regclass('catalog.series')::oid,
                          (SELECT id FROM catalog.lineage))
$$;

-- What the server is, and what its TimescaleDB can do: the Apache edition has hypertables and no more, the
-- community edition compresses, keeps rollups and runs jobs. The setting decides it, whatever was compiled in.
CREATE FUNCTION catalog.edition() RETURNS jsonb
LANGUAGE sql STABLE
SET search_path = pg_catalog
AS $$
    SELECT jsonb_build_object(
        'edition', CASE current_setting('timescaledb.license', true) WHEN 'timescale' THEN 'community' ELSE 'apache' END,
        'timescaledb', (SELECT extversion FROM pg_extension WHERE extname = 'timescaledb'),
        'postgresql', current_setting('server_version'))
$$;

REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA catalog FROM PUBLIC;
GRANT EXECUTE ON FUNCTION catalog.ensure_fields, catalog.ensure_series, catalog.epoch TO tidemark_ingest;
GRANT EXECUTE ON FUNCTION catalog.tags_key, catalog.column_of, catalog.edition TO tidemark_query, tidemark_ingest;
