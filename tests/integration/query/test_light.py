from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from query.connection import Connection
from tests.integration.query.conftest import Database, Query, ServeQuery
from tests.integration.query.reference import Point

MIDNIGHT = datetime(2026, 3, 2, tzinfo=UTC)
HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)
RANGE = {"start": (MIDNIGHT - 10 * HOUR).isoformat(), "end": (MIDNIGHT + 10 * HOUR).isoformat()}
ASK: dict[str, Any] = {"metric": "cpu.user", "fn": "sum,count", "match": "host=a", "step": "5h", **RANGE}
OFTEN = 4
"""By then a statement is prepared, and its plan kept."""


def point(hours: float, user: float, *, host: str = "a", measurement: str = "cpu") -> tuple[str, list[Point]]:
    """A point so long after midnight."""
    return measurement, [Point((("host", host),), MIDNIGHT + hours * HOUR, {"user": user})]


@pytest.fixture
async def query(database: str, serve_query: ServeQuery) -> Query:
    """One that keeps no answers, and asks on one connection."""
    served = await serve_query(database, cache="off", connections=1)
    await served.until_ready()
    return served


async def windows(query: Query, **asked: Any) -> list[list[Any]]:
    """The windows of the one curve, each with its first hour after midnight; asked often, and always the same."""
    answers = [await query.aggregate(**{**ASK, **asked}) for _ in range(OFTEN)]
    assert all(answer == answers[0] for answer in answers)
    (series,) = answers[0]["series"]
    return [[(datetime.fromisoformat(at) - MIDNIGHT) / HOUR, *rest] for at, *rest in series["points"]]


async def values(query: Query, **asked: Any) -> list[float]:
    """Of the points themselves; asked often, and always the same."""
    asked = {"metric": "cpu.user", "match": "host=a", **RANGE, **asked}
    answers = [await query.get("/api/v1/points", asked) for _ in range(OFTEN)]
    assert all(answer == answers[0] for answer in answers)
    status, answer = answers[0]
    assert status == 200, answer
    return [row[-1] for row in answer["points"]]


async def test_a_kept_plan_sees_what_comes(query: Query, stored: Database) -> None:
    """In chunks that there were, before and after them, and of hosts that there were not."""
    stored.store(*point(1, 1.0))
    assert await windows(query) == [[0, 1, 1]]
    assert await values(query) == [1]
    stored.store(*point(2, 2.0))
    stored.store(*point(-9, 4.0))
    stored.store(*point(9, 8.0))
    stored.store(*point(9, 16.0, host="b"))
    assert await windows(query) == [[-10, 4, 1], [0, 3, 2], [5, 8, 1]]
    assert await windows(query, match="host=~a|b") == [[-10, 4, 1], [0, 3, 2], [5, 24, 2]]
    assert await values(query) == [4, 1, 2, 8]
    assert await values(query, match="host=~a|b", where="cpu.user>3", order="desc") == [16, 8, 4]


async def test_a_kept_plan_is_of_the_measurement_that_there_is(query: Query, stored: Database) -> None:
    """One that is made anew by the same name, with another field first, is another."""
    stored.store(*point(1, 1.0))
    assert await windows(query) == [[0, 1, 1]]
    stored.execute("SELECT catalog.drop_measurement('cpu')")
    stored.store("cpu", [Point((("host", "a"),), MIDNIGHT + HOUR, {"idle": 5.0, "user": 2.0})])
    assert await windows(query) == [[0, 2, 1]]
    assert await values(query) == [2]


@pytest.mark.parametrize("by", [{}, {"by": "host"}])
async def test_a_kept_plan_is_of_its_step(query: Query, stored: Database, by: dict[str, str]) -> None:
    """What is asked with one step after another on one connection."""
    for hours in (-9, 1, 2, 6):
        stored.store(*point(hours, 1.0))
    for step, wanted in (
        ("5h", [[-10, 1, 1], [0, 2, 2], [5, 1, 1]]),
        ("2h", [[-10, 1, 1], [0, 1, 1], [2, 1, 1], [6, 1, 1]]),
        ("5h", [[-10, 1, 1], [0, 2, 2], [5, 1, 1]]),
    ):
        assert await windows(query, step=step, **by) == wanted


@pytest.mark.parametrize("by", [{}, {"by": "host"}])
@pytest.mark.parametrize("start", ["1969-12-31 20:00Z", "1999-12-31 20:00Z", "2000-01-02 23:00Z", "2024-02-28 22:00Z"])
async def test_windows_of_a_light_question_are_those_of_time_bucket(
    query: Query, stored: Database, start: str, by: dict[str, str]
) -> None:
    """Before and after the moment that windows are counted from, on their first microsecond and around it."""
    first, tick = datetime.fromisoformat(start), timedelta(microseconds=1)
    moments = [first + number * MINUTE + off for number in range(1, 179) for off in (-tick, 0 * tick, tick)]
    stored.store("cpu", [Point((("host", "a"),), moment, {"user": 1.0}) for moment in moments])
    span = {"start": first.isoformat(), "end": (first + 3 * HOUR).isoformat()}
    for step in ("7m", "20m", "90s", "1s", "3d"):
        answer = await query.aggregate(**{**ASK, **span, "fn": "count", "step": step}, **by)
        (series,) = answer["series"]
        counted = "SELECT time_bucket(%s::interval, time), count(*) FROM points.cpu GROUP BY 1 ORDER BY 1"
        wanted = stored.execute(counted, step)
        assert [(datetime.fromisoformat(at), count) for at, count in series["points"]] == wanted


