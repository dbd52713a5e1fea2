-- As before, but where a rollup has all fields of its measurement, the points after it need no condition: each of them has one.
-- That condition is in the plan of each chunk; with a hundred fields it took longer to plan ninety days than to read them.
CREATE OR REPLACE FUNCTION catalog.branch_of(wanted catalog.measurement, source catalog.rollup, condition text) RETURNS text
LANGUAGE sql STABLE
SET search_path = pg_catalog
AS $$
    SELECT format(
        'SELECT bucket, series_id, %s FROM rollups.%I WHERE %s AND bucket < (SELECT catalog.rolled_up_to(%s)) UNION ALL '
        'SELECT p.time, p.series_id, %s FROM points.%I p WHERE %s AND p.time >= (SELECT catalog.rolled_up_to(%s)) AND (%s)',
        string_agg(CASE WHEN f.field_id IS NULL THEN 'NULL::float8' ELSE format(
            'CASE statistic WHEN ''min'' THEN min_%1$s WHEN ''max'' THEN max_%1$s WHEN ''sum'' THEN sum_%1$s '
            'ELSE sum_%1$s / nullif(count_%1$s, 0) END', k.id) END, ', ' ORDER BY k.id),
        source.view_name, condition, source.id,
        string_agg(CASE WHEN f.field_id IS NULL THEN 'NULL::float8' ELSE format('p.%I', k.column_name) END, ', ' ORDER BY k.id),
        wanted.name, condition, source.id,
        CASE WHEN count(*) = count(f.field_id) THEN 'true' ELSE
            string_agg(format('p.%I IS NOT NULL', k.column_name), ' OR ' ORDER BY k.id) FILTER (WHERE f.field_id IS NOT NULL) END)
    FROM catalog.field k LEFT JOIN catalog.rollup_field f ON f.field_id = k.id AND f.rollup_id = source.id
    WHERE k.measurement_id = wanted.id
$$;

SELECT catalog.refresh_at(m) FROM catalog.measurement m
WHERE m.id = catalog.find_measurement(m.name) AND to_regclass(format('metrics.%I', m.name)) IS NOT NULL;
