-- As before, but with the view locked before its table, as its readers lock them: in the other order a reader and a new
-- field could wait for each other. LOCK would take the tables of the view as well; this changes nothing, and takes the view.
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
    ELSIF to_regclass(format('metrics.%I', made.name)) IS NOT NULL THEN
        EXECUTE format('ALTER VIEW metrics.%I RESET (security_barrier)', made.name);
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