async def test_a_light_question_looks_across_midnight(query: Query, stored: Database) -> None:
    """A counter's first point in the range counts from the one before, which may be of the day before."""
    for hours, user in ((-0.05, 10.0), (0, 16.0), (0.5, 17.0)):
        stored.store(*point(hours, user))
    asked = {"fn": "increase", "start": MIDNIGHT.isoformat(), "end": (MIDNIGHT + HOUR).isoformat(), "step": "1h"}
    assert await windows(query, **asked) == [[0, 7]]
    assert await windows(query, **asked, match="host=~a|b") == [[0, 7]]


@pytest.mark.parametrize(
    ("match", "hosts"),
    [
        ("host=~a|b", "ab"),
        ("host=~a", "a"),
        ("host=~|a", "a-"),
        ("host!~a|b", "c-"),
        ("host!~|a", "bc"),
        ("os=~linux|bsd", "ab"),
        ("os=~|bsd", "bc-"),
        ("os!~linux|bsd", "c-"),
    ],
)
async def test_lists_choose_by_index_what_expressions_do(
    query: Query, stored: Database, match: str, hosts: str
) -> None:
    """Of values that hosts and other tags may have; who lacks the tag has the empty one."""
    for host, tags in {"a": {"os": "linux"}, "b": {"os": "bsd"}, "c": {}}.items():
        stored.store("cpu", [Point((("host", host), *tags.items()), MIDNIGHT, {"user": 1.0})])
    stored.store("cpu", [Point((("rack", "r"),), MIDNIGHT, {"user": 1.0})])
    for by in ("host", "host,rack"):
        answer = await query.aggregate(metric="cpu.user", match=match, by=by, **RANGE)
        assert {series["tags"]["host"] or "-" for series in answer["series"]} == set(hosts)
    status, series = await query.get("/api/v1/series", {"measurement": "cpu", "match": match})
    assert status == 200
    assert {one["tags"].get("host", "-") for one in series["series"]} == set(hosts)


@pytest.mark.community
async def test_a_kept_plan_sees_what_comes_into_compressed_chunks(query: Query, stored: Database) -> None:
    """A plan of compressed chunks does not look beside them, until there is something."""
    for hours in (-9, 1, 2):
        stored.store(*point(hours, 1.0))
    before = await windows(query)
    assert before == [[-10, 1, 1], [0, 2, 2]]
    stored.execute("SELECT compress_chunk(c) FROM show_chunks('points.cpu') c")
    assert await windows(query) == before
    stored.store(*point(1.5, 4.0))
    assert await windows(query) == [[-10, 1, 1], [0, 6, 3]]
    assert await values(query) == [1, 1, 4, 1]
    stored.execute("SELECT compress_chunk(c) FROM show_chunks('points.cpu') c")
    assert await values(query) == [1, 1, 4, 1]
    stored.store(*point(1.75, 8.0))
    assert await windows(query) == [[-10, 1, 1], [0, 14, 4]]
    stored.execute("SELECT decompress_chunk(c) FROM show_chunks('points.cpu') c")
    assert await windows(query) == [[-10, 1, 1], [0, 14, 4]]


@pytest.fixture
async def connection(database: str) -> AsyncIterator[Connection]:
    """A connection of query's."""
    async with await Connection.connect(database, autocommit=True) as opened:
        yield opened


async def test_plans_are_kept_while_they_are_wanted(connection: psycopg.AsyncConnection) -> None:
    """And a connection that has kept some plans others with their values again."""
    assert isinstance(connection, Connection)
    modes: list[str] = []
    for wanted in (False, True, True, False, True):
        await connection.keep_plans(wanted=wanted)
        cursor = await connection.execute("SHOW plan_cache_mode")
        modes += await cursor.fetchone() or ()
    assert modes == ["auto", *["force_generic_plan"] * 2, "auto", "force_generic_plan"]


async def test_to_tell_how_to_plan_takes_the_place_of_no_plan(connection: psycopg.AsyncConnection) -> None:
    """Where one may be kept, that is the light statement's."""
    assert isinstance(connection, Connection)
    connection.set_up(1)
    for _ in range(3):
        await connection.keep_plans(wanted=True)
        await connection.execute("SELECT %s::int", [1])
        await connection.keep_plans(wanted=False)
    cursor = await connection.execute("SELECT statement FROM pg_prepared_statements", prepare=False)
    assert await cursor.fetchall() == [("SELECT $1::int",)]
