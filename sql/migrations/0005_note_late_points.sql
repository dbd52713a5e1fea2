-- What was changed late, for readers that keep what they have computed of times gone by: a row for each transaction that
-- writes points of a measurement which are older than a minute. Fresh points leave no trace: nobody keeps what is that
-- new. The row comes with the points: whoever sees them sees it.
CREATE TABLE catalog.change (
    measurement_id int NOT NULL,
    xid            xid8 NOT NULL DEFAULT pg_current_xact_id(),
    during         tstzmultirange NOT NULL,
    noted_at       timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (measurement_id, xid)
);
CREATE INDEX change_noted_at ON catalog.change (noted_at);
COMMENT ON TABLE catalog.change IS 'Which transaction wrote points of which times, where these were late; kept for a day.';

-- Before when points are late. To be asked in the transaction that writes them, after it has written something: then its
-- number was given before this moment.
CREATE FUNCTION catalog.late_before() RETURNS timestamptz
LANGUAGE sql VOLATILE
SET search_path = pg_catalog
AS $$ SELECT clock_timestamp() - interval '1 minute' $$;

-- Note that this transaction writes late points of `measurements`, each named once for each stretch of time, from one
-- microsecond of Unix time to another, both included. Now and then, what is older than a day is removed: a few rows at a
-- time, and none that another transaction is about to remove.
CREATE FUNCTION catalog.note_late(measurements text[], firsts bigint[], lasts bigint[]) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    INSERT INTO catalog.change AS c (measurement_id, during)
    SELECT m.id, range_agg(tstzrange(
        timestamptz 'epoch' + late.first * interval '1 microsecond',
        timestamptz 'epoch' + late.last * interval '1 microsecond', '[]'))
    FROM unnest(measurements, firsts, lasts) AS late (measurement, first, last)
    JOIN catalog.measurement m ON m.name = late.measurement
    GROUP BY m.id
    ON CONFLICT (measurement_id, xid) DO UPDATE SET during = c.during + EXCLUDED.during;
    IF random() < 0.01 THEN
        DELETE FROM catalog.change WHERE ctid IN (
            SELECT old.ctid FROM catalog.change old WHERE old.noted_at < clock_timestamp() - interval '1 day'
            ORDER BY old.noted_at LIMIT 1000 FOR UPDATE SKIP LOCKED);
    END IF;
END
$$;

REVOKE EXECUTE ON FUNCTION catalog.late_before, catalog.note_late FROM PUBLIC;
GRANT EXECUTE ON FUNCTION catalog.late_before, catalog.note_late TO tidemark_ingest;
GRANT EXECUTE ON FUNCTION catalog.epoch TO tidemark_query;
