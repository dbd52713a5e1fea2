"""Aggregates over TimescaleDB's own rollups, where a server has them."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from psycopg import sql

from sql import rollups
from tests.held_commit import held_commit
from tests.integration.query.conftest import Database, Query
from tests.integration.query.reference import Ask, Point, assert_same, expected

pytestmark = [pytest.mark.community, pytest.mark.usefixtures("without_jobs")]

MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
DAYS = 4
START = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) - (DAYS + 2) * 24 * HOUR
"""Points of that age are kept."""
HOSTS = tuple("abcd")
STEPS = (None, "10m", "15m", "1h", "90m", "6h", "1d", "1mo")
ROLLED_UP = ("avg", "min", "max", "sum", "count")


@pytest.fixture
def without_jobs(stored: Database) -> None:
    """No job refreshes what a test writes and refreshes: its first run may not see what is committed meanwhile."""
    stored.execute("SELECT _timescaledb_functions.stop_background_workers()")


def at(minutes: float) -> datetime:
    """Some minutes after START."""
    return START + minutes * MINUTE


def point(host: str, minutes: float, **fields: float) -> Point:
    """A host's point."""
    return Point((("host", host), ("region", "eu" if host < "c" else "us")), at(minutes), fields)


def fleet() -> list[Point]:
    """Points of all hosts but the last, some minutes apart."""
    return [
        point(host, minute + rank, x=float((minute * 31 + rank) % 101)) if minute % 5 else
        point(host, minute + rank, x=float(minute % 77), y=minute / 7)
        for rank, host in enumerate(HOSTS[:-1])
        for minute in range(0, DAYS * 24 * 60, 13)
    ]  # fmt: skip


def refresh(stored: Database, start: datetime | None, end: datetime | None, *sizes: str) -> None:
    """Refresh rollups of these widths as their jobs do, those of an hour after those they are made of; settle them."""
    with psycopg.connect(stored.url, autocommit=True) as connection:
        views = connection.execute(
            "SELECT view_name FROM catalog.rollup WHERE width = ANY (%s) ORDER BY width", (list(sizes),)
        ).fetchall()
        for (view,) in views:
            name = sql.Identifier("rollups", view).as_string(connection)
            connection.execute(
                "CALL refresh_continuous_aggregate(%s, %s::timestamptz, %s::timestamptz)", (name, start, end)
            )
        settle(connection)


def settle(connection: psycopg.Connection) -> None:
    """Settle all rollups, as maintenance does."""
    for repeat in rollups.unsettled(connection):
        rollups.settle(connection, repeat)


def random_ask(chosen: random.Random) -> Ask:
    """Any request over the days that there are points of."""
    low, high = sorted(chosen.choice((1, 10, 60)) * chosen.randrange(DAYS * 24) * chosen.random() for _ in range(2))
    start, end = chosen.choice(((low, high), (round(low / 60) * 60, round(high / 60) * 60 + 600), (0, DAYS * 1440)))
    fns = chosen.sample(ROLLED_UP, chosen.randint(1, 5)) + chosen.choice(([], [], ["last"], ["p75"], ["stddev"]))
    return Ask(
        tuple(chosen.sample(("x", "y"), chosen.randint(1, 2))),
        tuple(fns),
        at(start),
        at(end + 1),
        by=chosen.choice(((), ("host",), ("region",))),
        step=chosen.choice(STEPS),
        tz=chosen.choice((None, "Europe/Berlin", "Asia/Kathmandu")),
        match=chosen.choice(((), (("host", "=", "b"),), (("host", "=~", "[a-c]"),))),
    )


@pytest.mark.parametrize("seed", range(4))
async def test_composed_answers_are_those_of_points(query: Query, stored: Database, seed: int) -> None:
    """While late points come and rollups are refreshed here and there, every answer is that of plain Python."""
    chosen = random.Random(seed)
    points = fleet()
    stored.store("m", points)
    taken = {(one.tags, one.time) for one in points}
    sources: set[str] = set()
    refresh(stored, None, at(chosen.randrange(DAYS * 24) * 60), "10m", "1h")
    for _ in range(40):
        if chosen.random() < 0.4:
            late = [
                point(chosen.choice(HOSTS), chosen.random() * DAYS * 1440, **chosen.choice(({"x": 99.0}, {"y": -3.5})))
                for _ in range(chosen.randint(1, 5))
            ]
            stored.store("m", fresh := [one for one in late if (one.tags, one.time) not in taken])
            points += fresh
        if chosen.random() < 0.4:
            begin = chosen.randrange(DAYS * 24) * 60
            length = chosen.choice((60, 600, 6000))
            refresh(stored, at(begin), at(begin + length), *chosen.choice((("10m",), ("1h",), ("10m", "1h"))))
        wanted = random_ask(chosen)
        answer = await query.aggregate(**wanted.parameters("m"))
        assert_same(answer, expected(points, wanted))
        sources.update(answer["source"])
    assert sources == {"m_1h", "m_10m", "raw"}


