from __future__ import annotations

import operator
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.integration.query.conftest import Database, Query, ServeQuery
from tests.integration.query.reference import Point

START = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
SECOND = timedelta(seconds=1)
RANGE = {"start": START.isoformat(), "end": (START + timedelta(hours=24)).isoformat()}

OPERATORS: dict[str, Callable[[float, float], bool]] = {
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
    "=": operator.eq,
    "!=": operator.ne,
}

FLEET = [
    Point(
        (("host", host), ("region", region)),
        START + seconds * SECOND,
        {"user": float((seconds + rank * 13) % 101)} | ({"idle": -float(seconds)} if seconds % 500 else {}),
    )
    for seconds in range(0, 80_000, 700)
    for rank, (host, region) in enumerate((("web-1", "eu"), ("web-2", "eu"), ("db-1", "us")))
]


async def found(query: Query, **parameters: Any) -> Any:
    """The answer of a request that succeeds."""
    status, answer = await query.get("/api/v1/points", {**RANGE, **parameters})
    assert status == 200, answer
    return answer


def wanted(points: list[Point], fields: tuple[str, ...]) -> list[list[Any]]:
    """The rows of the fleet's points, as the answer has them but for the ids: time, host, numbers."""
    ranks = list(dict.fromkeys(point.tags for point in FLEET))
    chosen = [one for one in points if any(field in one.fields for field in fields)]
    chosen.sort(key=lambda one: (one.time, ranks.index(one.tags)))
    return [
        [one.time.isoformat().replace("+00:00", "Z"), one.tag("host"), *(one.fields.get(field) for field in fields)]
        for one in chosen
    ]


def without_ids(answer: Any) -> list[list[Any]]:
    """The rows of an answer without the ids of their series."""
    return [[row[0], *row[2:]] for row in answer["points"]]


async def test_points_that_exceed_a_value(query: Query, stored: Database) -> None:
    """By each sign, all conditions together, in the order of time; a point without the number fulfils nothing."""
    stored.store("cpu", FLEET)
    for sign, compare in OPERATORS.items():
        answer = await found(query, where=f"cpu.user{sign}50", metric=["cpu.user", "cpu.idle"])
        expected = [one for one in FLEET if compare(one.fields["user"], 50)]
        assert without_ids(answer) == wanted(expected, ("user", "idle"))
    answer = await found(query, where=["cpu.user>50", "cpu.idle>-10000"], metric="cpu.user")
    both = [one for one in FLEET if one.fields["user"] > 50 and one.fields.get("idle", -1e9) > -10_000]
    assert without_ids(answer) == wanted(both, ("user",))


async def test_the_shape_of_an_answer(query: Query, stored: Database) -> None:
    """Each point is a list, whose members are named once; tags and ids say whose it is."""
    points = [
        Point((("host", "a"), ("k", "x")), START, {"v": 1.0, "w": 2.0}),
        Point((("host", "b"),), START, {"v": 3.0}),
    ]
    stored.store("m", points)
    ids = [row[0] for row in stored.execute("SELECT id FROM catalog.series ORDER BY id")]
    assert await found(query, measurement="m", by="k,host,none") == {
        "measurement": "m",
        "start": "2026-03-01T12:00:00Z",
        "end": "2026-03-02T12:00:00Z",
        "columns": ["time", "id", "k", "host", "none", "v", "w"],
        "points": [
            ["2026-03-01T12:00:00Z", ids[0], "x", "a", "", 1.0, 2.0],
            ["2026-03-01T12:00:00Z", ids[1], "", "b", "", 3.0, None],
        ],
        "next": None,
    }
    async with query.client.get(
        f"{query.url}/api/v1/points", params={**RANGE, "metric": "m.v", "match": "host=b", "format": "csv"}
    ) as response:
        assert (await response.text()).splitlines() == ["time,id,host,v", f"2026-03-01T12:00:00Z,{ids[1]},b,3.0"]


async def test_points_of_series_that_match(query: Query, stored: Database) -> None:
    """Matchers choose series as they do for aggregates, and the range has a beginning and no end."""
    stored.store("cpu", FLEET)
    end = START + 7000 * SECOND
    for match, chosen in (
        ("host=web-1", {"web-1"}),
        ("region=~e.", {"web-1", "web-2"}),
        ("region!=eu", {"db-1"}),
        ("host!~web.*", {"db-1"}),
    ):
        answer = await found(query, metric="cpu.user", match=match, end=end.isoformat())
        expected = [one for one in FLEET if one.tag("host") in chosen and START <= one.time < end]
        assert without_ids(answer) == wanted(expected, ("user",))


async def test_pages(query: Query, stored: Database) -> None:
    """Pages follow each other in both orders, also within a moment, and no point is missing or twice."""
    stored.store("cpu", FLEET)
    for order in ("asc", "desc"):
        whole = await found(query, metric="cpu.user", where="cpu.user>20", order=order)
        pages: list[Any] = []
        after: dict[str, str] = {}
        while True:
            page = await found(query, metric="cpu.user", where="cpu.user>20", order=order, limit=7, **after)
            pages += page["points"]
            if page["next"] is None:
                break
            assert len(page["points"]) == 7
            after = {"after": page["next"]}
        assert pages == whole["points"]
        assert [row[0] for row in pages] == sorted((row[0] for row in pages), reverse=order == "desc")
    assert len(pages) > 100


