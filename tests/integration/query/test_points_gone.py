from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from itertools import product
from typing import Any

from tests.integration.query.conftest import Database, Query, ServeQuery
from tests.integration.query.fleet import ask, at, both, fleet
from tests.integration.query.reference import Point, Row, assert_same, expected
from tests.integration.query.rolled import Part, roll_up

UNFIT = "what is older comes from rollups, whose buckets do not fit the whole range"
"""What an answer warns of, after which points are gone."""


def left_to_rollups(stored: Database, points: list[Point], parts: Sequence[Part], before: datetime) -> None:
    """Store points and their rollups; of the points, those before that time are kept no longer."""
    stored.store("m", points)
    roll_up(stored.url, "m", parts)
    stored.execute("DELETE FROM points.m WHERE time < %s", before)
    stored.execute("UPDATE catalog.retention SET retained = NULL, dropped_before = %s", before)


async def test_points_that_are_gone(query: Query, stored: Database) -> None:
    """Before the points that are kept, rollups alone answer, in buckets that are whole; a warning says what is lost."""
    points = fleet()
    left_to_rollups(stored, points, both(), at(1800))
    stored.store("m", [Point((("host", "a"),), at(1000.5), {"x": 1e9, "y": 1e9})])  # late, and in no refresh any more
    answer = await query.aggregate(**(wanted := ask(step="2h")).parameters("m"))
    assert "warnings" not in answer
    assert_same(answer, expected(points, wanted))
    answer = await query.aggregate(**(wanted := ask(step="2h", match=(("host", "=", "a"),))).parameters("m"))
    assert_same(answer, expected(points, wanted))
    kept = [point for point in points if point.time >= at(1800)]
    before = "points before 2026-03-28T06:00:00Z are no longer kept: "
    for fns in (("last",), ("median", "p5"), ("rate",)):
        answer = await query.aggregate(**(wanted := ask(step="2h", fns=fns)).parameters("m"))
        assert answer["warnings"] == [f"{before}{', '.join(fns)} cannot be had of them"]
        assert_same(answer, expected(kept, ask(step="2h", fns=fns, start=at(1800))))
    answer = await query.aggregate(**ask(step="2h", fns=("count", "last")).parameters("m"))
    assert answer["warnings"] == [f"{before}last cannot be had of them"]
    counts = {tuple(row[:2]): row[2][0] for row in expected(points, ask(step="2h", fns=("count",), fields=("x",)))}
    for series in answer["series"]:
        for point in series["points"]:
            assert point[1] == counts[(series["tags"]["host"],), datetime.fromisoformat(point[0])]
            assert (point[2] is None) is (datetime.fromisoformat(point[0]) < at(1800))
    answer = await query.aggregate(**ask(step="5m", end=at(2400)).parameters("m"))
    assert_same(answer, expected(points, ask(step="5m", start=at(1800), end=at(2400))))
    assert answer["warnings"] == [f"{before}{UNFIT}"]
    answer = await query.aggregate(**ask(step="5m", end=at(1200)).parameters("m"))
    assert (answer["series"], answer["source"]) == ([], [])
    answer = await query.aggregate(**ask(step="2h", start=at(1201), resolution="raw").parameters("m"))
    assert_same(answer, expected(kept, ask(step="2h", start=at(1800))))
    assert answer["warnings"] == [f"{before.removesuffix(': ')}, and some of them may be gone"]
    for form in ("json", "csv", "ndjson", "arrow"):
        body = ask(step="2h", start=at(1201), fns=("last", "avg")).parameters("m") | {"format": form}
        async with query.client.post(f"{query.url}/api/v1/aggregate", json=body) as response:
            assert response.headers["Tidemark-Warning"] == f"{before}last cannot be had of them; {before}{UNFIT}"


def lacking(rows: list[Row], *places: int) -> list[Row]:
    """The rows with null for the numbers in these places."""
    return [
        (tags, start, tuple(None if place in places else one for place, one in enumerate(numbers)))
        for tags, start, numbers in rows
    ]


