-- How many series were made in the minute that is named, by all ingestors together: at most one row.
CREATE TABLE catalog.series_growth (
    minute   timestamptz NOT NULL,
    made     bigint NOT NULL,
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row)
);

-- As before, but at most `max_new` series are made in a minute of the clock; those known already cost nothing of it.
-- An id is NULL for a series past `max_series`, and 0 for one past `max_new`: that one may be asked for again later.
DROP FUNCTION catalog.ensure_series(text, jsonb[], text[], int);
CREATE FUNCTION catalog.ensure_series(
    measurement text, tags jsonb[],
    host_tags text[] DEFAULT '{host,hostname,host.name,instance}', max_series int DEFAULT 10000000,
    max_new int DEFAULT 2147483647
) RETURNS int[]
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '5s'
AS $$
DECLARE
    wanted_id int := (SELECT m.id FROM catalog.measurement m WHERE m.name = ensure_series.measurement);
    ids int[];
    this_minute timestamptz;
    room bigint;
    room_now bigint;
    new_count bigint;
BEGIN
    IF wanted_id IS NULL THEN
        RAISE undefined_table USING MESSAGE = format('there is no measurement "%s"', ensure_series.measurement);
    END IF;
    ids := catalog.find_series(wanted_id, tags);
    IF array_position(ids, NULL) IS NULL THEN
        RETURN ids;
    END IF;
    PERFORM catalog.lock_catalog();
    this_minute := date_trunc('minute', clock_timestamp());
    room := greatest(0, max_series - coalesce((SELECT max(s.id) FROM catalog.series s), 0));
    room_now := greatest(0, max_new - coalesce((SELECT g.made FROM catalog.series_growth g WHERE g.minute = this_minute), 0));
    INSERT INTO catalog.series (measurement_id, tags, host)
    SELECT wanted_id, t, (SELECT t ->> h FROM unnest(host_tags) WITH ORDINALITY AS u (h, n) WHERE t ? h ORDER BY n LIMIT 1)
    FROM (
        SELECT t, min(n) AS n FROM unnest(ensure_series.tags) WITH ORDINALITY AS u (t, n)
        WHERE NOT EXISTS (SELECT FROM catalog.series s
                          WHERE s.measurement_id = wanted_id AND catalog.tags_key(s.tags) = catalog.tags_key(t))
        GROUP BY t ORDER BY min(n)
        LIMIT least(room, room_now)
    ) new_series
    ORDER BY n;
    GET DIAGNOSTICS new_count = ROW_COUNT;
    INSERT INTO catalog.series_growth AS g (minute, made) VALUES (this_minute, new_count)
    ON CONFLICT (only_row) DO UPDATE SET
        minute = EXCLUDED.minute,
        made = EXCLUDED.made + CASE WHEN g.minute = EXCLUDED.minute THEN g.made ELSE 0 END;
    ids := catalog.find_series(wanted_id, tags);
    RETURN CASE WHEN room_now < room THEN array_replace(ids, NULL, 0) ELSE ids END;
END
$$;
REVOKE EXECUTE ON FUNCTION catalog.ensure_series FROM PUBLIC;
GRANT EXECUTE ON FUNCTION catalog.ensure_series TO tidemark_ingest;
