from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.integration.query.conftest import Database, Query, ServeQuery
from tests.integration.query.reference import Ask, Point, assert_same, expected

START = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
SECOND = timedelta(seconds=1)
HOUR = timedelta(hours=1)


def points(host: str, *values: float | None, begin: int = 0, every: int = 10) -> list[Point]:
    """A host's points of the field v, some seconds apart; None is a point of another field."""
    return [
        Point(
            (("host", host),),
            START + (begin + number * every) * SECOND,
            {"w": 0.0} if value is None else {"v": float(value)},
        )
        for number, value in enumerate(values)
    ]


def ask(*fns: str, **changes: Any) -> Ask:
    """These functions of v over an hour."""
    return Ask(**{"fields": ("v",), "fns": fns, "start": START, "end": START + HOUR, **changes})


async def numbers(query: Query, wanted: Ask) -> list[list[Any]]:
    """The numbers of an answer's points, by series."""
    answer = await query.aggregate(**wanted.parameters("m"))
    return [[point[1] for point in series["points"]] for series in answer["series"]]


async def test_percentiles_are_of_all_points_of_a_group(query: Query, stored: Database) -> None:
    """They are exact, on the line between the two nearest points, and not those of series put together."""
    stored.store("m", [*points("a", 1, 2, 3, 4), *points("b", 100, 200, 300, 400, 500)])
    answer = await query.aggregate(**ask("p0", "p25", "median", "p75", "p99.9", "p100").parameters("m"))
    values = {fn: round(value, 9) for fn, value in answer["series"][0]["values"]["m.v"].items()}
    assert values == {"p0": 1, "p25": 3, "median": 100, "p75": 300, "p99.9": 499.2, "p100": 500}


async def test_a_standard_deviation_is_that_of_all_points(query: Query, stored: Database) -> None:
    """Of several series with far means it is exact; numbers much larger than their deviation lose nothing of it."""
    far = [*points("a", 1e9, 1e9 + 1, 1e9 + 2), *points("b", -1e9, -1e9 + 1, -1e9 + 2)]
    stored.store("m", far)
    wanted = ask("stddev")
    assert_same(await query.aggregate(**wanted.parameters("m")), expected(far, wanted))
    wanted = ask("stddev", by=("host",), step="1m")
    assert await numbers(query, wanted) == [[1.0], [1.0]]


async def test_a_sample_of_one_has_no_deviation(query: Query, stored: Database) -> None:
    """As SQL has it; two equal points have none to speak of, which is zero."""
    stored.store("m", [*points("a", 5.0), *points("b", 5.0, 5.0)])
    answer = await query.aggregate(**ask("stddev", by=("host",)).parameters("m"))
    assert [series["value"] for series in answer["series"]] == [None, 0.0]


async def test_a_counters_reset_is_no_loss(query: Query, stored: Database) -> None:
    """A counter that falls has begun anew from zero: what it has then was added; delta takes numbers as they are."""
    stored.store("m", points("a", 10, 15, 3, 3, 8, every=60))
    answer = await query.aggregate(**ask("increase", "rate", "delta").parameters("m"))
    assert answer["series"][0]["values"]["m.v"] == {"increase": 13.0, "rate": 13 / 240, "delta": -2.0}


async def test_what_grows_from_one_window_to_the_next_belongs_to_the_later(query: Query, stored: Database) -> None:
    """Windows add up to the whole; a rate is by the time between the points that it is taken from."""
    stored.store("m", points("a", 0, 10, 20, 40, 70, every=40))
    assert await numbers(query, ask("increase", step="1m")) == [[10.0, 10.0, 50.0]]
    assert await numbers(query, ask("rate", step="1m")) == [[0.25, 0.25, 0.625]]
    answer = await query.aggregate(**ask("increase").parameters("m"))
    assert answer["series"][0]["value"] == 70.0