async def test_a_field_that_came_later(query: Query, stored: Database) -> None:
    """It is read from the points until a rollup of its own has it, and with the others from then on."""
    points = fleet()
    stored.store("m", points)
    later = [point("a", minute + 0.5, z=float(minute)) for minute in range(5, 2000, 50)]
    stored.store("m", later)
    refresh(stored, None, None, "10m", "1h")
    wanted = Ask(("x", "z"), ("sum", "max"), at(0), at(DAYS * 1440), by=("host",), step="1h")
    answer = await query.aggregate(**wanted.parameters("m"))
    assert_same(answer, expected(points + later, wanted))
    assert answer["source"] == ["m_1h", "raw"]
    stored.execute("UPDATE catalog.field SET created_at = now() - interval '1 day'")
    stored.execute("SELECT catalog.apply_policy('m')")
    refresh(stored, None, None, "10m", "1h")
    answer = await query.aggregate(**wanted.parameters("m"))
    assert_same(answer, expected(points + later, wanted))
    assert answer["source"] == ["m_1h"]


async def test_points_that_were_dropped(query: Query, stored: Database) -> None:
    """Rollups answer for them, in the same numbers as before."""
    points = fleet()
    stored.store("m", points)
    refresh(stored, None, None, "10m", "1h")
    cut = at(2 * 1440)
    stored.execute("SELECT drop_chunks('points.m', older_than => %s)", cut)
    stored.execute("UPDATE catalog.retention SET dropped_before = %s", cut)
    whole = Ask(("x", "y"), ROLLED_UP, START, at(DAYS * 1440))
    for step in (None, "10m", "1h", "1d", "1mo"):
        wanted = replace(whole, step=step)
        answer = await query.aggregate(**wanted.parameters("m"))
        assert_same(answer, expected(points, wanted))
        assert "warnings" not in answer
    answer = await query.aggregate(metric="m.x", fn="last", start=START.isoformat(), end=at(1440).isoformat())
    assert (answer["series"], answer["source"]) == ([], [])
    assert "last cannot be had of them" in answer["warnings"][0]


async def test_points_that_commit_while_they_are_rolled_up(query: Query, stored: Database) -> None:
    """TimescaleDB hears of them too late to log them; every answer has them from their commit on."""
    points = fleet()
    stored.store("m", points)
    wanted = Ask(("x", "y"), ROLLED_UP, at(0), at(DAYS * 1440), by=("host",), step="1h")
    with psycopg.connect(stored.url) as connection:
        ids: dict[str, int] = dict(connection.execute("SELECT host, id FROM catalog.series").fetchall())
    late = [point("a", minute + 0.5, x=1000.0) for minute in range(0, DAYS * 1440, 60)]

    def write(connection: psycopg.Connection) -> None:
        for one in late:
            connection.execute("INSERT INTO points.m (time, series_id, x) VALUES (%s, %s, 1000)", (one.time, ids["a"]))
        # Whoever writes late says so, for the windows that are kept of answers.
        connection.execute(
            "SELECT catalog.note_late('{m}', ARRAY[extract(epoch FROM %s) * 1000000]::bigint[],"
            "                         ARRAY[extract(epoch FROM %s) * 1000000]::bigint[])",
            (late[0].time, late[-1].time),
        )

    with held_commit(stored.url, write), psycopg.connect(stored.url, autocommit=True) as connection:
        for (view,) in connection.execute("SELECT view_name FROM catalog.rollup ORDER BY width").fetchall():
            connection.execute("CALL refresh_continuous_aggregate(%s, NULL, NULL)", (f"rollups.{view}",))
        answer = await query.aggregate(**wanted.parameters("m"))
        assert_same(answer, expected(points, wanted))
    answer = await query.aggregate(**wanted.parameters("m"))
    assert_same(answer, expected(points + late, wanted))
    assert answer["source"] == ["raw"]
    with psycopg.connect(stored.url, autocommit=True) as connection:
        settle(connection)
    answer = await query.aggregate(**wanted.parameters("m"))
    assert_same(answer, expected(points + late, wanted))
    assert answer["source"] == ["m_1h"]
