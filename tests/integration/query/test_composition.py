from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.integration.query.conftest import Database, Query
from tests.integration.query.fleet import DAYS, EVER, HOUR, START, ask, at, both, fleet
from tests.integration.query.reference import Ask, Point, assert_same, expected
from tests.integration.query.rolled import WIDTHS, Part, Range, roll_up


async def check(query: Query, points: list[Point], wanted: Ask, *source: str) -> None:
    """The answer is that of plain Python, and comes from these sources."""
    answer = await query.aggregate(**wanted.parameters("m"))
    assert_same(answer, expected(points, wanted))
    assert answer["source"] == list(source), answer["source"]


async def test_whole_windows_come_from_the_coarsest_rollup(query: Query, stored: Database) -> None:
    """Nothing else is read where the range and the windows begin and end with its buckets."""
    points = fleet()
    stored.store("m", points)
    roll_up(stored.url, "m", both())
    stored.execute("TRUNCATE points.m")
    for step in (None, "1h", "2h", "1d", "1w", "1mo"):
        await check(query, points, ask(step=step), "m_1h")
    await check(query, points, ask(step="10m"), "m_10m")
    await check(query, points, ask(step="30m", start=at(20), end=at(3000)), "m_10m")


async def test_ragged_edges_come_from_finer_sources(query: Query, stored: Database) -> None:
    """A bucket that the range cuts is read from the rollup below it, and what that cannot tell from the points."""
    points = fleet()
    stored.store("m", points)
    roll_up(stored.url, "m", both())
    for step in (None, "3h"):
        await check(query, points, ask(step=step, start=at(63), end=at(4000.5)), "m_1h", "m_10m", "raw")
    await check(query, points, ask(step=None, start=at(20), end=at(4000)), "m_1h", "m_10m")
    await check(query, points, ask(step=None, start=at(45), end=at(3000)), "m_1h", "raw")


async def test_a_bucket_that_is_cut_is_not_read(query: Query, stored: Database) -> None:
    """A point on a boundary belongs to the bucket that it begins, and the end of the range to none."""
    points = [
        Point((("host", "a"),), at(minute), {"x": value})
        for minute, value in ((59, 1.0), (60, 2.0), (119 + 59 / 60, 4.0), (600, 8.0), (601, 16.0))
    ]
    stored.store("m", points)
    roll_up(stored.url, "m", both(fields=("x",)))
    for start, end in ((60, 600), (59, 601), (60 + 1 / 60, 600), (61, 601 + 1 / 60), (0, 660)):
        wanted = ask(fields=("x",), start=at(start), end=at(end), step=None)
        assert_same(await query.aggregate(**wanted.parameters("m")), expected(points, wanted))


async def test_what_is_not_valid_is_read_from_the_points(query: Query, stored: Database) -> None:
    """Late points, and the newest, are in no rollup that is believed."""
    points = fleet()
    stored.store("m", points)
    valid = ((at(0), at(1200)), (at(1260), at(2400)), (at(2410), at(4800)))
    roll_up(stored.url, "m", both(*valid))
    late = [Point(points[0].tags, at(minute + 0.5), {"x": 1000.0}) for minute in (1201, 2402, 4900)]
    stored.store("m", late)
    for step in ("1h", "2h", None):
        await check(query, points + late, ask(step=step), "m_1h", "m_10m", "raw")


async def test_fields_of_several_parts_and_of_none(query: Query, stored: Database) -> None:
    """Each field is read from the rollup that has it; one that has none is read from the points."""
    points = [Point(one.tags, one.time, {**one.fields, "z": 3.0}) for one in fleet()]
    stored.store("m", points)
    parts = [*both(fields=("x",)), Part("10m", 2, ("y",), EVER)]
    roll_up(stored.url, "m", parts)
    await check(query, points, ask(step="1h"), "m_1h", "m_10m")
    await check(query, points, ask(step="1h", fields=("z", "x")), "m_1h", "raw")
    await check(query, points, ask(step="1h", fields=("y", "z", "x")), "m_1h", "m_10m", "raw")
    await check(query, points, ask(step="1h", fields=("z",)), "raw")


async def test_functions_that_need_points(query: Query, stored: Database) -> None:
    """Points that must be read serve all functions; percentiles read them beside the rollups of the others."""
    points = fleet(days=2)
    stored.store("m", points)
    roll_up(stored.url, "m", both())
    for fns in (("avg", "last"), ("stddev",), ("rate", "count"), ("first",)):
        await check(query, points, ask(fns=fns, end=at(2880)), "raw")
    await check(query, points, ask(fns=("avg", "p95", "median"), end=at(2880)), "m_1h", "raw")
    await check(query, points, ask(fns=("p95",), end=at(2880)), "raw")


