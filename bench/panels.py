"""Measures dashboards: how long each panel's statement takes over 1 h, 24 h, 30 d and 90 d, as Grafana sends it.

    python -m bench.panels [--hosts 20] [--days 90] [--times 3] [--json FILE]

Needs TimescaleDB's community edition, by `DATABASE_URL`: a database of its own is made there, and dropped in the end.
It gets what this host's agent reads, as if `--hosts` hosts had sent it for `--days`: every ten seconds of the last day,
as agents do; before that every ten minutes of a month, and every hour, of which the rollups that are read there have as
many rows as of more readings. All is rolled up and compressed. What is told is the median of `--times` in milliseconds,
after one that is not counted. Ends with 1 when a panel takes more than a second.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql
from psycopg.types.json import Jsonb

from bench.macros import RANGES, Panel
from bench.readings import host_points, instrument_points, own_registries, touch
from bench.storage import COMPRESS, database, run_jobs
from grafana.__main__ import dashboards, text
from ingest.agent.points import Point

LIMIT_MILLISECONDS = 1000.0
STEPS = (
    (timedelta(0), timedelta(days=1), "10 seconds"),
    (timedelta(days=1), timedelta(days=31), "10 minutes"),
    (timedelta(days=31), timedelta.max, "1 hour"),
)
"""From how long ago to how long ago readings are how far apart."""
ROLLUPS = """
    SELECT r.id, format('rollups.%%I', r.view_name)
    FROM catalog.rollup r JOIN catalog.measurement m ON m.id = r.measurement_id
    WHERE m.name = %s ORDER BY r.width, r.id -- an hour is made of its ten minutes