async def test_the_point_before_the_range_counts_when_it_is_near(
    query: Query, database: str, stored: Database, serve_query: ServeQuery
) -> None:
    """It is looked for QUERY_LOOKBACK_SECONDS back, so that a window does not depend on where the range begins."""
    stored.store("m", [*points("a", 1, 3, begin=-300, every=300), *points("b", 1, 3, begin=-301, every=301)])
    answer = await query.aggregate(**ask("increase", by=("host",)).parameters("m"))
    assert [series["value"] for series in answer["series"]] == [2.0, None]
    without = await serve_query(database, lookback_seconds=0)
    await without.until_ready()
    answer = await without.aggregate(**ask("increase", by=("host",)).parameters("m"))
    assert [series["value"] for series in answer["series"]] == [None, None]


async def test_a_series_first_point_adds_nothing(query: Query, stored: Database) -> None:
    """Nobody knows what was before it: a series that begins inside has no growth there, and makes no rate smaller."""
    stored.store("m", [*points("a", 0, 6, 12, every=60), *points("b", 1000, 1012, begin=60, every=60)])
    assert await numbers(query, ask("increase", step="1m")) == [[None, 6.0, 18.0]]
    assert await numbers(query, ask("rate", step="1m")) == [[None, 0.1, 0.1 + 0.2]]


async def test_rows_without_the_field_do_not_come_between(query: Query, stored: Database) -> None:
    """Growth is from one number of a field to the next, whatever other fields' points lie between."""
    stored.store("m", points("a", 1, None, None, 5, None, 2, every=60))
    for step in (None, "2m"):
        wanted = ask("increase", "delta", "rate", fields=("v", "w"), step=step)
        found = points("a", 1, None, None, 5, None, 2, every=60)
        assert_same(await query.aggregate(**wanted.parameters("m")), expected(found, wanted))


async def test_rates_of_several_series_are_summed(query: Query, stored: Database) -> None:
    """A group's rate is the sum of its series' rates, each with its own resets."""
    stored.store("m", [*points("a", 0, 600, 0, 600, every=60), *points("b", 0, 60, 120, 180, every=60)])
    answer = await query.aggregate(**ask("rate", "increase").parameters("m"))
    assert answer["series"][0]["values"]["m.v"] == {"rate": 1200 / 180 + 1.0, "increase": 1380.0}


async def test_all_functions_of_one_point(query: Query, stored: Database) -> None:
    """One point has a value for most, and none for what takes two."""
    stored.store("m", points("a", 7.0))
    fns = ("avg", "min", "max", "sum", "count", "first", "last", "median", "p1", "stddev", "rate", "increase", "delta")
    answer = await query.aggregate(**ask(*fns).parameters("m"))
    assert list(answer["series"][0]["values"]["m.v"].values()) == [7, 7, 7, 7, 1, 7, 7, 7, 7, None, None, None, None]


async def test_functions_of_numbers_near_the_bounds_of_doubles(query: Query, stored: Database) -> None:
    """A growth past double precision, or a share too small for it, is refused as a sum is, with the parameter."""
    stored.store("m", [*points("a", -1.7e308, 1.7e308), *points("b", 0.0, 0.0, 5e-324)])
    for host, fns in (("a", ("delta", "increase", "rate", "stddev")), ("b", ("avg", "rate"))):
        for fn in fns:
            refusal = await query.refused(**ask(fn).parameters("m") | {"match": f"host={host}"})
            assert refusal["parameter"] == "fn", refusal
            assert "beyond double precision (5e-324 to 1.8e308)" in refusal["message"]


@pytest.mark.parametrize("step", [None, "1h"])
@pytest.mark.parametrize("by", [(), ("host",)])
async def test_percentiles_between_numbers_that_are_too_far_apart(
    query: Query, stored: Database, step: str | None, by: tuple[str, ...]
) -> None:
    """What cannot be computed between them is refused in every format alike; what is one of them is answered."""
    stored.store("m", points("a", -1.7e308, 1.7e308))
    for form in ("json", "csv", "ndjson", "arrow"):
        refusal = await query.refused(**ask("max", "median", by=by, step=step).parameters("m") | {"format": form})
        assert refusal["parameter"] == "fn", refusal
        assert "beyond double precision" in refusal["message"]
    found = str(await query.aggregate(**ask("min", "p0", "max", "p100", by=by, step=step).parameters("m")))
    assert (found.count("-1.7e+308"), found.count(" 1.7e+308")) == (2, 2)