async def test_windows_that_rollups_do_not_fit(query: Query, stored: Database) -> None:
    """Where windows begin within buckets, these are read from the points: all of them, or those few."""
    points = fleet()
    stored.store("m", points)
    roll_up(stored.url, "m", both())
    await check(query, points, ask(step="5m", end=at(2000)), "raw")
    await check(query, points, ask(step="15m", end=at(2000)), "raw")
    await check(query, points, ask(step="90m"), "m_10m")
    await check(query, points, ask(step="1d", tz="Europe/Berlin"), "m_1h")
    await check(query, points, ask(step="1d", tz="Asia/Kolkata"), "m_1h", "m_10m")
    await check(query, points, ask(step="1d", tz="Asia/Kathmandu"), "m_1h", "m_10m", "raw")


async def test_few_series_and_short_ranges_are_read_from_points(query: Query, stored: Database) -> None:
    """Where there is little to save, nobody looks for rollups: the statement is not even made."""
    points = fleet()
    stored.store("m", points)
    roll_up(stored.url, "m", both())
    one_host = (("host", "=", "a"),)
    recent = datetime.now(UTC).replace(microsecond=0)
    for wanted in (
        {"fn": "avg", "start": (recent - HOUR).isoformat(), "step": "1m"},
        {"fn": "last", "start": (recent - 20 * HOUR).isoformat()},
        {"fn": "avg", "start": (recent - 20 * HOUR).isoformat(), "match": "host=a"},
        {"fn": "avg", "start": (recent - 8 * HOUR).isoformat(), "match": "host=~a|b|c|d|e|f|g|h"},
        {"fn": "avg", "start": (recent - HOUR / 3).isoformat()},
        {"fn": "avg", "start": "2026-03-27T00:00:00Z", "resolution": "raw"},
    ):
        await query.aggregate(metric="m.x", **wanted)
    assert await query.counted("query_statement_seconds_count", statement="rollups") == 0
    await check(query, points, ask(match=one_host, end=at(20 * 60)), "raw")
    await check(query, points, ask(match=one_host, end=at(48 * 60)), "m_1h")
    await check(query, points, ask(match=(("host", "!=", "a"),), end=at(20 * 60)), "m_1h")
    for hosts, hours, source in (
        ("a|b", 20, "raw"),
        ("a|b|c|d", 20, "m_1h"),
        ("a|.*", 20, "m_1h"),
        ("a|b", 48, "m_1h"),
    ):
        await check(query, points, ask(match=(("host", "=~", hosts),), end=at(hours * 60)), source)


async def test_series_in_order_of_rolled_up_values(query: Query, stored: Database) -> None:
    """Curves are ordered by values that may come from another source than their points."""
    points = fleet()
    stored.store("m", points)
    roll_up(stored.url, "m", both())
    await check(query, points, ask(step="2h", fns=("max", "count"), limit=2), "m_1h")
    wanted = ask(step="5m", fns=("sum", "min"), order="asc", order_by=("min", "x"), limit=1, end=at(2000))
    await check(query, points, wanted, "m_1h", "raw")


async def test_a_rollup_by_name(query: Query, stored: Database) -> None:
    """By its width or its name, it alone is read as it stands; buckets that the range cuts are left out."""
    points = fleet(days=1)
    stored.store("m", points)
    roll_up(stored.url, "m", both((at(0), at(10))), spoiled=False)
    stored.execute("TRUNCATE points.m")
    for name in ("1h", "m_1h"):
        await check(query, points, ask(resolution=name, step="2h", end=at(1440)), "m_1h")
    await check(query, points, ask(resolution="10m", step=None, end=at(1440)), "m_10m")
    answer = await query.aggregate(**ask(resolution="1h", step=None, start=at(30), end=at(150)).parameters("m"))
    assert_same(answer, expected(points, ask(step=None, start=at(60), end=at(120))))
    answer = await query.aggregate(**ask(resolution="1h", start=at(61), end=at(150)).parameters("m"))
    assert (answer["series"], answer["source"]) == ([], [])


async def test_a_rollup_that_cannot_answer_is_refused(query: Query, stored: Database) -> None:
    """The refusal says which there are, or what of the request does not fit."""
    stored.store("m", [Point(one.tags, one.time, {**one.fields, "z": 1.0}) for one in fleet(days=1)])
    roll_up(stored.url, "m", both())
    for changes, words in (
        ({"resolution": "5m"}, "m.x has no rollup '5m'; allowed: auto, raw, 10m, m_10m, 1h, m_1h"),
        ({"resolution": "1h", "fields": ("x", "z")}, "m.z has no rollup '1h'; allowed: auto, raw"),
        ({"resolution": "1h", "fns": ("avg", "p95")}, "avg, min, max, sum, count"),
        ({"resolution": "1h", "step": "90m"}, "begin within the buckets of m_1h; allowed: a step of whole multiples"),
        ({"resolution": "1h", "step": "1d", "tz": "Asia/Kolkata"}, "begin within the buckets of m_1h"),
    ):
        refusal = await query.refused(**ask(**changes).parameters("m"))
        assert refusal["parameter"] == "resolution"
        assert words in refusal["message"]


