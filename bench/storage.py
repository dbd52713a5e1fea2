"""Measures what policies make of stored data: bytes a value, the time to compress a day, and what rollups are worth.

    python -m bench.storage [--hosts 1000] [--fleet 100] [--days 90] [--times 7] [--json FILE]

Needs TimescaleDB's community edition, by `DATABASE_URL`: a database of its own is made there, and dropped in the end.
All values are random integers from 0 to 100, as those of `bench.generate` are, put there by INSERT. *day*: a day of the
nine measurements of `--hosts` hosts, one measurement after the other, a reading every ten seconds; bytes are those of
tables and indexes, seconds those of the policy's job, which compresses it all. A thousand hosts take ten minutes and
up to 4 GB of disk at a time. *latency*: the average of a field for each of `--fleet` hosts, a reading a minute for
`--days`, by the API, of raw points and as the planner answers, the median of `--times`; and the bytes of the rollups.
With `--hosts 0` or `--days 0` that part is left out.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from bench import generate, systems
from bench.generate import CPU_FIELDS, NINE, READING_SECONDS
from bench.ingest import DAY, START, Server
from sql import rollups
from sql.migrate import migrate

HOUR = 3600
SLICE_ROWS = 2_000_000
"""How many rows one INSERT has at most."""
LATENCY_STEP_SECONDS = 60

SPANS = {"1 h": (HOUR, "10m"), "24 h": (DAY, "1h"), "7 d": (7 * DAY, "6h"), "90 d": (90 * DAY, "1d")}
"""How far back is asked, and in windows of which length."""

SERIES = "SELECT catalog.ensure_series(%s, %s::text[]::jsonb[])"
KEEP = "INSERT INTO catalog.policy (pattern, retain_raw) VALUES (%s, 'forever')"
FILL = sql.SQL(
    "INSERT INTO {points} (time, series_id, {fields}) SELECT to_timestamp(moment), id, {values} "
    "FROM generate_series({start}, {end} - 1, {step}) AS moment CROSS JOIN unnest({ids}::int[]) AS id"
)
VALUE = sql.SQL("floor(random() * 101)")
JOBS = """
    SELECT job_id FROM timescaledb_information.jobs
    LEFT JOIN catalog.rollup r ON hypertable_schema = 'rollups' AND hypertable_name = view_name
    WHERE proc_name = %(job)s AND (
        hypertable_schema = 'points' AND hypertable_name = %(measurement)s
        OR r.measurement_id = (SELECT id FROM catalog.measurement WHERE name = %(measurement)s))
    ORDER BY r.width
"""
COMPRESS, REFRESH = "policy_compression", "policy_refresh_continuous_aggregate"

Figures = dict[str, Any]
Connection = psycopg.Connection[Any]


@dataclass(frozen=True)
class Points:
    """What is stored: readings of a measurement from `start` to `end` (Unix seconds), a step apart, of each host."""

    measurement: str
    fields: Sequence[str]
    hosts: int
    start: int
    end: int
    step: int

    @property
    def rows(self) -> int:
        """Its number of rows."""
        return self.hosts * ((self.end - self.start) // self.step)

    @property
    def values(self) -> int:
        """Its number of values."""
        return self.rows * len(self.fields)


def main() -> None:
    """Measure, print the table and the JSON."""
    parser = argparse.ArgumentParser(description="Measure compression and rollups.")
    parser.add_argument("--hosts", type=int, default=1000, help="hosts of the day that is compressed; 0: none is")
    parser.add_argument("--fleet", type=int, default=100, help="hosts of the latencies")
    parser.add_argument("--days", type=int, default=90, help="days of the latencies; 0: none are measured")
    parser.add_argument("--times", type=int, default=7, help="how often each question is asked")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    chosen = parser.parse_args()
    with database() as url:
        figures = measure(url, chosen.hosts, chosen.fleet, chosen.days, chosen.times)
    print(table(figures))
    print(json.dumps(figures))
    if chosen.json:
        chosen.json.write_text(json.dumps(figures, indent=2) + "\n")


@contextmanager
def database(name: str = "bench_storage") -> Iterator[str]:
    """The address of a migrated database of the benchmark's own, in which no job runs by itself."""
    server_url = os.environ.get("DATABASE_URL")
    if not server_url:
        raise SystemExit("this benchmark needs DATABASE_URL: a server with TimescaleDB's community edition")
    url = Server(server_url, os.getpid()).database(name)
    try:
        migrate(url)
        with psycopg.connect(url, autocommit=True) as connection:
            if (edition := _one(connection, "SELECT catalog.edition() ->> 'edition'")) != "community":
                raise SystemExit(
                    f"the server at DATABASE_URL has TimescaleDB's {edition} edition, which neither compresses nor "
                    "rolls up: this benchmark needs the community edition"
                )
            connection.execute("SELECT _timescaledb_functions.stop_background_workers()")
        yield url
    finally:
        with psycopg.connect(server_url, autocommit=True) as server:
            server.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))


