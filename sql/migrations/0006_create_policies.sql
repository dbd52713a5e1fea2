-- How stored data lives: for each measurement the length of its chunks, when they are compressed, and how long raw
-- points and their rollups are kept. `catalog.apply_policy` makes a measurement's tables and jobs what its policy
-- says; whatever makes or changes a policy or a measurement calls it.

CREATE DOMAIN catalog.duration AS text CHECK (VALUE ~ '^([1-9][0-9]{0,4}[mhdwy]|off|forever)$');
COMMENT ON DOMAIN catalog.duration IS 'A length of time, 30m, 6h, 90d, 2w or 1y (365 days); off or forever where there is none.';

-- A duration as an interval, NULL for off and forever.
CREATE FUNCTION catalog.span(wanted text) RETURNS interval
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
SET search_path = pg_catalog
AS $$
    SELECT CASE WHEN wanted IN ('off', 'forever') THEN NULL
                WHEN wanted LIKE '%y' THEN rtrim(wanted, 'y')::int * interval '365 days'
                ELSE wanted::interval END
$$;

CREATE TABLE catalog.policy (
    pattern        text PRIMARY KEY CHECK (octet_length(pattern) <= 63),
    chunk_interval catalog.duration CHECK (catalog.span(chunk_interval) BETWEEN interval '10 minutes' AND interval '31 days'),
    compress_after catalog.duration CHECK (compress_after = 'off' OR catalog.span(compress_after) >= interval '10 minutes'),
    retain_raw     catalog.duration CHECK (retain_raw = 'forever' OR catalog.span(retain_raw) >= interval '1 day'),
    rollup_10m     catalog.duration CHECK (rollup_10m IN ('off', 'forever') OR catalog.span(rollup_10m) >= interval '1 day'),
    rollup_1h      catalog.duration CHECK (rollup_1h IN ('off', 'forever') OR catalog.span(rollup_1h) >= interval '1 day'),
    CHECK (chunk_interval IS NULL OR catalog.span(chunk_interval) IS NOT NULL),
    CHECK (compress_after IS DISTINCT FROM 'forever' AND retain_raw IS DISTINCT FROM 'off'),
    CHECK (pattern <> '' OR num_nulls(chunk_interval, compress_after, retain_raw, rollup_10m, rollup_1h) = 0)
);
COMMENT ON TABLE catalog.policy IS
    'A measurement''s policy has each value from the first row that sets it: the row of its own name, then the patterns '
    '(* and ?) that match it, the longest first, then the row without a pattern, which holds the defaults.';
COMMENT ON COLUMN catalog.policy.compress_after IS 'Age of a chunk''s newest possible point at which it is compressed; off: never.';
COMMENT ON COLUMN catalog.policy.rollup_1h IS
    'How long the rollup is kept; off: there is none. It is made of the rollup of 10 minutes, and is off with that.';

INSERT INTO catalog.policy VALUES ('', '6h', '1h', '90d', '1y', '5y');

CREATE FUNCTION catalog.matches(measurement text, pattern text) RETURNS boolean
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
SET search_path = pg_catalog
AS $$
    SELECT measurement = pattern OR pattern = '' OR measurement LIKE
        translate(regexp_replace(pattern, '([\\%_])', '\\\1', 'g'), '*?', '%_')
$$;

-- The policy of a measurement that there is or may come to be: no value in it is NULL.
CREATE FUNCTION catalog.policy_of(
    measurement text,
    OUT chunk_interval text, OUT compress_after text, OUT retain_raw text, OUT rollup_10m text, OUT rollup_1h text
)
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT (array_agg(p.chunk_interval ORDER BY p.rank) FILTER (WHERE p.chunk_interval IS NOT NULL))[1],
           (array_agg(p.compress_after ORDER BY p.rank) FILTER (WHERE p.compress_after IS NOT NULL))[1],
           (array_agg(p.retain_raw ORDER BY p.rank) FILTER (WHERE p.retain_raw IS NOT NULL))[1],
           (array_agg(p.rollup_10m ORDER BY p.rank) FILTER (WHERE p.rollup_10m IS NOT NULL))[1],
           CASE (array_agg(p.rollup_10m ORDER BY p.rank) FILTER (WHERE p.rollup_10m IS NOT NULL))[1] WHEN 'off' THEN 'off'
           ELSE (array_agg(p.rollup_1h ORDER BY p.rank) FILTER (WHERE p.rollup_1h IS NOT NULL))[1] END
    FROM (
        SELECT *, row_number() OVER (
            ORDER BY pattern <> policy_of.measurement, length(pattern) DESC, pattern) AS rank
        FROM catalog.policy WHERE catalog.matches(policy_of.measurement, pattern)
    ) p
$$;