async def test_a_rollup_that_is_dropped_meanwhile(query: Query, stored: Database) -> None:
    """The request may be sent again: then nobody promises that rollup any more."""
    stored.store("m", fleet(days=1))
    roll_up(stored.url, "m", both())
    stored.execute("DROP TABLE rollups.test_1h_1")
    status, answer = await query.get("/api/v1/aggregate", ask(end=at(1440)).parameters("m"))
    assert (status, answer["code"]) == (503, "unavailable")
    assert "was changed while it was answered" in answer["message"]


MINUTES = st.integers(0, DAYS * 24 * 6).map(lambda tens: tens * 10.0) | st.floats(0, DAYS * 24 * 60)
HOLES = st.lists(st.tuples(st.integers(0, DAYS * 24 * 6), st.integers(1, 40)), max_size=4)
LATE = st.lists(
    st.tuples(st.sampled_from("abcd"), MINUTES, st.sampled_from([{"x": 55.0}, {"y": -7.5}, {"z": 1.0, "x": 2.0}])),
    max_size=8,
    unique_by=lambda one: (one[0], round(one[1] * 60_000_000)),
)


def valid_but_for(holes: list[tuple[int, int]], late: list[Point], size: str, newest: float) -> tuple[Range, ...]:
    """All buckets before `newest` but those in holes (tens of minutes: where, how long) and those of late points."""
    width = WIDTHS[size]
    stale = [(at(start * 10), at((start + length) * 10)) for start, length in holes]
    buckets = [START + number * width for number in range(int(timedelta(days=DAYS) / width))]
    return tuple(
        (bucket, bucket + width)
        for bucket in buckets
        if bucket + width <= at(newest)
        and not any(start < bucket + width and bucket < end for start, end in stale)
        and not any(bucket <= point.time < bucket + width for point in late)
    )


@st.composite
def asks(draw: st.DrawFn) -> Ask:
    """Any request over the days that there are points of."""
    start, end = sorted(draw(st.tuples(MINUTES, MINUTES)))
    fns = draw(st.lists(st.sampled_from(["avg", "min", "max", "sum", "count"]), min_size=1, unique=True))
    fns += draw(st.sampled_from([[], [], ["last"], ["p90"], ["stddev", "increase"]]))
    step = draw(st.sampled_from([None, "10m", "15m", "20m", "1h", "90m", "6h", "1d", "1mo"]))
    return ask(
        fields=tuple(draw(st.lists(st.sampled_from("xyz"), min_size=1, unique=True))),
        fns=tuple(fns),
        start=at(start),
        end=at(end + 0.001),
        by=draw(st.sampled_from([(), ("host",), ("region",)])),
        step=step,
        tz=draw(st.sampled_from([None, "Europe/Berlin", "Asia/Kolkata", "Asia/Kathmandu"])),
        match=draw(st.sampled_from([(), (), (("host", "!=", "a"),), (("host", "=", "b"),)])),
        fill=draw(st.sampled_from([None, "previous"])) if step else None,
    )


@settings(max_examples=30, deadline=None, database=None, suppress_health_check=list(HealthCheck))
@given(wanted=asks(), late=LATE, holes=HOLES, newest=MINUTES, of_y=st.sampled_from(["x", "y", "none"]))
async def test_composed_answers_are_those_of_points(
    query: Query,
    stored: Database,
    wanted: Ask,
    late: list[tuple[str, float, dict[str, float]]],
    holes: list[tuple[int, int]],
    newest: float,
    of_y: str,
) -> None:
    """Whatever is valid, came late and is asked, the answer is that of plain Python over all points."""
    points = fleet(every=19)
    stored.store("m", [Point((("host", "first"),), START, {"x": 0.0, "y": 0.0, "z": 0.0})])
    stored.execute("TRUNCATE points.m")
    stored.execute("DELETE FROM catalog.series")
    stored.store("m", points)
    taken = {(point.tags, point.time) for point in points}
    late_points = [
        one
        for host, minutes, fields in late
        if ((one := Point((("host", host), ("region", "eu")), at(minutes), fields)).tags, one.time) not in taken
    ]
    with_y = [Part(size, 2, ("y",), valid_but_for(holes[1:], late_points, size, newest)) for size in WIDTHS]
    fields = ("x", "y") if of_y == "x" else ("x",)
    parts = [Part(size, 1, fields, valid_but_for(holes, late_points, size, newest)) for size in WIDTHS]
    roll_up(stored.url, "m", parts + (with_y if of_y == "y" else []))
    if late_points:
        stored.store("m", late_points)
    assert_same(await query.aggregate(**wanted.parameters("m")), expected(points + late_points, wanted))
