"""Random histories of a measurement, asked about again and again: what is kept never shows."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from tests.integration.query.conftest import ServeBoth
from tests.integration.query.panels import Both
from tests.integration.query.reference import Ask, Point
from tests.integration.query.strategies import MONTH_MICROSECONDS, POINTS, START, asks
from tests.redis_server import RedisServer, redis_server

NUMBERS = itertools.count()
"""Of measurements: each history has its own."""
SLIDES = st.sampled_from([timedelta(0), timedelta(microseconds=1), timedelta(minutes=10), timedelta(hours=3)])


@dataclass(frozen=True)
class Write:
    """Points come late, some in place of others, of new series and with new fields."""

    points: list[Point]


@dataclass(frozen=True)
class Expire:
    """What is older is dropped, as a policy does."""

    before: datetime


@dataclass(frozen=True)
class Forget:
    """The measurement is dropped, and begins anew."""


@dataclass(frozen=True)
class Restart:
    """Redis ends, and comes back with nothing."""


Change = Write | Expire | Forget | Restart

CHANGES = st.one_of(
    st.builds(Write, POINTS.filter(bool)),
    st.builds(Write, POINTS.filter(bool)),
    st.builds(Expire, st.integers(0, MONTH_MICROSECONDS).map(lambda moment: START + timedelta(microseconds=moment))),
    st.sampled_from([Forget(), Restart()]),
)


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    """A server of the test's own."""
    with redis_server() as server:
        yield server


def begin(both: Both, measurement: str) -> None:
    """A measurement with its fields, and one point."""
    both.stored.store(measurement, [Point((("host", "first"),), START, {"x": 0.0, "y": 0.0, "z": 0.0})])


async def ask(ask: Ask, slides: list[timedelta], measurement: str, both: Both) -> None:
    """Ask with moved ranges; each answer is compared with that of query that keeps nothing."""
    for slide in slides:
        moved = replace(ask, start=ask.start + slide, end=ask.end + slide)
        asked = moved.parameters(measurement)
        for _ in range(2):  # what was kept before a change was seen may be computed anew once without need
            await both.same(**asked)
            await both.same_points(measurement=measurement, **{name: asked[name] for name in ("start", "end", "match")})


async def happen(change: Change, measurement: str, both: Both, redis: RedisServer) -> None:
    """Let a change come about."""
    match change:
        case Write(points):
            await write(both, measurement, points)
        case Expire(before):
            both.stored.execute(
                f"WITH gone AS (DELETE FROM points.{measurement} WHERE time < %s) "
                "UPDATE catalog.retention r SET dropped_before = greatest(dropped_before, %s) "
                "FROM catalog.measurement m WHERE m.id = r.measurement_id AND m.name = %s",
                before,
                before,
                measurement,
            )
        case Forget():
            both.stored.execute("SELECT catalog.drop_measurement(%s)", measurement)
            begin(both, measurement)
        case Restart():
            redis.stop()
            redis.start()


async def write(both: Both, measurement: str, points: list[Point]) -> None:
    """Commit points through ingest."""
    body = [
        {
            "measurement": measurement,
            "time": point.time.isoformat(),
            "tags": {name: value for name, value in point.tags if value},
            "fields": point.fields,
        }
        for point in points
    ]
    async with both.ingest.client.post(f"{both.ingest.url}/api/v1/points", json=body) as response:
        assert response.status == 204, await response.text()


@pytest.fixture(params=["memory", "redis"])
async def both(request: pytest.FixtureRequest, serve_both: ServeBoth, redis: RedisServer) -> AsyncIterator[Both]:
    """Both, what is kept being in the process, or in Redis; in the end something was used again."""
    there = {"cache_url": SecretStr(redis.url), "cache_timeout_seconds": 1}
    both = await serve_both(**(there if request.param == "redis" else {}))
    yield both
    assert await both.reused() > 0


@settings(max_examples=15, deadline=None, database=None, suppress_health_check=list(HealthCheck))
@given(
    questions=st.lists(asks(), min_size=1, max_size=2),
    slides=st.lists(SLIDES, min_size=1, max_size=2, unique=True),
    points=POINTS.filter(bool),
    changes=st.lists(CHANGES, min_size=1, max_size=4),
)
async def test_what_is_kept_never_shows(
    both: Both,
    redis: RedisServer,
    questions: list[Ask],
    slides: list[timedelta],
    points: list[Point],
    changes: list[Change],
) -> None:
    """Whatever happens between two requests, the answer is that of query that keeps nothing."""
    measurement = f"m{next(NUMBERS)}"
    begin(both, measurement)
    for change in [Write(points), *changes]:
        await happen(change, measurement, both, redis)
        for question in questions:
            await ask(question, slides, measurement, both)
