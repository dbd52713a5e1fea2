-- Rollups, which the community edition of TimescaleDB has: continuous aggregates over windows of 10 minutes, and over
-- windows of an hour made of those, with the sum, count, minimum and maximum of each field. A continuous aggregate cannot
-- gain columns, so a measurement's fields are in one or several parts: the first has the fields that came with it, a
-- further one those that were found missing later.

CREATE SCHEMA rollups;
GRANT USAGE ON SCHEMA rollups TO tidemark_query;
ALTER DEFAULT PRIVILEGES IN SCHEMA rollups GRANT SELECT ON TABLES TO tidemark_query;

CREATE TABLE catalog.rollup (
    id             int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    measurement_id int NOT NULL REFERENCES catalog.measurement ON DELETE CASCADE,
    width          text NOT NULL CHECK (width IN ('10m', '1h')),
    part           int NOT NULL CHECK (part >= 1),
    view_name      text NOT NULL UNIQUE,
    retained       interval,
    dropped_before timestamptz NOT NULL DEFAULT '-infinity',
    created_at     timestamptz NOT NULL DEFAULT now(),
    UNIQUE (measurement_id, part, width)
);
COMMENT ON TABLE catalog.rollup IS
    'One row a view rollups.<view_name>: bucket, series_id, and for the field with the id N: sum_N, count_N, min_N, max_N.';
COMMENT ON COLUMN catalog.rollup.retained IS
    'Rows older than this are being dropped (NULL: none), and those before dropped_before may have been.';

CREATE TABLE catalog.rollup_field (
    rollup_id int NOT NULL REFERENCES catalog.rollup ON DELETE CASCADE,
    field_id  int NOT NULL REFERENCES catalog.field ON DELETE CASCADE,
    PRIMARY KEY (rollup_id, field_id)
);

-- At most this many fields are in a part: a row of PostgreSQL's has to fit into a page.
CREATE FUNCTION catalog.fields_of_part() RETURNS int
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog
AS $$ SELECT 200 $$;

-- The fields that a further part would have: those in none, once the first of them has waited. Fields that came with their
-- measurement, and more than fit into a part, do not wait; otherwise the wait doubles with each part, so that however fields
-- keep coming, the parts stay few.
CREATE FUNCTION catalog.fields_to_roll_up(wanted catalog.measurement) RETURNS int[]
LANGUAGE sql STABLE
SET search_path = pg_catalog
AS $$
    SELECT array_agg(id ORDER BY id)
    FROM (
        SELECT k.id, k.created_at FROM catalog.field k
        WHERE k.measurement_id = wanted.id AND NOT EXISTS (
            SELECT FROM catalog.rollup_field f JOIN catalog.rollup r ON r.id = f.rollup_id
            WHERE f.field_id = k.id AND r.width = '10m')
        ORDER BY k.id LIMIT catalog.fields_of_part()
    ) missing, (
        SELECT count(*) AS parts FROM catalog.rollup r WHERE r.measurement_id = wanted.id AND r.width = '10m'
    ) made
    GROUP BY parts
    HAVING parts = 0 OR count(*) = catalog.fields_of_part() OR min(created_at) = wanted.created_at
        OR now() - min(created_at) >= interval '10 minutes' * 2 ^ least(parts - 1, 20)
$$;

-- Make a part's rollup of 10 minutes, of these fields.
CREATE FUNCTION catalog.create_rollup_10m(wanted catalog.measurement, part int, fields int[]) RETURNS text
LANGUAGE plpgsql
SET search_path = pg_catalog
AS $$
DECLARE
    made catalog.rollup;
BEGIN
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

-- Make a part's rollup of an hour, on its rollup of 10 minutes.
CREATE FUNCTION catalog.create_rollup_1h(basis catalog.rollup) RETURNS text
LANGUAGE plpgsql
SET search_path = pg_catalog
AS $$
DECLARE
    made catalog.rollup;
BEGIN
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

-- The hypertable that holds the rows of a rollup; NULL when somebody has dropped it by hand.
CREATE FUNCTION catalog.materialization(view_name text) RETURNS text
LANGUAGE sql STABLE
SET search_path = pg_catalog
AS $$
    SELECT format('%I.%I', c.materialization_hypertable_schema, c.materialization_hypertable_name)
    FROM timescaledb_information.continuous_aggregates c
    WHERE c.view_schema = 'rollups' AND c.view_name = materialization.view_name
$$;

CREATE FUNCTION catalog.set_rollup_chunks(view_name text, length interval) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog
AS $$
BEGIN
    EXECUTE format('SELECT %I.set_chunk_time_interval(%L, interval %L)',
                   catalog.timescale(), catalog.materialization(view_name), length);
END
$$;

-- Drop the rollups of this width, and those that are made of them.
CREATE FUNCTION catalog.drop_rollups(wanted_measurement int, wanted_width text) RETURNS text[]
LANGUAGE plpgsql
SET search_path = pg_catalog
AS $$
DECLARE
    gone catalog.rollup;
    dropped text[] := '{}';
BEGIN
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

-- Make the rollups that the policy wants and that are missing, and drop those it does not want.
CREATE FUNCTION catalog.apply_rollups(wanted catalog.measurement, keep_10m text, keep_1h text) RETURNS text[]
LANGUAGE plpgsql
SET search_path = pg_catalog
AS $$
DECLARE
    basis catalog.rollup;
    fields int[];
    changes text[] := '{}';
BEGIN
    DELETE FROM catalog.rollup r WHERE r.measurement_id = wanted.id AND catalog.materialization(r.view_name) IS NULL;
    IF keep_10m = 'off' THEN
        RETURN catalog.drop_rollups(wanted.id, '10m');
    ELSIF keep_1h = 'off' THEN
        changes := catalog.drop_rollups(wanted.id, '1h');
    END IF;
    LOOP
        fields := catalog.fields_to_roll_up(wanted);
        EXIT WHEN fields IS NULL;
        changes := changes || format('rollup %s', catalog.create_rollup_10m(wanted, (
            SELECT coalesce(max(r.part), 0) + 1 FROM catalog.rollup r WHERE r.measurement_id = wanted.id), fields));
    END LOOP;
    IF keep_1h <> 'off' THEN
        FOR basis IN SELECT * FROM catalog.rollup r WHERE r.measurement_id = wanted.id AND r.width = '10m' AND NOT EXISTS (
                SELECT FROM catalog.rollup h WHERE h.measurement_id = r.measurement_id AND h.part = r.part AND h.width = '1h')
                ORDER BY r.part LOOP
            changes := changes || format('rollup %s', catalog.create_rollup_1h(basis));
        END LOOP;
    END IF;
    RETURN changes;
END
$$;

REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA catalog FROM PUBLIC;
