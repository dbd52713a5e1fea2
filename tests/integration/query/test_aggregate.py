from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from tests.integration.query.conftest import Database, Query
from tests.integration.query.reference import FUNCTIONS, PERCENTILES, Ask, Point, assert_same, expected

START = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
SECOND = timedelta(seconds=1)
ALL = (*FUNCTIONS, *PERCENTILES)


def point(seconds: float, tags: dict[str, str], **fields: float) -> Point:
    """A point some seconds after START."""
    return Point(tuple(sorted(tags.items())), START + seconds * SECOND, fields)


FLEET = [
    point(seconds + rank, tags, user=(seconds * 7 + rank * 13) % 101, idle=-1.5 * rank + seconds)
    for seconds in range(0, 3600, 100)
    for rank, tags in enumerate(
        [
            {"host": "web-1", "region": "eu", "os": "linux"},
            {"host": "web-2", "region": "eu"},
            {"host": "db-1", "region": "us", "os": "bsd"},
            {"hostname": "db-2", "region": ""},
            {"instance": "10.0.0.1:9100"},
            {"region": "eu"},
        ]
    )
]
"""Six series: some without a host, a region or an os, one with an empty region."""

HOUR = Ask(("user",), ("avg",), START, START + timedelta(hours=1))


def ask(**changes: Any) -> Ask:
    """The average over the fleet's hour, changed."""
    return Ask(**{**HOUR.__dict__, **changes})


async def test_every_function_by_tags_and_windows(query: Query, stored: Database) -> None:
    """All functions of two metrics at once are those of plain Python, whatever the grouping and the step."""
    stored.store("cpu", FLEET)
    for by in ((), ("host",), ("region",), ("region", "os"), ("nothing",)):
        for step in (None, "10m", "7m"):
            wanted = ask(fields=("user", "idle"), fns=ALL, by=by, step=step)
            assert_same(await query.aggregate(**wanted.parameters("cpu")), expected(FLEET, wanted))


async def test_one_function_of_one_metric(query: Query, stored: Database) -> None:
    """A single number has the same value as among many."""
    stored.store("cpu", FLEET)
    for fn in ALL:
        for step in (None, "15m"):
            wanted = ask(fns=(fn,), by=("host",), step=step)
            assert_same(await query.aggregate(**wanted.parameters("cpu")), expected(FLEET, wanted))


MATCHES = [
    (("host", "=", "web-1"),),
    (("host", "=", "db-2"),),
    (("host", "=", ""),),
    (("host", "!=", "web-1"),),
    (("host", "!=", ""),),
    (("host", "=~", "web-."),),
    (("host", "=~", "web"),),
    (("host", "=~", "|db-1"),),
    (("host", "=~", "web-1|db-1"),),
    (("host", "!~", "web-1||db-1"),),
    (("region", "!~", "eu|nowhere"),),
    (("region", "=~", "eu|us"), ("host", "!~", "web-1")),
    (("host", "!~", "web-.*|db-1"),),
    (("region", "=", "eu"),),
    (("region", "=", ""),),
    (("region", "!=", "eu"),),
    (("region", "=~", ""),),
    (("region", "=~", "e.|us"),),
    (("region", "!~", ".+"),),
    (("hostname", "=", "db-2"),),
    (("nothing", "=", "x"),),
    (("nothing", "!=", "x"),),
    (("region", "=", "eu"), ("os", "!=", "linux"), ("host", "=~", ".+")),
    (("region", "=~", "(?i)EU"),),
    (("region", "=", "%s {x} ' \" \\"),),
]


async def test_matchers(query: Query, stored: Database) -> None:
    """All four operators choose the series that Prometheus would: anchored, a missing tag being empty."""
    stored.store("cpu", FLEET)
    for match in MATCHES:
        wanted = ask(fns=("sum", "count"), by=("host", "region"), match=match)
        assert_same(await query.aggregate(**wanted.parameters("cpu")), expected(FLEET, wanted))


