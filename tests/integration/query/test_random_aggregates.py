from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings

from tests.integration.query.conftest import Database, Query
from tests.integration.query.reference import Ask, Point, assert_same, expected
from tests.integration.query.strategies import POINTS, START, asks

EXAMPLES = settings(max_examples=50, deadline=None, database=None, suppress_health_check=list(HealthCheck))


def store(stored: Database, points: list[Point]) -> None:
    """These points, and no others."""
    stored.store("m", [Point((("host", "first"),), START, {"x": 0.0, "y": 0.0, "z": 0.0})])
    stored.execute("TRUNCATE points.m")
    stored.execute("DELETE FROM catalog.series")
    if points:
        stored.store("m", points)


@EXAMPLES
@given(points=POINTS, wanted=asks())
async def test_random_points_and_requests(query: Query, stored: Database, points: list[Point], wanted: Ask) -> None:
    """Whatever the points and the request, the answer is that of plain Python."""
    store(stored, points)
    assert_same(await query.aggregate(**wanted.parameters("m")), expected(points, wanted))


@pytest.mark.community
@EXAMPLES
@given(points=POINTS, wanted=asks())
async def test_random_compressed_points(query: Query, stored: Database, points: list[Point], wanted: Ask) -> None:
    """TimescaleDB computes by the batch what it has compressed; it is the same, for each way to plan it."""
    store(stored, points)
    stored.execute("SELECT compress_chunk(c) FROM show_chunks('points.m') c")
    for hosts in ((), (("host", "=~", "a|b"),)):
        narrowed = replace(wanted, match=(*wanted.match, *hosts))
        assert_same(await query.aggregate(**narrowed.parameters("m")), expected(points, narrowed))
