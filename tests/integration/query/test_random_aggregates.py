from __future__ import annotations

from hypothesis import HealthCheck, given, settings

from tests.integration.query.conftest import Database, Query
from tests.integration.query.reference import Ask, Point, assert_same, expected
from tests.integration.query.strategies import POINTS, START, asks


@settings(max_examples=50, deadline=None, database=None, suppress_health_check=list(HealthCheck))
@given(points=POINTS, wanted=asks())
async def test_random_points_and_requests(query: Query, stored: Database, points: list[Point], wanted: Ask) -> None:
    """Whatever the points and the request, the answer is that of plain Python."""
    stored.store("m", [Point((("host", "first"),), START, {"x": 0.0, "y": 0.0, "z": 0.0})])
    stored.execute("TRUNCATE points.m")
    stored.execute("DELETE FROM catalog.series")
    if points:
        stored.store("m", points)
    assert_same(await query.aggregate(**wanted.parameters("m")), expected(points, wanted))