async def test_windows_begin_where_time_bucket_has_them(query: Query, stored: Database) -> None:
    """Days begin at midnight and weeks on Monday, in UTC, over leap days and the turn of a year too."""
    times = [datetime(2023, 12, 30, 23, 59, 59, tzinfo=UTC) + timedelta(days=days, seconds=days) for days in range(9)]
    times += [datetime(2024, 2, 28, 12, tzinfo=UTC) + timedelta(hours=hours) for hours in range(0, 60, 5)]
    points = [Point((("host", "a"),), time, {"v": float(number)}) for number, time in enumerate(times)]
    stored.store("m", points)
    end = times[-1] + SECOND
    for step, start in (("1s", end - timedelta(days=1)), ("30s", end - timedelta(days=30))):
        wanted = Ask(("v",), ("count", "sum"), start, end, step=step)
        assert_same(await query.aggregate(**wanted.parameters("m")), expected(points, wanted))
    for step in ("1m", "1h", "6h", "1d", "1w", "5w"):
        wanted = Ask(("v",), ("count", "sum"), times[0], end, step=step)
        assert_same(await query.aggregate(**wanted.parameters("m")), expected(points, wanted))


async def test_the_range_is_half_open(query: Query, stored: Database) -> None:
    """A point on the start is in, a point on the end is out, to the microsecond."""
    microsecond = timedelta(microseconds=1)
    times = [START - microsecond, START, START + 60 * SECOND - microsecond, START + 60 * SECOND]
    points = [Point((), time, {"v": 1.0}) for time in times]
    stored.store("m", points)
    answer = await query.aggregate(**Ask(("v",), ("count",), START, START + 60 * SECOND).parameters("m"))
    assert answer["series"] == [{"tags": {}, "value": 2}]


async def test_a_window_cut_by_the_start_keeps_its_own(query: Query, stored: Database) -> None:
    """The first window may begin before the start, and has only the points that do not."""
    stored.store("cpu", FLEET)
    wanted = ask(start=START + 330 * SECOND, end=START + 990 * SECOND, fns=ALL, step="5m")
    answer = await query.aggregate(**wanted.parameters("cpu"))
    assert_same(answer, expected(FLEET, wanted))
    assert answer["series"][0]["points"][0][0] == "2026-03-01T12:05:00Z"


async def test_an_empty_range_has_no_series(query: Query, stored: Database) -> None:
    """Where there is no point there is no series, with a step and without, with tags and without."""
    stored.store("cpu", FLEET)
    for by in ((), ("host",)):
        for step in (None, "5m"):
            empty = ask(start=START - timedelta(days=2), end=START, by=by, step=step, fns=ALL)
            assert (await query.aggregate(**empty.parameters("cpu")))["series"] == []


async def test_a_matcher_that_chooses_nothing(query: Query, stored: Database) -> None:
    """No series chosen, no series answered."""
    stored.store("cpu", FLEET)
    wanted = ask(match=(("host", "=", "nobody"),), fns=("count",))
    assert (await query.aggregate(**wanted.parameters("cpu")))["series"] == []


async def test_a_metric_without_values(query: Query, stored: Database) -> None:
    """Rows that have other fields only are no points of the metric; beside another metric, its numbers are null."""
    points = [point(0, {"host": "a"}, x=1.0), point(10, {"host": "a"}, x=2.0, y=5.0), point(90, {"host": "b"}, x=3.0)]
    stored.store("m", points)
    only = ask(fields=("y",), fns=ALL, by=("host",), step="1m")
    answer = await query.aggregate(**only.parameters("m"))
    assert_same(answer, expected(points, only))
    assert [series["tags"] for series in answer["series"]] == [{"host": "a"}]
    both = ask(fields=("x", "y"), fns=ALL, by=("host",))
    answer = await query.aggregate(**both.parameters("m"))
    assert_same(answer, expected(points, both))
    assert answer["series"][1]["values"]["m.y"] == {
        **dict.fromkeys(ALL), "count": 0
    }  # fmt: skip


