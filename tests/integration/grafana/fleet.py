"""Ninety days of a fleet: what the agent really reads of this host, under several names, and what the generator makes.

The newest hour has a reading a minute, the newest day one in 15 minutes, the month one in six hours, and what is before
one a day. Counters and gauges grow from reading to reading, and what is free on disks shrinks.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import NamedTuple

import psycopg
from psycopg import sql
from psycopg.types.json import Jsonb

from bench.generate import lines, nine, parts
from bench.readings import host_points, instrument_points, own_registries, touch
from ingest.agent.points import Point

HOSTS = ("web-1", 'o\'brien "$x" & co')
SILENT = "gone"
FILLING = "filling"
MINUTE = timedelta(minutes=1)
VALUES_A_STATEMENT = 1500
"""More make a message that the server in WebAssembly does not survive."""


class Row(NamedTuple):
    """One point as it is stored."""

    time: datetime
    tags: Mapping[str, str]
    fields: Mapping[str, float]


def moments(now: datetime) -> list[datetime]:
    """The times of the readings, oldest first."""
    steps = ((90, 1440 * MINUTE), (120, 360 * MINUTE), (96, 15 * MINUTE), (60, MINUTE))
    return sorted({now - n * step for count, step in steps for n in range(1, count + 1)})


def grown(point: Point, share: float, boot_time: float) -> dict[str, float]:
    """A point's fields after `share` (0 to 1) of the ninety days."""
    fields = {name: value * (1 + share) for name, value in point.fields.items()}
    if point.measurement == "disk":
        fields |= {"free": point.fields["free"] * (1 - share / 2), "used_percent": 40 + 40 * share}
    if point.measurement == "cpu":
        fields = dict(point.fields)
    if point.measurement == "kernel":
        fields["boot_time"] = boot_time
    return fields


def rows(now: datetime, every: int = 1) -> Iterator[tuple[str, Row]]:
    """All that is stored, by measurement; of the readings each `every`th."""
    read = host_points()
    registries = own_registries()
    times = moments(now)[::every]
    boot_time = (now - 20 * MINUTE).timestamp()
    for when in times:
        share = (when - times[0]) / (now - times[0])
        for host in (*HOSTS, SILENT):
            if host == SILENT and when > now - 30 * MINUTE:
                continue
            for point in read:
                yield (
                    point.measurement,
                    Row(when, {**point.tags, "host": host}, grown(point, share, boot_time)),
                )
        for instance, registry in registries:
            touch(registry)
            for point in instrument_points(registry, instance):
                yield point.measurement, Row(when, {**point.tags, "host": HOSTS[0]}, point.fields)
    for n in range(60):
        fields = {"free": 1e9 * n, "used_percent": 99.0, "total": 1e12}
        yield "disk", Row(now - n * MINUTE, {"host": FILLING, "path": "/full", "mode": "rw"}, fields)
    start = int((now - 30 * MINUTE).timestamp())
    for line in islice(lines(nine(3), start, 30), None):
        made = parts(line)
        yield made["measurement"], Row(datetime.fromtimestamp(made["time"], UTC), made["tags"], made["fields"])


def fill(url: str, now: datetime) -> None:
    """Write all of it into a database, as ingest does."""
    with psycopg.connect(url) as connection:
        store(connection, now)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("ANALYZE")


def store(connection: psycopg.Connection, now: datetime, every: int = 1) -> list[str]:
    """Write all of it, or of the readings each `every`th; the names of its measurements."""
    by_measurement: defaultdict[str, list[Row]] = defaultdict(list)
    for measurement, row in rows(now, every):
        by_measurement[measurement].append(row)
    for measurement, points in by_measurement.items():
        store_rows(connection, measurement, points)
    return list(by_measurement)


def store_rows(connection: psycopg.Connection, measurement: str, points: list[Row]) -> None:
    """Write points of a measurement, and make what they need."""
    names = list(dict.fromkeys(name for point in points for name in point.fields))
    tags = list(dict.fromkeys(tuple(sorted(point.tags.items())) for point in points))
    found = connection.execute("SELECT * FROM catalog.ensure_fields(%s, %s)", (measurement, names))
    columns: dict[str, str] = dict(found.fetchall())
    ((ids,),) = connection.execute(
        "SELECT catalog.ensure_series(%s, %s)", (measurement, [Jsonb(dict(one)) for one in tags])
    ).fetchall()
    series = dict(zip(tags, ids, strict=True))
    merged: dict[tuple[datetime, int], dict[str, float]] = defaultdict(dict)
    for point in points:
        merged[point.time, series[tuple(sorted(point.tags.items()))]] |= point.fields
    # An INSERT, since COPY ends the server in WebAssembly.
    arrays = sql.SQL(", ").join([sql.SQL("%s::timestamptz[], %s::int[]"), *[sql.SQL("%s::float8[]")] * len(names)])
    insert = sql.SQL("INSERT INTO {} (time, series_id, {}) SELECT * FROM unnest({})").format(
        sql.Identifier("points", measurement), _columns(columns[name] for name in names), arrays
    )
    stored = iter(merged.items())
    while some := list(islice(stored, VALUES_A_STATEMENT // len(names))):
        keys, fields = zip(*some, strict=True)
        moments_of, series_of = map(list, zip(*keys, strict=True))
        values = [[float(one[name]) if name in one else None for one in fields] for name in names]
        connection.execute(insert, [moments_of, series_of, *values])


def _columns(names: Iterable[str]) -> sql.Composed:
    return sql.SQL(", ").join(map(sql.Identifier, names))