async def test_what_rollups_lack_of_points_that_are_gone(query: Query, stored: Database) -> None:
    """A range of which only rollups are left is answered with what they have, null beside it, and a warning."""
    points = fleet()
    left_to_rollups(stored, points, both(fields=("x",)), at(1800))
    before = "points before 2026-03-28T06:00:00Z are no longer kept: "
    for by, step in product(((), ("host",)), (None, "1h")):
        gone = ask(fields=("x",), by=by, step=step, end=at(1200))
        for fn in ("first", "last", "stddev", "median", "p90", "rate", "increase", "delta"):
            wanted = replace(gone, fns=("max", fn))
            answer = await query.aggregate(**wanted.parameters("m"))
            assert_same(answer, lacking(expected(points, wanted), 1))
            assert answer["warnings"] == [f"{before}{fn} cannot be had of them"]
            answer = await query.aggregate(**replace(wanted, start=at(3)).parameters("m"))
            assert answer["warnings"] == [f"{before}{fn} cannot be had of them", f"{before}{UNFIT}"]
        wanted = replace(gone, fields=("x", "y"), fns=("max",))
        answer = await query.aggregate(**wanted.parameters("m"))
        assert_same(answer, lacking(expected(points, wanted), 1))
        assert answer["warnings"] == [f"{before}{UNFIT}"]


async def test_a_window_of_which_some_points_are_gone(query: Query, stored: Database) -> None:
    """Rollups have all of it, also when a function beside those that they keep has but a part."""
    points = fleet()
    left_to_rollups(stored, points, both(), at(1815.5))
    kept = [point for point in points if point.time >= at(1815.5)]
    for step in (None, "1h"):
        wanted = ask(fields=("x",), fns=("max", "sum", "count", "last", "p90", "stddev"), step=step)
        answer = await query.aggregate(**wanted.parameters("m"))
        lasts = {row[:2]: row[2] for row in expected(kept, wanted)}
        rows = [(*row[:2], (*row[2][:3], *lasts.get(row[:2], (None,) * 6)[3:])) for row in expected(points, wanted)]
        assert_same(answer, rows)
        assert answer["warnings"][0].endswith("are no longer kept: last, p90, stddev cannot be had of them")


async def test_series_whose_points_are_gone_come_last(query: Query, stored: Database) -> None:
    """Where they are ordered by what rollups do not have, they have no value over the range."""
    points = fleet()
    left_to_rollups(stored, points, both(), at(1800))
    stored.execute("DELETE FROM points.m WHERE series_id = 1")
    for end, order, step in product((at(1800), at(2400)), ("asc", "desc"), (None, "2h")):
        wanted = ask(fields=("x",), fns=("count", "last"), step=step, end=end, order=order, order_by=("last", "x"))
        answer = await query.aggregate(**wanted.parameters("m"))
        kept = expected([point for point in points if point.time >= at(1800) and point.tag("host") != "a"], wanted)
        ranked = list(dict.fromkeys(tags[0] for tags, _, _ in kept))
        assert [one["tags"]["host"] for one in answer["series"]] == [*ranked, *sorted(set("abc") - set(ranked))]
        first = await query.aggregate(**replace(wanted, limit=1).parameters("m"))
        assert first["series"] == answer["series"][:1]


async def test_windows_whose_points_are_gone_are_computed_by_themselves(
    database: str, stored: Database, serve_query: ServeQuery
) -> None:
    """Where the others are kept, what rollups lack of these is still no more than null."""
    query = await serve_query(database, cache_min_seconds=0)
    await query.until_ready()
    await query.until_keeping()
    points = fleet()
    stored.store("m", points)
    roll_up(stored.url, "m", both())
    stored.execute("UPDATE catalog.retention SET retained = NULL, dropped_before = %s", at(1800))
    for fns in (("count", "last"), ("count", "p90"), ("count", "increase")):
        wanted = ask(fns=fns, step="2h").parameters("m")
        answer = await query.aggregate(**wanted)
        assert answer["series"][0]["points"][0][2] is None
        assert await query.aggregate(**wanted) == answer
    assert await query.counted("query_cache_requests_total", outcome="partial") == 3


