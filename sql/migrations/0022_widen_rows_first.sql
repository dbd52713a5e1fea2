-- metrics.<measurement>_at outlasts a field that is added while somebody asks. PostgreSQL reads the function's text before it
-- waits for the tables in it: who had to wait then had the old text and the new row type, and got "return type mismatch". Now
-- the text names the view first, and takes the list of columns from it, so that list is made after the wait: a field that the
-- rest of the text does not know yet is NULL for that one statement. Of the view no row is read: with the fields in step, which
-- they are at all other times, the planner removes the join, since DISTINCT says that it can match one row at most. Naming the
-- view first is also the order in which adding a field locks.
CREATE OR REPLACE FUNCTION catalog.body_of_at(wanted catalog.measurement) RETURNS text
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog
AS $$
DECLARE
    tier record;
    branches text[] := '{}';
BEGIN
    FOR tier IN SELECT t.width, coalesce(nullif(t.condition, ''), 'true') AS condition FROM catalog.tiers_of(wanted.id) t LOOP
        branches := branches || ARRAY(
            SELECT catalog.branch_of(wanted, r, tier.condition) FROM catalog.rollup r
            WHERE r.measurement_id = wanted.id AND r.width = tier.width ORDER BY r.part
        ) || catalog.rest_of(wanted, tier.width, tier.condition);
    END LOOP;
    RETURN (
        SELECT format('SELECT * FROM (SELECT DISTINCT ON (time) * FROM metrics.%I WHERE false) AS form NATURAL RIGHT JOIN ('
                      'SELECT w.time, s.host, s.tags, %s FROM (%s) AS w (time, series_id, %s) '
                      'JOIN catalog.series s ON s.id = w.series_id) AS known',
                      wanted.name, string_agg(format('w.%I', k.column_name), ', ' ORDER BY k.id),
                      array_to_string(branches, ' UNION ALL '),
                      string_agg(format('%I', k.column_name), ', ' ORDER BY k.id))
        FROM catalog.field k WHERE k.measurement_id = wanted.id);
END
$$;

-- Measurements that are there already; one that is being made meanwhile gets its function in the next round of maintenance.
SELECT catalog.refresh_at(m) FROM catalog.measurement m
WHERE m.id = catalog.find_measurement(m.name) AND to_regclass(format('metrics.%I', m.name)) IS NOT NULL;
