from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from tests.integration.query.conftest import Database, Query, ServeQuery
from tests.integration.query.reference import Ask, Point, assert_same, expected

HOUR = timedelta(hours=1)


def hourly(start: datetime, hours: int) -> list[Point]:
    """A point every hour, at the hour and a bit less than one before the next."""
    moments = [start + hour * HOUR + minutes * HOUR / 60 for hour in range(hours) for minutes in (0, 59)]
    return [Point((("host", "a"),), moment, {"v": float(number)}) for number, moment in enumerate(moments)]


async def check(query: Query, stored: Database, points: list[Point], *steps: tuple[str, str | None]) -> None:
    """Compare the answers for steps and zones, with gaps filled and not, with those of plain Python."""
    stored.store("m", points)
    end = points[-1].time + HOUR
    for step, tz in steps:
        for fill in (None, "linear"):
            wanted = Ask(("v",), ("count", "max", "delta"), points[0].time, end, step=step, tz=tz, fill=fill)
            assert_same(await query.aggregate(**wanted.parameters("m")), expected(points, wanted))


async def test_days_on_which_clocks_change(query: Query, stored: Database) -> None:
    """A day has 23 or 25 hours in its own zone, also where the clock changes at midnight."""
    points = hourly(datetime(2026, 3, 27, 20, tzinfo=UTC), 80) + hourly(datetime(2026, 10, 31, tzinfo=UTC), 60)
    zones = ("Europe/Berlin", "America/New_York", "America/Havana", "Asia/Kathmandu", "UTC", None)
    await check(query, stored, points, *((step, zone) for zone in zones for step in ("1d", "3d", "1w", "1mo", "6h")))


async def test_a_range_that_begins_where_clocks_have_gone_back_over_midnight(query: Query, stored: Database) -> None:
    """The hour before midnight that comes again after it belongs to the day that has begun."""
    start = datetime(2010, 11, 7, 2, 40, tzinfo=UTC)
    stored.store("m", hourly(start, 40))
    asked = {"metric": "m.v", "fn": "count", "step": "1d", "tz": "America/St_Johns", "start": start.isoformat()}
    for fill in ({}, {"fill": "0"}):
        for end, days in (("2010-11-07T03:10:00Z", [1]), ("2010-11-08T05:00:00Z", [49, 4])):
            answer = await query.aggregate(**asked, **fill, end=end)
            begin = [datetime(2010, 11, 7, 2, 30, tzinfo=UTC), datetime(2010, 11, 8, 3, 30, tzinfo=UTC)]
            points = [[datetime.fromisoformat(moment), count] for moment, count in answer["series"][0]["points"]]
            assert points == [list(pair) for pair in zip(begin, days, strict=False)]


async def test_leap_days_and_years(query: Query, stored: Database) -> None:
    """February 2024 has 29 days, and a year of windows begins with January of the zone."""
    points = hourly(datetime(2024, 2, 27, tzinfo=UTC), 80) + hourly(datetime(2024, 12, 31, tzinfo=UTC), 40)
    await check(query, stored, points, ("1d", None), ("1mo", None), ("2mo", "Asia/Tokyo"), ("1y", "America/New_York"))


async def test_windows_of_a_zone_are_those_of_time_bucket(query: Query, stored: Database) -> None:
    """Where midnight comes once a day, SQL that people write has the same windows."""
    stored.store("m", hourly(datetime(2026, 3, 25, tzinfo=UTC), 400))
    for step, interval in (("1d", "1 day"), ("2w", "14 days"), ("1mo", "1 month")):
        for zone in ("Europe/Berlin", "Asia/Kathmandu", "America/New_York"):
            answer = await query.aggregate(metric="m.v", fn="count", start="2026-03-25T00:00:00Z",
                                           end="2026-05-01T00:00:00Z", step=step, tz=zone)  # fmt: skip
            rows = stored.execute(
                "SELECT time_bucket(%s::interval, time, timezone => %s), count(*) FROM points.m GROUP BY 1 ORDER BY 1",
                interval,
                zone,
            )
            found = [(datetime.fromisoformat(start), count) for start, count in answer["series"][0]["points"]]
            assert found == rows