def measure(url: str, hosts: int, fleet: int, days: int, times: int) -> Figures:
    """All figures."""
    with psycopg.connect(url, autocommit=True) as connection:
        figures: Figures = {"server": _one(connection, "SELECT catalog.edition()")}
        if hosts:
            figures["day"] = {"hosts": hosts, "measurements": compress_days(connection, hosts)}
        if days:
            figures["latency"] = {"hosts": fleet, "days": days, **latency(connection, url, fleet, days, times)}
    return figures


def compress_days(connection: Connection, hosts: int) -> Figures:
    """A day of each of the nine measurements: its values and bytes, before and after, and how long the job takes."""
    found = {name: compress_day(connection, name, fields, hosts) for name, fields in NINE.items()}
    found["all"] = {
        key: sum(one[key] for one in found.values()) for key in ("rows", "values", "before", "after", "seconds")
    }
    for one in found.values():
        one["before_a_value"], one["after_a_value"] = one["before"] / one["values"], one["after"] / one["values"]
    return found


def compress_day(connection: Connection, measurement: str, fields: Sequence[str], hosts: int) -> Figures:
    """The policy's job on a day of one measurement."""
    points = Points(measurement, fields, hosts, START, START + DAY, READING_SECONDS)
    fill(connection, points)
    before = _size(connection, points)
    seconds = run_jobs(connection, measurement, COMPRESS)
    after = _size(connection, points)
    _drop(connection, points)
    return {"rows": points.rows, "values": points.values, "before": before, "after": after, "seconds": seconds}


def latency(connection: Connection, url: str, hosts: int, days: int, times: int) -> Figures:
    """Milliseconds of raw points, and as the planner answers."""
    end = int(time.time()) // HOUR * HOUR - HOUR
    points = Points("cpu", CPU_FIELDS, hosts, end - days * DAY, end, LATENCY_STEP_SECONDS)
    connection.execute(KEEP, (points.measurement,))
    fill(connection, points)
    refreshed = run_jobs(connection, points.measurement, REFRESH)
    before = rollup_sizes(connection)
    run_jobs(connection, points.measurement, COMPRESS)
    after = rollup_sizes(connection)
    connection.execute("VACUUM (ANALYZE)")
    found: Figures = {}
    with systems.query(url, QUERY_CACHE="off") as port:
        for name, (seconds, step) in SPANS.items():
            if seconds <= days * DAY:
                found[name] = {"step": step, **_ask(port, end - seconds, end, step, times)}
    return {
        "rows": points.rows,
        "refresh_seconds": refreshed,
        "rollups": {width: {"before": before[width], "after": after[width]} for width in before},
        "spans": found,
    }


def rollup_sizes(connection: Connection) -> dict[str, int]:
    """Bytes of the rollups, by width."""
    return dict(connection.execute("SELECT width, bytes FROM catalog.rollup_report()").fetchall())


