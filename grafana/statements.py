"""The SQL of panels, with the macros and variables of Grafana's PostgreSQL data source.

Every statement over time reads `metrics.<measurement>_at('$__interval')`, which has points for short ranges and windows
of a rollup for long ones, so that what is read stays as small as what is drawn.
"""

from __future__ import annotations

from collections.abc import Sequence

HOST = "host = '${host}'"
"""The data source doubles the quotes of a value. Grafana's own `:sqlstring` has a backslash before double ones, too."""
SILENT_AFTER = "5 minutes"
LINE_STEPS = 60
"""How many pieces a forecast is drawn in."""
LAST_SEEN = """\
SELECT s.host, max(l.time) AS seen FROM catalog.series s
JOIN catalog.measurement m ON m.id = s.measurement_id AND m.name = 'mem'
CROSS JOIN LATERAL (
  SELECT p.time FROM points.mem p
  WHERE p.series_id = s.id AND p.time > now() - interval '30 days' ORDER BY p.time DESC LIMIT 1
) l
WHERE s.host IS NOT NULL GROUP BY 1"""
"""When each host was seen last, of those seen in 30 days: one look into the index for each."""


def gauge(measurement: str, columns: str, where: str = "true", by: str = "") -> str:
    """Columns over time; with `by`, an expression for the name of the series, a line for each of its values."""
    label = f"{by} AS metric, " if by else ""
    return (
        f"SELECT time_bucket('$__interval', time) AS time, {label}{columns}\n"
        f"FROM metrics.{measurement}_at('$__interval')\n"
        f"WHERE $__timeFilter(time) AND {where}\n"
        f"GROUP BY 1{', 2' if by else ''} ORDER BY 1"
    )


def rate(measurement: str, fields: Sequence[str], where: str = "true", by: str = "''") -> str:
    """Counters as increases a second, of each series by itself, then added up by `by`; one that began anew has none."""
    passed = ", ".join(f"{field} - lag({field}) OVER series AS {field}" for field in fields)
    highest = ", ".join(f"max({field}) AS {field}" for field in fields)
    rates = ", ".join(f"sum({field} / seconds) FILTER (WHERE {field} >= 0) AS {field}" for field in fields)
    present = " OR ".join(f"{field} IS NOT NULL" for field in fields)
    return (
        f"WITH highest AS (\n"
        f"  SELECT time_bucket('$__interval', time) AS time, host, tags, {highest}\n"
        f"  FROM metrics.{measurement}_at('$__interval', 'max')\n"
        f"  WHERE $__timeFilter(time) AND {where} AND ({present}) GROUP BY 1, 2, 3\n"
        f"), passed AS (\n"
        f"  SELECT time, host, tags, extract(epoch FROM time - lag(time) OVER series)::float8 AS seconds, {passed}\n"
        f"  FROM highest WINDOW series AS (PARTITION BY tags ORDER BY time)\n"
        f")\n"
        f"SELECT time, {by} AS metric, {rates} FROM passed WHERE seconds > 0 GROUP BY 1, 2 ORDER BY 1"
    )