async def test_fills_on_real_answers(query: Query, stored: Database) -> None:
    """Gaps are filled for each series and number by itself, over the whole range."""
    start = datetime(2026, 3, 1, 12, tzinfo=UTC)
    tags = [(("host", "a"),), (("host", "b"),)]
    points = [
        Point(tags[0], start + HOUR, {"v": 1.0}),
        Point(tags[0], start + 4 * HOUR, {"v": 7.0, "w": 1.0}),
        Point(tags[1], start + 5 * HOUR, {"w": 2.0}),
    ]
    stored.store("m", points)
    for fill in ("none", "null", "previous", "linear", 0.0, -1.5):
        wanted = Ask(("v", "w"), ("avg", "count"), start, start + 6 * HOUR, by=("host",), step="1h", fill=fill)
        assert_same(await query.aggregate(**wanted.parameters("m")), expected(points, wanted))


async def test_filled_windows_count_as_values(database: str, stored: Database, serve_query: ServeQuery) -> None:
    """QUERY_MAX_VALUES bounds what is answered, and not only what is found."""
    start = datetime(2026, 3, 1, 12, tzinfo=UTC)
    stored.store("m", [Point((("host", host),), start, {"v": 1.0}) for host in "abc"])
    query = await serve_query(database, max_values=17)
    await query.until_ready()
    asked: dict[str, Any] = {"metric": "m.v", "by": "host", "start": start.isoformat(), "step": "10m"}
    asked["end"] = (start + HOUR).isoformat()
    assert len((await query.aggregate(**asked))["series"]) == 3
    refusal = await query.refused(**asked, fill="null")
    assert (refusal["limit"], refusal["allowed"]) == ("QUERY_MAX_VALUES", 17)
    assert len((await query.aggregate(**asked, fill="null", match="host!=a"))["series"]) == 2


async def test_series_in_order(query: Query, stored: Database) -> None:
    """Series come by their value over the whole range, top or bottom, as curves and as numbers; none is last."""
    start = datetime(2026, 3, 1, 12, tzinfo=UTC)
    values = {"a": (5.0, 1.0), "b": (2.0, 9.0), "c": (4.0, 4.0), "d": (4.0, 4.0)}
    points = [
        Point((("host", host),), start + number * HOUR, {"v": value, "w": -value})
        for host, pair in values.items()
        for number, value in enumerate(pair)
    ] + [Point((("host", "e"),), start, {"w": 1.0})]
    stored.store("m", points)

    async def hosts(**parameters: Any) -> str:
        answer = await query.aggregate(
            metric=["m.v", "m.w"], fn="max,sum", by="host", start=start.isoformat(), end=(start + 2 * HOUR).isoformat(),
            **parameters,
        )  # fmt: skip
        return "".join(series["tags"]["host"] for series in answer["series"])

    for step in ({}, {"step": "1h"}, {"step": "1h", "fill": "null"}):
        assert await hosts(**step) == "abcde"
        assert await hosts(order="desc", **step) == "bacde"
        assert await hosts(order="asc", **step) == "cdabe"
        assert await hosts(limit=2, **step) == "ba"
        assert await hosts(order="asc", limit=3, order_by="sum(m.v)", **step) == "acd"
        assert await hosts(limit=1, order_by="sum(m.w)", **step) == "e"
        assert await hosts(limit=100, match="host=~c|d", **step) == "cd"


async def test_a_limit_has_the_bound_of_series(database: str, stored: Database, serve_query: ServeQuery) -> None:
    """More series than an answer may have cannot be asked for; the top of more than that many can."""
    start = datetime(2026, 3, 1, 12, tzinfo=UTC)
    stored.store("m", [Point((("host", host),), start, {"v": 1.0}) for host in "abcd"])
    query = await serve_query(database, max_series=3)
    await query.until_ready()
    asked = {"metric": "m.v", "by": "host", "start": start.isoformat()}
    for step in ({}, {"step": "365d"}):
        refusal = await query.refused(**asked, **step, limit=4)
        assert (refusal["limit"], refusal["allowed"]) == ("QUERY_MAX_SERIES", 3)
        assert len((await query.aggregate(**asked, **step, limit=3))["series"]) == 3
