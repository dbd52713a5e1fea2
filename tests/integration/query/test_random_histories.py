"""Random histories of a measurement, asked about again and again: what is kept never shows."""

from __future__ import annotations

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

SLIDES = st.sampled_from([timedelta(0), timedelta(microseconds=1), timedelta(minutes=10), timedelta(hours=3)])


@dataclass(frozen=True)
class Look:
    """Ask one of the questions, its range moved."""

    question: int
    start: timedelta
    end: timedelta


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


Event = Look | Write | Expire | Forget | Restart

LOOKS = st.builds(Look, st.integers(0, 2), SLIDES, SLIDES)
EVENTS = st.one_of(
    LOOKS,
    LOOKS,
    st.builds(Write, POINTS.filter(bool)),
    st.builds(Expire, st.integers(0, MONTH_MICROSECONDS).map(lambda moment: START + timedelta(microseconds=moment))),
    st.just(Forget()),
    st.just(Restart()),
)


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    """A server of the test's own."""
    with redis_server() as server:
        yield server


async def happen(event: Event, questions: list[Ask], both: Both, redis: RedisServer) -> None:
    """Let an event come about; an answer is compared with that of query that keeps nothing."""
    match event:
        case Look(number, start, end):
            ask = questions[number % len(questions)]
            moved = replace(
                ask, start=ask.start + start, end=max(ask.end + end, ask.start + start + end + end.resolution)
            )
            await both.same(**moved.parameters("m"))
        case Write(points):
            await write(both, points)
        case Expire(before):
            both.stored.execute(
                "WITH gone AS (DELETE FROM points.m WHERE time < %s) "
                "UPDATE catalog.retention SET dropped_before = greatest(dropped_before, %s)",
                *(before, before),
            )
        case Forget():
            both.stored.execute("SELECT catalog.drop_measurement('m')")
            both.stored.store("m", [Point((("host", "first"),), START, {"x": 0.0, "y": 0.0, "z": 0.0})])
        case Restart():
            redis.stop()
            redis.start()


async def write(both: Both, points: list[Point]) -> None:
    """Commit points through ingest."""
    body = [
        {
            "measurement": "m",
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


@settings(max_examples=60, deadline=None, database=None, suppress_health_check=list(HealthCheck))
@given(
    questions=st.lists(asks(), min_size=1, max_size=3),
    points=POINTS.filter(bool),
    events=st.lists(EVENTS, min_size=3, max_size=12),
)
async def test_what_is_kept_never_shows(
    both: Both, redis: RedisServer, questions: list[Ask], points: list[Point], events: list[Event]
) -> None:
    """Whatever happens between two requests, the answer is that of query that keeps nothing."""
    for event in [Forget(), Write(points), *events]:
        await happen(event, questions, both, redis)
