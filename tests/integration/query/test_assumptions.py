from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.integration.query.conftest import Database, Query, ServeQuery
from tests.integration.query.reference import Point

START = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
RANGE = {"start": START.isoformat(), "end": (START + HOUR).isoformat()}
ASK: dict[str, Any] = {"metric": "cpu.user", "fn": "sum", "match": "host=a", **RANGE}


def point(host: str, **fields: float) -> Point:
    """A point in the middle of the range."""
    return Point((("host", host),), START + HOUR / 2, fields)


@pytest.fixture(autouse=True)
def cpu(stored: Database) -> None:
    """Every test has a point to find."""
    stored.store("cpu", [point("a", user=1.0)])


async def values(query: Query, **asked: Any) -> list[float]:
    """The values of the series of an aggregate."""
    return [series["value"] for series in (await query.aggregate(**{**ASK, **asked}))["series"]]


async def columns(query: Query, **asked: Any) -> tuple[list[str], list[list[Any]]]:
    """The names of what points have, and their numbers."""
    status, answer = await query.get("/api/v1/points", {"where": "cpu.user>0", **RANGE, **asked})
    assert status == 200, answer
    return answer["columns"][3:], [row[3:] for row in answer["points"]]


async def asked(query: Query, statement: str) -> float:
    """How many statements of this name have been made."""
    return await query.counted("query_statement_seconds_count", statement=statement)


async def test_what_was_looked_up_is_not_looked_up_again(database: str, serve_query: ServeQuery) -> None:
    """From the second time on, a question about a few series, however old, is one statement."""
    query = await serve_query(database, cache="off")
    await query.until_ready()
    assert [await values(query) for _ in range(3)] == [[1.0]] * 3
    assert [await columns(query) for _ in range(3)] == [(["user"], [[1.0]])] * 3
    assert await asked(query, "rollups") == 1
    assert await asked(query, "catalog") == 3
    assert await asked(query, "aggregate") == await asked(query, "points") == 3


async def test_an_answer_without_points_is_asked_for_once_more(database: str, serve_query: ServeQuery) -> None:
    """That there is nothing is said only when nothing was taken for granted."""
    query = await serve_query(database, cache="off")
    await query.until_ready()
    await values(query)
    assert await values(query, match="host=b") == []
    assert await asked(query, "catalog") == 2
    assert await columns(query, match="host=b") == (["user"], [])


async def test_a_measurement_that_is_made_anew_is_another(query: Query, stored: Database) -> None:
    """The first question after it has other ids is answered by them, though the old ones were known."""
    await values(query)
    await columns(query)
    stored.execute("SELECT catalog.drop_measurement('cpu')")
    stored.store("cpu", [point("z", idle=7.0), point("a", idle=6.0, user=5.0)])
    assert await values(query) == [5.0]
    assert await columns(query) == (["idle", "user"], [[6.0, 5.0]])


async def test_a_measurement_that_is_gone_is_not_there(query: Query, stored: Database) -> None:
    """What is dropped is told as what never was, from the first question on."""
    await values(query)
    await columns(query)
    stored.execute("SELECT catalog.drop_measurement('cpu')")
    assert (await query.get("/api/v1/aggregate", ASK))[0] == 404
    assert (await query.get("/api/v1/points", {"where": "cpu.user>0", **RANGE}))[0] == 404


async def test_a_new_field_is_given_at_once(query: Query, stored: Database) -> None:
    """All fields are those that there are now, though fewer were known."""
    assert await columns(query) == (["user"], [[1.0]])
    stored.store("cpu", [point("b", idle=2.0, user=3.0)])
    assert await columns(query, match="host=b") == (["idle", "user"], [[2.0, 3.0]])
    assert await columns(query) == (["idle", "user"], [[None, 1.0], [2.0, 3.0]])


async def test_points_that_are_no_longer_kept_are_warned_of(query: Query, stored: Database) -> None:
    """That a range was kept as a whole is checked each time, whether its answer was kept or not."""
    assert "warnings" not in await query.aggregate(**ASK)
    stored.execute("UPDATE catalog.retention SET dropped_before = %s", START + HOUR / 4)
    for _ in range(2):
        assert (await query.aggregate(**ASK))["warnings"]


async def test_a_dotted_metric_may_come_to_mean_another_measurement(query: Query, stored: Database) -> None:
    """Of several that a metric may mean, the longest name is meant from the moment at which it is there."""
    stored.store("disk", [point("a", **{"io.time": 1.0})])
    assert await values(query, metric="disk.io.time") == [1.0]
    stored.store("disk.io", [point("a", time=2.0)])
    assert await values(query, metric="disk.io.time") == [2.0]