-- What is in force, which a policy may be ahead of: points before `dropped_before` may have been dropped, and those
-- older than `retained` are being dropped (NULL: none).
CREATE TABLE catalog.retention (
    measurement_id int PRIMARY KEY REFERENCES catalog.measurement ON DELETE CASCADE,
    retained       interval,
    dropped_before timestamptz NOT NULL DEFAULT '-infinity'
);

-- The time from which the points of a measurement are all there.
CREATE FUNCTION catalog.raw_from(wanted_measurement int) RETURNS timestamptz
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT coalesce(max(greatest(r.dropped_before, now() - r.retained)), '-infinity')
    FROM catalog.retention r WHERE r.measurement_id = wanted_measurement
$$;

-- Points are dropped this long after their time is over, whole chunks at a time: what is being rolled up or read
-- at that moment is not taken away in the middle.
CREATE FUNCTION catalog.grace() RETURNS interval
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog
AS $$ SELECT interval '1 day' $$;

-- Bring `retained` into force; returns whether it was another one before.
CREATE FUNCTION catalog.retain(wanted_measurement int, wanted interval) RETURNS boolean
LANGUAGE plpgsql
SET search_path = pg_catalog
AS $$
BEGIN
    INSERT INTO catalog.retention AS r (measurement_id, retained) VALUES (wanted_measurement, wanted)
    ON CONFLICT (measurement_id) DO UPDATE SET
        retained = EXCLUDED.retained,
        dropped_before = greatest(r.dropped_before, now() - r.retained - catalog.grace())
    WHERE r.retained IS DISTINCT FROM EXCLUDED.retained;
    RETURN FOUND;
END
$$;

-- The schema in which TimescaleDB's functions are.
CREATE FUNCTION catalog.timescale() RETURNS name
LANGUAGE sql STABLE
SET search_path = pg_catalog
AS $$
    SELECT n.nspname FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace WHERE e.extname = 'timescaledb'
$$;

-- Chunks that are made from now on have this length.
CREATE FUNCTION catalog.apply_chunk_interval(wanted catalog.measurement, length interval) RETURNS text[]
LANGUAGE plpgsql
SET search_path = pg_catalog
AS $$
BEGIN
    IF length = (SELECT d.time_interval FROM timescaledb_information.dimensions d
                 WHERE d.hypertable_schema = 'points' AND d.hypertable_name = wanted.name AND d.dimension_number = 1) THEN
        RETURN '{}';
    END IF;
    EXECUTE format('SELECT %I.set_chunk_time_interval(%L, interval %L)',
                   catalog.timescale(), format('points.%I', wanted.name), length);
    RETURN ARRAY[format('chunks of %s', length)];
END
$$;

-- Make the tables and jobs of a measurement what its policy says, and tell what was changed. Idempotent. Waits at most
-- a second for a table (lock_not_available otherwise).
CREATE FUNCTION catalog.apply_policy(measurement text) RETURNS text[]
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
    IF catalog.retain(wanted.id, catalog.span(policy.retain_raw)) THEN
        changes := changes || format('raw points kept %s', policy.retain_raw);
    END IF;
    RETURN changes;
END
$$;

-- Drop the chunks whose time is over, and tell how many there were.
CREATE FUNCTION catalog.expire(measurement text) RETURNS int
LANGUAGE plpgsql
SET search_path = pg_catalog
AS $$
DECLARE
    dropped int := 0;
    retained interval := (
        SELECT r.retained FROM catalog.retention r WHERE r.measurement_id = catalog.find_measurement(measurement));
BEGIN
    IF retained IS NOT NULL THEN
        EXECUTE format('SELECT count(*) FROM %I.drop_chunks(%L, older_than => %L::timestamptz)', catalog.timescale(),
                       format('points.%I', measurement), now() - retained - catalog.grace()) INTO dropped;
    END IF;
    RETURN dropped;
END
$$;

-- As before; a measurement that is new gets its policies at once.
CREATE OR REPLACE FUNCTION catalog.make_fields(measurement text, missing text[], max_fields int, max_measurements int) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog
AS $$
DECLARE
    made catalog.measurement;
    is_new boolean;
BEGIN
    SELECT * INTO made FROM catalog.measurement m WHERE m.id = catalog.find_measurement(measurement);
    IF (SELECT count(*) FROM catalog.field k WHERE k.measurement_id = made.id) + cardinality(missing) > max_fields THEN
        RETURN;
    END IF;
    is_new := made.id IS NULL;
    IF is_new THEN
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
    IF is_new THEN
        PERFORM catalog.apply_policy(measurement);
    END IF;
END
$$;

REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA catalog FROM PUBLIC;
GRANT EXECUTE ON FUNCTION catalog.policy_of, catalog.span, catalog.matches, catalog.raw_from TO tidemark_query;
