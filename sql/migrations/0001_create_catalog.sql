-- The names of everything stored. Rows of numbers live in `points`, what people read in `metrics`.

CREATE SCHEMA IF NOT EXISTS catalog;
CREATE SCHEMA points;
CREATE SCHEMA metrics;

-- A series is found by a digest of its tags: the tags themselves may be longer than an index row can be.
-- The text of a jsonb value is canonical (sorted keys, no duplicates), and a database's encoding never
-- changes, so the digest is immutable although convert_to is declared stable.
CREATE FUNCTION catalog.tags_key(tags jsonb) RETURNS bytea
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
SET search_path = pg_catalog
AS $$ SELECT sha256(convert_to(tags::text, 'UTF8')) $$;

CREATE TABLE catalog.measurement (
    id         int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name       text NOT NULL UNIQUE CHECK (octet_length(name) BETWEEN 1 AND 63),
    created_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE catalog.measurement IS 'One row a measurement; points.<name> is its hypertable, metrics.<name> its view.';

CREATE TABLE catalog.field (
    id             int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    measurement_id int NOT NULL REFERENCES catalog.measurement,
    name           text NOT NULL CHECK (octet_length(name) BETWEEN 1 AND 63),
    column_name    text NOT NULL,
    created_at     timestamptz NOT NULL DEFAULT now(),
    UNIQUE (measurement_id, name),
    UNIQUE (measurement_id, column_name)
);
COMMENT ON COLUMN catalog.field.column_name IS 'The field''s column in points and metrics: its name, but for the few names that are taken.';

CREATE TABLE catalog.series (
    id             int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    measurement_id int NOT NULL REFERENCES catalog.measurement,
    tags           jsonb NOT NULL CHECK (jsonb_typeof(tags) = 'object'),
    host           text,
    created_at     timestamptz NOT NULL DEFAULT now()
);
CREATE UNIQUE INDEX series_tags_key ON catalog.series (measurement_id, catalog.tags_key(tags));
CREATE INDEX series_host ON catalog.series (measurement_id, host);
CREATE INDEX series_tags ON catalog.series USING gin (tags);
COMMENT ON COLUMN catalog.series.host IS 'The first of the configured host tags that the series has.';

-- The catalog only grows: its ids are given once, and every ingestor remembers them. Whoever takes something out
-- of it or changes it begins another lineage, by which ingestors know that they must learn it anew.
CREATE TABLE catalog.lineage (
    id       uuid NOT NULL DEFAULT gen_random_uuid(),
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row)
);
INSERT INTO catalog.lineage DEFAULT VALUES;

CREATE FUNCTION catalog.begin_lineage() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    UPDATE catalog.lineage SET id = gen_random_uuid();
    RETURN NULL;
END
$$;
CREATE TRIGGER begin_lineage AFTER UPDATE OR DELETE OR TRUNCATE ON catalog.measurement
    FOR EACH STATEMENT EXECUTE FUNCTION catalog.begin_lineage();
CREATE TRIGGER begin_lineage AFTER UPDATE OR DELETE OR TRUNCATE ON catalog.field
    FOR EACH STATEMENT EXECUTE FUNCTION catalog.begin_lineage();
CREATE TRIGGER begin_lineage AFTER UPDATE OR DELETE OR TRUNCATE ON catalog.series
    FOR EACH STATEMENT EXECUTE FUNCTION catalog.begin_lineage();