def quantiles(histogram: str, where: str = "true", shares: Sequence[float] = (0.5, 0.99)) -> str:
    """Quantiles of a histogram of ours over time, linear within a bucket; past the last bound, that bound.

    `where` is about tags. It waits until windows are made: PostgreSQL cannot know how many series it leaves, takes them
    for one, and would read a rollup once for each.
    """
    columns = ", ".join(
        f"min(lower_bound + (upper_bound - lower_bound)\n"
        f"    * greatest({share} * total - below, 0) / nullif(passed - below, 0))\n"
        f'    FILTER (WHERE passed >= {share} * total) AS "p{share * 100:g}"'
        for share in shares
    )
    return (
        f"WITH highest AS MATERIALIZED (\n"
        f"  SELECT time_bucket('$__interval', time) AS time, tags, max({histogram}_bucket) AS count\n"
        f"  FROM metrics.tidemark_at('$__interval', 'max')\n"
        f"  WHERE $__timeFilter(time) AND {histogram}_bucket IS NOT NULL GROUP BY 1, 2\n"
        f"), increases AS (\n"
        f"  SELECT time, (tags->>'le')::float8 AS le,\n"
        f"    greatest(count - lag(count) OVER (PARTITION BY tags ORDER BY time), 0) AS n FROM highest\n"
        f"  WHERE {where}\n"
        f"), buckets AS (\n"
        f"  SELECT time, le, sum(n) AS passed FROM increases WHERE n IS NOT NULL GROUP BY 1, 2\n"
        f"), bounded AS (\n"
        f"  SELECT time, passed, coalesce(lag(passed) OVER bounds, 0) AS below,\n"
        f"    max(passed) OVER (PARTITION BY time) AS total,\n"
        f"    coalesce(lag(le) OVER bounds, 0) AS lower_bound,\n"
        f"    CASE WHEN le = 'Infinity' THEN coalesce(lag(le) OVER bounds, 0) ELSE le END AS upper_bound\n"
        f"  FROM buckets WINDOW bounds AS (PARTITION BY time ORDER BY le)\n"
        f")\n"
        f"SELECT time, {columns}\n"
        f"FROM bounded WHERE total > 0 GROUP BY 1 ORDER BY 1"
    )


def top(measurement: str, value: str, where: str = "true") -> str:
    """The ten hosts with the highest value over the range."""
    return (
        f"SELECT host, {value} AS value FROM metrics.{measurement}_at('$__interval')\n"
        f"WHERE $__timeFilter(time) AND host IS NOT NULL AND {where}\n"
        f"GROUP BY 1 HAVING {value} IS NOT NULL ORDER BY 2 DESC LIMIT 10"
    )


def forecast(where: str) -> str:
    """Filesystems, how full they are, and in how many seconds they will be full if it goes on as over the range."""
    return (
        f"SELECT host, path, used, free,\n"
        f"  -slope * 86400 AS daily, CASE WHEN slope < 0 THEN free / -slope END AS full_in\n"
        f"FROM (\n"
        f"  SELECT host, tags->>'path' AS path, regr_slope(free, extract(epoch FROM time)::float8) AS slope,\n"
        f"    (array_agg(used_percent ORDER BY time DESC))[1] AS used,\n"
        f"    (array_agg(free ORDER BY time DESC))[1] AS free\n"
        f"  FROM metrics.disk_at('$__interval') WHERE $__timeFilter(time) AND {where} AND free IS NOT NULL\n"
        f"  GROUP BY 1, 2\n"
        f") disks ORDER BY full_in NULLS LAST, used DESC"
    )


def trend_lines(measurement: str, field: str, where: str, by: str, between: tuple[float, float]) -> str:
    """The line of least squares through the values of a field, drawn to the end of the range while it is `between`.

    A range that ends in the future shows what will be if it goes on so. The names end in `forecast`.
    """
    start, end = "$__timeFrom()::timestamptz", "$__timeTo()::timestamptz"
    return (
        f"WITH lines AS (\n"
        f"  SELECT {by} AS metric, regr_slope({field}, x) AS slope, regr_intercept({field}, x) AS value\n"
        f"  FROM (\n"
        f"    SELECT tags, {field}, extract(epoch FROM time - {end})::float8 AS x\n"
        f"    FROM metrics.{measurement}_at('$__interval') WHERE $__timeFilter(time) AND {where}\n"
        f"  ) points GROUP BY 1\n"
        f"), drawn AS (\n"
        f"  SELECT time, metric, value + slope * extract(epoch FROM time - {end})::float8 AS forecast\n"
        f"  FROM lines, generate_series({start}, {end}, ({end} - {start}) / {LINE_STEPS}) AS time\n"
        f")\n"
        f"SELECT time, metric || ' forecast' AS metric, forecast FROM drawn\n"
        f"WHERE forecast BETWEEN {between[0]:g} AND {between[1]:g} ORDER BY 1"
    )