def fill(connection: Connection, points: Points) -> None:
    """Make the measurement and its series, and store its rows in the order in which they would come."""
    _say(f"{points.measurement}: {points.rows:,} rows of {len(points.fields)} fields")
    connection.execute("SELECT FROM catalog.ensure_fields(%s, %s)", (points.measurement, list(points.fields)))
    heads = [generate.parts(f"cpu,{generate.tags(host)} f=0i 0")["tags"] for host in range(points.hosts)]
    ids = _one(connection, SERIES, (points.measurement, [json.dumps(tags) for tags in heads]))
    connection.execute("SELECT setseed(0.5)")
    slice_seconds = max(1, SLICE_ROWS // points.hosts) * points.step
    for start in range(points.start, points.end, slice_seconds):
        statement = FILL.format(
            points=sql.Identifier("points", points.measurement),
            fields=sql.SQL(", ").join(map(sql.Identifier, points.fields)),
            values=sql.SQL(", ").join([VALUE] * len(points.fields)),
            start=sql.Literal(start),
            end=sql.Literal(min(points.end, start + slice_seconds)),
            step=sql.Literal(points.step),
            ids=sql.Literal(ids),
        )
        connection.execute(statement)
    connection.execute(sql.SQL("VACUUM (ANALYZE) {}").format(sql.Identifier("points", points.measurement)))


def run_jobs(connection: Connection, measurement: str, job: str) -> float:
    """Run the jobs of a kind of a measurement, one after the other, and settle what they refresh; the jobs' seconds."""
    parameters = {"job": job, "measurement": measurement}
    jobs = connection.execute(JOBS.encode(), parameters).fetchall()
    if not jobs:
        raise SystemExit(f"{measurement} has no job {job}")
    began = time.perf_counter()
    for (job_id,) in jobs:
        connection.execute("CALL public.run_job(%s)", (job_id,))
    seconds = time.perf_counter() - began
    while not _settled(connection):
        pass
    return seconds


def _settled(connection: Connection) -> bool:
    """Settle what was refreshed; False when the server, whose own jobs do the same, has ended this in favour of one."""
    try:
        for repeat in rollups.unsettled(connection):
            rollups.settle(connection, repeat)
    except psycopg.errors.DeadlockDetected:
        return False
    return True


def _size(connection: Connection, points: Points) -> int:
    relation = sql.Identifier("points", points.measurement).as_string()
    return int(_one(connection, "SELECT hypertable_size(%s::regclass)", (relation,)))


def _drop(connection: Connection, points: Points) -> None:
    connection.execute("SELECT catalog.drop_measurement(%s)", (points.measurement,))


def _one(connection: Connection, statement: str, parameters: Sequence[Any] = ()) -> Any:
    row = connection.execute(statement.encode(), parameters).fetchone()
    assert row is not None
    return row[0]


def _ask(port: int, start: int, end: int, step: str, times: int) -> Figures:
    """The same question of both, by turns; medians, and what each was answered from."""
    took: dict[str, list[float]] = {"raw": [], "auto": []}
    sources: dict[str, list[str]] = {}
    for _ in range(times + 1):
        for resolution, each in took.items():
            params = {"metric": "cpu.usage_user", "by": "host", "start": start, "end": end, "step": step}
            target = f"/api/v1/aggregate?{urllib.parse.urlencode({**params, 'resolution': resolution})}"
            began = time.perf_counter()
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{target}", timeout=300) as answer:
                body = answer.read()
            each.append((time.perf_counter() - began) * 1000)
            sources[resolution] = json.loads(body)["source"]
    median = {name: statistics.median(each[1:]) for name, each in took.items()}  # the first fills PostgreSQL's caches
    return {"raw_ms": median["raw"], "auto_ms": median["auto"], "auto_source": sources["auto"]}


def table(figures: Figures) -> str:
    """The figures for people."""
    server = figures["server"]
    lines = [f"TimescaleDB {server['timescaledb']} on PostgreSQL {server['postgresql']}"]
    if day := figures.get("day"):
        lines += [
            f"a day of {day['hosts']} hosts",
            f"{'':12}{'bytes a value':>14}{'after':>7}{'MB':>10}{'after':>9}{'seconds':>9}{'M values/s':>12}",
        ]
        for name, one in day["measurements"].items():
            lines.append(
                f"{name:12}{one['before_a_value']:>14.2f}{one['after_a_value']:>7.2f}"
                f"{one['before'] / 1e6:>10,.0f}{one['after'] / 1e6:>9,.0f}"
                f"{one['seconds']:>9.1f}{one['values'] / one['seconds'] / 1e6:>12.1f}"
            )
    if rollups := figures.get("latency"):
        lines += [
            f"{rollups['days']} days of {rollups['hosts']} hosts, {rollups['rows']:,} rows, are rolled up in "
            f"{rollups['refresh_seconds']:.1f} s: "
            + ", ".join(
                f"{width} {one['before'] / 1e6:,.0f} MB, compressed {one['after'] / 1e6:,.0f} MB"
                for width, one in rollups["rollups"].items()
            ),
            f"{'average by host':16}{'raw ms':>10}{'auto ms':>10}",
        ]
        for name, one in rollups["spans"].items():
            lines.append(
                f"{name + ' by ' + one['step']:16}{one['raw_ms']:>10.1f}{one['auto_ms']:>10.1f}   "
                f"from {', '.join(one['auto_source'])}"
            )
    return "\n".join(lines)


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")


if __name__ == "__main__":
    main()