async def test_points_in_any_order(database: str, stored: Database, serve_query: ServeQuery) -> None:
    """All of them are there once, known before or not; more than the bound are refused, as in any other order."""
    stored.store("cpu", FLEET)
    query = await serve_query(database, max_values=2 * len(FLEET))
    await query.until_ready()
    for parameters in ({"measurement": "cpu"}, {"where": "cpu.user>50"}, {"where": "cpu.user>50"}):
        sorted_ones = await found(query, **parameters)
        answer = await found(query, **parameters, order="any")
        assert sorted(answer["points"], key=lambda row: row[:2]) == sorted_ones["points"]
        assert answer["next"] is None
    assert (await found(query, where="cpu.user>1000", order="any"))["points"] == []
    bounded = await serve_query(database, max_values=100)
    await bounded.until_ready()
    status, answer = await bounded.get("/api/v1/points", {**RANGE, "measurement": "cpu", "order": "any"})
    assert (status, answer["code"], answer["limit"]) == (400, "limit", "QUERY_MAX_VALUES")


async def test_what_is_not_there(query: Query, stored: Database) -> None:
    """Names that do not exist, or not in one measurement, are told with their parameter."""
    stored.store("cpu", FLEET[:1])
    stored.store("mem", [Point((("host", "a"),), START, {"used": 1.0})])
    for parameters, status, parameter, words in (
        ({"measurement": "cpux"}, 404, "measurement", "there is no 'cpux'; known: cpu"),
        ({"where": "cpu.usr>1"}, 404, "metric", "there is no 'cpu.usr'; known: cpu.user"),
        ({"metric": "cpu.user", "where": "mem.used>1"}, 400, "metric", "several measurements (cpu, mem)"),
        ({"measurement": "mem", "where": "cpu.user>1"}, 400, "metric", "cpu.user is not of mem"),
        ({"measurement": "cpu", "match": "host=~("}, 400, "match", "invalid regular expression"),
        ({}, 400, "measurement", "required unless"),
    ):
        found_status, answer = await query.get("/api/v1/points", {**RANGE, **parameters})
        assert (found_status, answer["parameter"]) == (status, parameter), answer
        assert words in answer["message"]


async def test_a_measurement_that_is_dropped_between_two_looks(query: Query, stored: Database) -> None:
    """It was there, and its fields are not: who asks once more is told what is so then."""
    stored.store("cpu", FLEET[:1])
    stored.execute("DELETE FROM catalog.field")
    status, answer = await query.get("/api/v1/points", {**RANGE, "measurement": "cpu"})
    assert (status, answer["code"]) == (503, "unavailable"), answer


async def test_answers_have_bounds(database: str, stored: Database, serve_query: ServeQuery) -> None:
    """Past QUERY_MAX_VALUES an answer is refused, never cut short; a page of as many is answered."""
    stored.store("cpu", FLEET)
    query = await serve_query(database, max_values=100, max_columns=3)
    await query.until_ready()
    for parameters, limit in (
        ({"measurement": "cpu"}, "QUERY_MAX_VALUES"),
        ({"measurement": "cpu", "limit": 51}, "QUERY_MAX_VALUES"),
        ({"where": [f"cpu.user>{number}" for number in range(4)]}, "QUERY_MAX_COLUMNS"),
        ({"metric": [f"cpu.f{number}" for number in range(4)]}, "QUERY_MAX_COLUMNS"),
        ({"measurement": "cpu", "by": ",".join("abcdefghijklmnopqrstu")}, "QUERY_MAX_TAGS"),
    ):
        status, answer = await query.get("/api/v1/points", {**RANGE, **parameters})
        assert (status, answer["code"], answer["limit"]) == (400, "limit", limit)
    page = await found(query, measurement="cpu", limit=50)
    assert (len(page["points"]), page["next"] is None) == (50, False)
    page = await found(query, metric="cpu.user", end=(START + 23_100 * SECOND).isoformat())
    assert (len(page["points"]), page["next"]) == (99, None)


async def test_strange_names(query: Query, stored: Database) -> None:
    """Names of any kind are names, and never SQL."""
    name, field, tag = 'a"; DROP TABLE x; --%s', 'q"uote %(x)s {}', "it's {0} %s"
    stored.store(name, [Point(((tag, "x"),), START, {field: 7.0, "time": 1.0})])
    metric = f"{name}.{field}"
    answer = await found(query, where=f"{metric}>=7", metric=[metric, f"{name}.time"], by=tag, match=f"{tag}=x")
    assert without_ids(answer) == [["2026-03-01T12:00:00Z", "x", 7.0, 1.0]]
    assert answer["columns"] == ["time", "id", tag, field, "time_"]


@settings(max_examples=30, deadline=None, database=None, suppress_health_check=list(HealthCheck))
@given(
    conditions=st.lists(
        st.tuples(st.sampled_from(["user", "idle"]), st.sampled_from(sorted(OPERATORS)), st.integers(-90_000, 110)),
        max_size=3,
    ),
    fields=st.lists(st.sampled_from(["user", "idle"]), min_size=1, unique=True).map(tuple),
    start=st.integers(-100, 80_000),
    length=st.integers(1, 90_000),
)
async def test_random_conditions(
    query: Query,
    stored: Database,
    conditions: list[tuple[str, str, int]],
    fields: tuple[str, ...],
    start: int,
    length: int,
) -> None:
    """Whatever the conditions and the range, the points are those of plain Python."""
    if not stored.execute("SELECT name FROM catalog.measurement"):
        stored.store("cpu", FLEET)
    begin, end = START + start * SECOND, START + (start + length) * SECOND
    answer = await found(
        query,
        metric=[f"cpu.{field}" for field in fields],
        where=[f"cpu.{field}{sign}{number}" for field, sign, number in conditions],
        start=begin.isoformat(),
        end=end.isoformat(),
    )
    expected = [
        one
        for one in FLEET
        if begin <= one.time < end
        and all(name in one.fields and OPERATORS[sign](one.fields[name], value) for name, sign, value in conditions)
    ]
    assert without_ids(answer) == wanted(expected, fields)
