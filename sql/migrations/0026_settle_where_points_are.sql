-- As before, but only where there are chunks: nothing else can have been refreshed too early. One point that is centuries old
-- made thousands of windows, each a refresh of nothing.
CREATE OR REPLACE FUNCTION catalog.windows_to_repeat(
    wanted_rollup int, until timestamptz
) RETURNS TABLE (window_start timestamptz, window_end timestamptz)
LANGUAGE sql STABLE
SET search_path = pg_catalog
AS $$
    WITH bounds AS (
        SELECT r.view_name, w.width, w.piece, c.chunks,
               greatest(date_bin(w.width, greatest(r.settled_before, lower(c.chunks)), 'epoch'),
                        date_bin(w.width, now() - (j.config ->> 'start_offset')::interval + w.width, 'epoch')) AS low,
               date_bin(w.width, windows_to_repeat.until + w.width - interval '1 microsecond', 'epoch') AS high
        FROM catalog.rollup r
        JOIN catalog.measurement m ON m.id = r.measurement_id
        JOIN (VALUES ('10m', interval '10 minutes', interval '1 day'), ('1h', '1 hour', '7 days')) AS w (name, width, piece)
            ON w.name = r.width
        JOIN timescaledb_information.jobs j ON j.hypertable_schema = 'rollups' AND j.hypertable_name = r.view_name
            AND j.proc_name = 'policy_refresh_continuous_aggregate',
        -- In whole windows of the rollup. A refresh notes the window after it as changed: where nothing was for a piece's time
        -- nobody misses that one, until the job of the rollup has refreshed it.
        LATERAL (SELECT range_agg(tstzrange(date_bin(w.width, c.range_start, 'epoch'),
                                            date_bin(w.width, c.range_end + w.width, 'epoch') + w.piece)) AS chunks
                 FROM timescaledb_information.chunks c
                 WHERE c.hypertable_schema = 'points' AND c.hypertable_name = m.name) c
        WHERE r.id = wanted_rollup AND lower(c.chunks) < windows_to_repeat.until
    )
    SELECT lower(w), upper(w)
    FROM bounds b,
    unnest((CASE WHEN b.low < b.high THEN multirange(tstzrange(b.low, b.high)) ELSE '{}' END
            - catalog.stale_windows(b.view_name, b.width)) * b.chunks) AS stretch,
    generate_series(date_bin(b.piece, lower(stretch), 'epoch'), upper(stretch) - interval '1 microsecond', b.piece) AS start,
    LATERAL (SELECT stretch * tstzrange(start, start + b.piece) AS w) pieces
    ORDER BY 1
$$;