"""
REFRESH = "CALL public.refresh_continuous_aggregate(%s, %s::timestamptz, %s::timestamptz)"
PIECE = timedelta(days=7)
"""How much is rolled up at once: of all, a group for each window and series would need gigabytes."""
SETTLE = "SELECT catalog.settle_rollup(%s, %s)"
FILLERS = 2
"""How many measurements are made at a time."""
MEASUREMENTS = ["cpu", "mem", "disk"]
FILL = sql.SQL(
    "INSERT INTO {points} (time, series_id, {columns}) SELECT moment, id, {grown} "
    "FROM unnest({arrays}) AS s (id, {columns}), ("
    "SELECT moment, 1 + extract(epoch FROM moment - %(zero)s)::float8 / %(length)s AS growth FROM "
    "generate_series(%(start)s::timestamptz, %(end)s - interval '1 microsecond', %(step)s::interval) moment OFFSET 0) m"
)
"""Counters and gauges grow alike, to twice what was read; OFFSET has the growth of a moment computed once."""
GROWN = sql.SQL("{column} * growth")

Figures = dict[str, Any]
Connection = psycopg.Connection[Any]


def main() -> None:
    """Measure, print the table and the JSON."""
    parser = argparse.ArgumentParser(description="Measure how long the dashboards' statements take.")
    parser.add_argument("--hosts", type=int, default=20)
    parser.add_argument("--days", type=int, default=90)
    parser.add_argument("--times", type=int, default=3, help="how often each statement is counted")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    chosen = parser.parse_args()
    now = datetime.now(UTC).replace(second=0, microsecond=0)
    with database("bench_panels") as url, psycopg.connect(url, autocommit=True) as connection:
        rows = fill(url, chosen.hosts, timedelta(days=chosen.days), now)
        figures = {"hosts": chosen.hosts, "days": chosen.days, "rows": rows, "ms": ask(connection, now, chosen.times)}
    print(table(figures))
    print(json.dumps(figures))
    if chosen.json:
        chosen.json.write_text(json.dumps(figures, indent=2) + "\n")
    if slow := [name for name, one in figures["ms"].items() if max(one.values()) > LIMIT_MILLISECONDS]:
        raise SystemExit(f"more than a second: {', '.join(slow)}")


def fill(url: str, hosts: int, length: timedelta, now: datetime) -> int:
    """Store what the panels read, as it would be by now; how many rows that is."""
    series: defaultdict[str, list[Point]] = defaultdict(list)
    for instance, registry in own_registries():
        touch(registry)
        for point in instrument_points(registry, instance):
            series[point.measurement].append(_of(point, "host_0"))
    for point in host_points():
        series[point.measurement] += [_of(point, f"host_{number}") for number in range(hosts)]

    def make(measurement: str) -> int:
        with psycopg.connect(url, autocommit=True) as connection:
            rows = _store(connection, measurement, series[measurement], now - length, now)
            _roll_up(connection, measurement, now - length, now)
            run_jobs(connection, measurement, COMPRESS)
        _say(f"{measurement}: {len(series[measurement])} series, {rows:,} rows")
        return rows

    with ThreadPoolExecutor(FILLERS) as pool:
        rows = sum(pool.map(make, series))  # the services' own first: they have the most fields by far
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("VACUUM (ANALYZE)")
    return rows


def _roll_up(connection: Connection, measurement: str, start: datetime, end: datetime) -> None:
    """Up to the last full hour; nobody else writes here, so what was refreshed is settled."""
    end = end.replace(minute=0)
    bounds = [end - n * PIECE for n in reversed(range((end - start) // PIECE + 1))]
    for rollup, view in connection.execute(ROLLUPS, (measurement,)).fetchall():
        for low, high in pairwise([None, *bounds]):  # from the first chunk on, which begins before its points
            connection.execute(REFRESH, (view, low, high))
        connection.execute(SETTLE, (rollup, end))


def _of(point: Point, host: str) -> Point:
    return Point(point.measurement, point.fields, {**point.tags, "host": host})


def _store(connection: Connection, measurement: str, points: list[Point], start: datetime, end: datetime) -> int:
    names = list(dict.fromkeys(name for point in points for name in point.fields))
    found = connection.execute("SELECT * FROM catalog.ensure_fields(%s, %s)", (measurement, names)).fetchall()
    columns = sql.SQL(", ").join(sql.Identifier(dict(found)[name]) for name in names)
    tags = [Jsonb(dict(point.tags)) for point in points]
    row = connection.execute("SELECT catalog.ensure_series(%s, %s)", (measurement, tags)).fetchone()
    assert row is not None
    arrays = sql.SQL(", ").join(
        sql.Literal([float(one.fields[name]) if name in one.fields else None for one in points]) + sql.SQL("::float8[]")
        for name in names
    )
    statement = FILL.format(
        points=sql.Identifier("points", measurement),
        columns=columns,
        grown=sql.SQL(", ").join(GROWN.format(column=sql.Identifier(dict(found)[name])) for name in names),
        arrays=sql.SQL("%(ids)s::int[], ") + arrays,
    )
    stored = 0
    for newest, oldest, step in STEPS:
        first = max(start, end - oldest) if oldest != timedelta.max else start
        values = {"ids": row[0], "start": first, "end": end - newest, "step": step, "zero": start}
        stored += connection.execute(statement, {**values, "length": (end - start).total_seconds()}).rowcount
    return stored


def ask(connection: Connection, now: datetime, times: int) -> dict[str, dict[str, float]]:
    """The milliseconds of each panel's statements, one after the other, by range; as Grafana's role."""
    found: defaultdict[str, dict[str, float]] = defaultdict(dict)
    connection.execute("SET ROLE grafana_reader")
    variables = {"host": "host_1", "measurement": MEASUREMENTS}
    for dashboard in dashboards().values():
        for panel in json.loads(text(dashboard))["panels"]:
            statements = [target["rawSql"] for target in panel.get("targets", ())]
            for name, (length, interval) in RANGES.items() if statements else ():
                expand = Panel(now - length, now, interval, variables).expand
                took = [_run(connection, list(map(expand, statements))) for _ in range(times + 1)]
                found[f"{dashboard.title}: {panel['title']}"][name] = statistics.median(took[1:])
    connection.execute("RESET ROLE")
    return dict(found)


def _run(connection: Connection, statements: list[str]) -> float:
    began = time.perf_counter()
    for statement in statements:
        connection.execute(statement.encode(), prepare=False).fetchall()
    return (time.perf_counter() - began) * 1000


def table(figures: Figures) -> str:
    """The figures for people: the slowest panels first."""
    lines = [
        f"{figures['days']} days of {figures['hosts']} hosts, {figures['rows']:,} rows",
        f"{'median ms':60}" + "".join(f"{name:>10}" for name in RANGES),
    ]
    for name, one in sorted(figures["ms"].items(), key=lambda panel: -max(panel[1].values())):
        lines.append(f"{name:60}" + "".join(f"{one[span]:>10.1f}" for span in RANGES))
    return "\n".join(lines)


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")


if __name__ == "__main__":
    main()