WARNED = "points before 2026-03-28T06:00:00Z are no longer kept, and some of them may be gone"


async def test_points_themselves_that_are_gone(query: Query, stored: Database) -> None:
    """A range of which points are kept no longer is answered with those that are there, and a warning on every page."""
    points = fleet()
    left_to_rollups(stored, points, both(), at(1800))
    around: dict[str, Any] = {"metric": "m.x", "start": at(1790).isoformat(), "end": at(1900).isoformat()}
    for order in ("asc", "desc"):
        page, seen = {**around, "order": order, "limit": 7}, 0
        while page.get("after", True):
            status, answer = await query.get("/api/v1/points", page)
            assert (status, answer["warnings"]) == (200, [WARNED])
            seen += len(answer["points"])
            page["after"] = answer["next"]
        assert seen == sum(at(1800) <= point.time < at(1900) and "x" in point.fields for point in points) > 7
    for form in ("json", "csv", "ndjson", "arrow"):
        for limits in ({}, {"order": "any"}, {"where": "m.x>1e300"}):
            asked = query.client.get(f"{query.url}/api/v1/points", params={**around, **limits, "format": form})
            async with asked as response:
                assert (response.status, response.headers["Tidemark-Warning"]) == (200, WARNED)
    async with query.client.get(
        f"{query.url}/api/v1/points", params={**around, "start": at(1800).isoformat()}
    ) as response:
        assert "Tidemark-Warning" not in response.headers
        assert "warnings" not in await response.json()


async def test_points_that_are_gone_are_missing_in_lists(query: Query, stored: Database) -> None:
    """What is listed by its points is warned of where it may have had some that are gone; and only there."""
    stored.store("m", fleet(days=1))
    stored.store("n", fleet(days=1))
    stored.execute("UPDATE catalog.retention SET dropped_before = %s", at(1800))
    before, after = at(1799).isoformat(), at(1800).isoformat()
    for path, bound in (
        ("last", "since"),
        ("hosts", "since"),
        ("measurements", "start"),
        ("tags", "start"),
        ("tags/host/values", "start"),
        ("series", "start"),
    ):
        for choice, start, warned in (
            ({}, {bound: before}, True),
            ({"measurement": "m", "search": "a"}, {bound: before}, True),
            ({"measurement": "m"}, {bound: after}, False),
            ({"measurement": "m"}, {}, False),
            ({}, {"end": after}, bound == "start"),
        ):
            if "end" in start and bound == "since":
                continue
            for form in ("json", "csv"):
                asked = {**choice, **start, "format": form}
                async with query.client.get(f"{query.url}/api/v1/{path}", params=asked) as response:
                    told = response.headers.get("Tidemark-Warning")
                    assert (response.status, told) == (200, WARNED if warned else None), (path, asked)
                    if form == "json":
                        assert (await response.json()).get("warnings") == ([WARNED] if warned else None)
    stored.execute(
        "UPDATE catalog.retention SET dropped_before = '-infinity' "
        "WHERE measurement_id = (SELECT id FROM catalog.measurement WHERE name = 'n')"
    )
    _, answer = await query.get("/api/v1/last", {"since": before})
    assert answer["warnings"] == [WARNED.replace(" kept,", " kept of 1 of the 2 measurements,")]


async def test_points_that_may_be_gone_without_rollups(query: Query, stored: Database) -> None:
    """Without rollups what is still there is read, and the answer warns that it may be a part."""
    points = fleet(days=1)
    stored.execute("UPDATE catalog.policy SET rollup_10m = 'off', rollup_1h = 'off'")
    stored.store("m", points)
    stored.execute("UPDATE catalog.retention SET dropped_before = %s", at(1800))
    answer = await query.aggregate(**(wanted := ask(end=at(1440))).parameters("m"))
    assert_same(answer, expected(points, wanted))
    assert answer["warnings"] == [WARNED]