async def test_the_shape_of_an_answer(query: Query, stored: Database) -> None:
    """The answer says what was asked, from where it came, and has a tag for every `by`."""
    stored.store("cpu", [point(0, {"host": "a"}, user=1.0, idle=9.0), point(60, {"host": "a"}, user=3.0, idle=8.5)])
    wanted = ask(by=("host", "region"))
    asked = {"fn": ["avg"], "start": "2026-03-01T12:00:00Z", "end": "2026-03-01T13:00:00Z", "source": ["raw"]}
    tags = {"host": "a", "region": ""}
    assert await query.aggregate(**wanted.parameters("cpu")) == {
        **asked, "metric": ["cpu.user"], "step": None, "series": [{"tags": tags, "value": 2.0}]
    }  # fmt: skip
    wanted = ask(fields=("user", "idle"), by=("host", "region"), step="1m")
    assert await query.aggregate(**wanted.parameters("cpu")) == {
        **asked,
        "metric": ["cpu.user", "cpu.idle"],
        "step": "1m",
        "columns": [{"metric": "cpu.user", "fn": "avg"}, {"metric": "cpu.idle", "fn": "avg"}],
        "series": [{"tags": tags, "points": [["2026-03-01T12:00:00Z", 1.0, 9.0], ["2026-03-01T12:01:00Z", 3.0, 8.5]]}],
    }


async def test_get_and_post_answer_the_same(query: Query, stored: Database) -> None:
    """A JSON body with the same names has the same answer, whatever its type is said to be."""
    stored.store("cpu", FLEET)
    wanted = ask(by=("host",), step="10m", fns=("min", "max"))
    body = {**wanted.parameters("cpu"), "fn": ["min", "max"], "by": ["host"], "start": START.timestamp()}
    async with query.client.post(f"{query.url}/api/v1/aggregate", json=body) as response:
        assert response.status == 200
        assert await response.json() == await query.aggregate(**wanted.parameters("cpu"))


async def test_names_with_dots_quotes_and_reserved_words(query: Query, stored: Database) -> None:
    """Any name that ingest takes can be asked for, and is never read as SQL."""
    names = ['a.b"; DROP TABLE x; --', "select", "naïve 数", "{value}", "%s", "%(start)s", "bucket", "sum_0"]
    fields = ["f.g", "time", "host", "series_id", "partial", 'q"uote', "bucket", "first_time_0", "p"]
    points = [Point((("k", "v"),), START, {field: float(number) for number, field in enumerate(fields)})]
    for name in names:
        stored.store(name, points)
        for number, field in enumerate(fields):
            wanted = ask(fields=(field,), fns=("max",), by=("k",), step="1h")
            answer = await query.aggregate(**wanted.parameters(name))
            assert answer["series"] == [{"tags": {"k": "v"}, "points": [["2026-03-01T12:00:00Z", number]]}]


async def test_tags_with_strange_names(query: Query, stored: Database) -> None:
    """A tag's name and value are values in SQL, whatever they hold."""
    strange = 'it\'s %(start)s {0} "x" \\ 数\n'
    stored.store("m", [point(0, {strange: strange, "host": "a"}, v=1.0), point(0, {"host": "b"}, v=2.0)])
    body = {"metric": "m.v", "by": [strange], "match": [f"{strange}={strange}"], "start": 0, "fn": "sum"}
    async with query.client.post(f"{query.url}/api/v1/aggregate", json=body) as response:
        assert (await response.json())["series"] == [{"tags": {strange: strange}, "value": 1.0}]


async def test_points_at_the_same_moment_have_a_first(query: Query, stored: Database) -> None:
    """Of points of several series at one moment, first and last are those of the series that was made first."""
    points = [point(0, {"host": host}, v=value) for host, value in (("c", 5.0), ("a", 7.0), ("b", 6.0))]
    stored.store("m", points)
    answer = await query.aggregate(**ask(fields=("v",), fns=("first", "last")).parameters("m"))
    assert answer["series"][0]["values"]["m.v"] == {"first": 5.0, "last": 5.0}


async def test_a_sum_past_double_precision_is_the_clients_to_change(query: Query, stored: Database) -> None:
    """Sums that overflow are refused with the parameter; the largest value itself can be had."""
    stored.store("m", [point(seconds, {"host": "a"}, v=1.7e308) for seconds in range(3)])
    wanted = ask(fields=("v",), fns=("sum",))
    refusal = await query.refused(**wanted.parameters("m"))
    assert refusal["parameter"] == "fn"
    assert "double precision" in refusal["message"]
    answer = await query.aggregate(**ask(fields=("v",), fns=("max",)).parameters("m"))
    assert answer["series"][0]["value"] == 1.7e308
