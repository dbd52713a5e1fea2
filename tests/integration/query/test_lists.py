from __future__ import annotations

from datetime import datetime
from typing import Any
from urllib.parse import quote

import pytest
from yarl import URL

from tests.integration.query.conftest import Database, Query, ServeQuery
from tests.integration.query.listing import HOUR, NOW, PATHS, iso, listed, member, names, point, store_fleet
from tests.integration.query.reference import Point


@pytest.fixture
def fleet(stored: Database) -> Database:
    """Three hosts in two measurements."""
    store_fleet(stored)
    return stored


async def test_lists_of_nothing(query: Query) -> None:
    """Before the first point every list is empty, in every form of the question."""
    for path in PATHS:
        for parameters in ({}, {"match": "host=a"}, {"search": "a"}, {"limit": 1}, {"start": "-1h"}):
            status, answer = await query.get(f"/api/v1/{path}", parameters)
            assert status == 200 or "there is no such parameter" in answer["message"], answer
            assert status == 400 or answer[member(path)] == []


async def test_hosts_of_all_measurements_with_their_last_point(query: Query, stored: Database) -> None:
    """A host is there once, with the newest of its points in any measurement and series; null when silent."""
    stored.store("cpu", [point(5 * HOUR, host="a", cpu="0"), point(2 * HOUR, host="a", cpu="1"), point(HOUR, host="b")])
    stored.store("mem", [point(3 * HOUR, host="a"), point(30 * HOUR, hostname="old"), point(HOUR, region="eu")])
    status, answer = await query.get("/api/v1/hosts")
    assert status == 200
    assert answer["hosts"] == [
        {"host": "a", "last_seen": iso(NOW - 2 * HOUR)},
        {"host": "b", "last_seen": iso(NOW - HOUR)},
        {"host": "old", "last_seen": None},
    ]


async def test_hosts_since_and_by_match(query: Query, stored: Database) -> None:
    """`since` says how far to look back, and matchers choose hosts as they choose series."""
    stored.store("cpu", [point(HOUR, host="a", region="eu"), point(30 * HOUR, host="b", region="us")])
    since = iso(NOW - 48 * HOUR)
    _, answer = await query.get("/api/v1/hosts", {"since": since, "match": ["region=~u.", "host!=a"]})
    assert answer == {"since": since, "hosts": [{"host": "b", "last_seen": iso(NOW - 30 * HOUR)}], "next": None}
    _, answer = await query.get("/api/v1/hosts", {"since": "-30m", "match": "host=a"})
    assert answer["hosts"] == [{"host": "a", "last_seen": None}]


async def test_newest_points_by_metrics_of_a_measurement(query: Query, stored: Database) -> None:
    """A metric means a field of the measurement that is named, though a longer name could have it too."""
    for measurement, field, value in (("a", "b.c", 1.0), ("a.b", "c", 2.0), ("mem", "used", 3.0)):
        stored.store(measurement, [Point((("host", measurement),), NOW, {field: value})])
    for named, fields in (({"measurement": "a"}, {"b.c": 1.0}), ({"measurement": "a.b"}, {"c": 2.0}), ({}, {"c": 2.0})):
        assert await names(query, "last", "fields", metric="a.b.c", **named) == [fields]
    status, answer = await query.get("/api/v1/last", {"metric": "mem.used", "measurement": "a"})
    assert (status, answer["parameter"]) == (400, "metric")
    assert answer["message"] == "metric: mem.used is not of a; allowed: metrics of the measurement"


async def test_silent_hosts(query: Query, fleet: Database) -> None:
    """`silent_for` leaves the hosts without a point for so long, those out of reach of `since` among them.

    Points are looked for as far back as that takes: a host that was seen before `since` may not be silent for so long.
    """
    assert await names(query, "hosts", "host", silent_for="2d") == ["c"]
    assert await names(query, "hosts", "host", silent_for="4d") == []
    assert await names(query, "hosts", "host", silent_for="3h", since="-1h") == ["c"]
    _, answer = await query.get("/api/v1/hosts", {"silent_for": "2d"})
    assert datetime.fromisoformat(answer["since"]) < NOW - 47 * HOUR
    assert await names(query, "hosts", "host", silent_for="90m") == ["b", "c"]
    assert await names(query, "hosts", "host", silent_for="1d", since="-7d") == ["c"]
    assert await names(query, "hosts", "host", silent_for="1d", measurement="mem") == ["c"]
    assert await names(query, "hosts", "host", silent_for="90m", limit=1) == ["b"]
    assert await names(query, "hosts", "host", silent_for="90m", limit=1, after="b") == ["c"]


async def test_measurements_and_fields(query: Query, stored: Database) -> None:
    """Both lists are sorted; a field says its metric, and its column in SQL."""
    moment = NOW - HOUR
    stored.store("mem.x", [Point((), moment, {"used": 1.0, "time": 2.0})])
    stored.store("Cpu", [Point((), moment, {"user": 1.0})])
    both = [{"measurement": "Cpu", "fields": 1}, {"measurement": "mem.x", "fields": 2}]
    assert await query.get("/api/v1/measurements") == (200, {"measurements": both, "next": None})
    user = {"metric": "Cpu.user", "measurement": "Cpu", "field": "user", "column": "user"}
    time = {"metric": "mem.x.time", "measurement": "mem.x", "field": "time", "column": "time_"}
    used = {"metric": "mem.x.used", "measurement": "mem.x", "field": "used", "column": "used"}
    assert await listed(query, "fields") == [user, time, used]
    assert await listed(query, "fields", measurement="mem.x") == [time, used]


async def test_measurements_that_had_points(query: Query, fleet: Database) -> None:
    """With a range or matchers, only the measurements of a series that matches and had a point then."""
    fleet.store("old", [point(72 * HOUR, host="a")])
    assert await names(query, "measurements", "measurement") == ["cpu", "mem", "old"]
    assert await names(query, "measurements", "measurement", start="-3h") == ["cpu", "mem"]
    assert await names(query, "measurements", "measurement", start="-3h", match="host=b") == ["cpu"]
    assert await names(query, "measurements", "measurement", match="core=~.+") == ["cpu"]
    assert await names(query, "measurements", "measurement", end="-50h") == ["cpu", "mem", "old"]
    assert await names(query, "measurements", "measurement", start="-50h", end="-3h") == []
    assert await names(query, "measurements", "measurement", measurement="mem") == ["mem"]


async def test_tags_and_their_values(query: Query, fleet: Database) -> None:
    """Tags are counted by the series that have them; `host` is a tag of whatever has a host."""
    assert await listed(query, "tags") == [
        {"tag": "core", "series": 3},
        {"tag": "host", "series": 5},
        {"tag": "hostname", "series": 1},
        {"tag": "region", "series": 4},
    ]
    assert await names(query, "tags", "tag", measurement="mem", start="-3h") == ["host", "region"]
    assert await query.get("/api/v1/tags/region/values") == (
        200,
        {"tag": "region", "values": [{"value": "eu", "series": 3}, {"value": "us", "series": 1}], "next": None},
    )
    assert await listed(query, "tags/host/values", measurement="mem") == [
        {"value": "a", "series": 1},
        {"value": "c", "series": 1},
    ]
    assert await names(query, "tags/region/values", "value", start="-90m") == ["eu"]
    assert await names(query, "tags/core/values", "value", match="region=eu") == ["0", "1"]
    assert await listed(query, "tags/nothing/values") == []


async def test_a_tag_may_have_any_name(query: Query, stored: Database) -> None:
    """A key with signs that mean something in a URL, in SQL or to the driver is found as it is."""
    for key in ("a/b", "a%b", "a'b", "ü ?&", "%s", "{a}", "a}"):
        stored.store("cpu", [point(HOUR, **{key: "x"})])
        url = URL(f"{query.url}/api/v1/tags/{quote(key, safe='')}/values", encoded=True)
        async with query.client.get(url) as response:
            assert [entry["value"] for entry in (await response.json())["values"]] == ["x"]


async def test_measurements_and_fields_may_have_any_name(query: Query, stored: Database) -> None:
    """Names with signs that mean something in SQL or to the driver are looked into as any other."""
    for name in ("a%b", "a'b", 'a"b', "%s", "%(start)s", "a{b}c", "SELECT 1; --"):
        stored.store(name, [Point((("host", "a"), (name, name)), NOW, {name: 1.0})])
        assert await names(query, "last", "fields", measurement=name) == [{name: 1.0}]
        assert await names(query, "last", "fields", metric=f"{name}.{name}", search="a") == [{name: 1.0}]
        assert await names(query, "measurements", "measurement", measurement=name, start="-3h") == [name]
    every = sorted(await names(query, "measurements", "measurement", start="-3h"))
    assert len(every) == 7
    assert await names(query, "series", "measurement", start="-3h") == await names(query, "series", "measurement")
    assert len(await listed(query, "hosts", match=[f"{name}={name}" for name in every[:1]])) == 1


async def test_series(query: Query, fleet: Database) -> None:
    """A series has the id that points in SQL have, its host and its tags; in the order in which they were made."""
    series = await listed(query, "series", measurement="cpu")
    assert [one["tags"]["host"] for one in series] == ["a", "b", "c"]
    assert series[0] == {
        "id": series[0]["id"],
        "measurement": "cpu",
        "host": "a",
        "tags": {"core": "0", "host": "a", "region": "eu"},
    }
    assert fleet.execute("SELECT count(*) FROM points.cpu WHERE series_id = %s", series[0]["id"]) == [(1,)]
    assert await names(query, "series", "host", start="-3h") == ["a", "b", "a"]
    assert await names(query, "series", "measurement", match="host=c") == ["cpu", "mem"]
    assert await names(query, "series", "host", end="-50h", match="core=~.+") == ["c"]


async def test_the_newest_point_of_each_series(query: Query, fleet: Database) -> None:
    """The last point has its fields, whichever the measurement; a series without one since then is left out."""
    fleet.store("cpu", [Point((("host", "a"),), NOW - HOUR * minutes / 60, {"v": minutes}) for minutes in (1, 5, 90)])
    status, answer = await query.get("/api/v1/last", {"match": "host=a", "since": iso(NOW - 3 * HOUR)})
    assert status == 200
    assert answer["since"] == iso(NOW - 3 * HOUR)
    assert [(one["measurement"], one["time"], one["fields"]) for one in answer["series"]] == [
        ("cpu", iso(NOW - HOUR / 60), {"v": 1.0}),
        ("mem", iso(NOW - HOUR), {"v": 1.0}),
        ("cpu", iso(NOW - HOUR / 60), {"v": 1.0}),
    ]
    assert await names(query, "last", "host") == ["a", "b", "a", "a"]
    assert await names(query, "last", "host", since="-7d", measurement="mem") == ["a", "c"]


async def test_the_newest_point_that_has_a_field(query: Query, stored: Database) -> None:
    """With metrics, the newest point is one that has any of them, and has only them."""
    tags = (("host", "a"),)
    stored.store("cpu", [Point(tags, NOW - 2 * HOUR, {"user": 1.0, "idle": 2.0, "time": 3.0})])
    stored.store("cpu", [Point(tags, NOW - HOUR, {"idle": 4.0})])
    assert await names(query, "last", "fields") == [{"idle": 4.0}]
    assert await names(query, "last", "fields", metric="cpu.user") == [{"user": 1.0}]
    assert await names(query, "last", "fields", metric=["cpu.user", "cpu.idle"]) == [{"idle": 4.0}]
    assert await names(query, "last", "fields", metric="cpu.time") == [{"time": 3.0}]
    stored.store("mem", [Point(tags, NOW - HOUR, {"used": 5.0})])
    assert await names(query, "last", "fields", metric=["cpu.user", "mem.used"]) == [{"user": 1.0}, {"used": 5.0}]
    status, answer = await query.get("/api/v1/last", {"metric": "cpu.usr"})
    assert (status, answer["parameter"]) == (404, "metric")


async def test_every_list_is_read_in_pages(query: Query, fleet: Database) -> None:
    """Pages by `after` are the whole list, each with at most `limit` entries, and the last says that it is."""
    keys = {"last": "id", "fields": "metric", "tags": "tag", "tags/host/values": "value", "series": "id"}
    for path in PATHS:
        key = keys.get(path, path.removesuffix("s"))
        whole = await listed(query, path)
        found: list[Any] = []
        after: dict[str, Any] = {}
        while True:
            _, answer = await query.get(f"/api/v1/{path}", {"limit": 2, **after})
            page = answer[member(path)]
            found += page
            assert len(page) <= 2
            if answer["next"] is None:
                break
            assert answer["next"] == page[-1][key]
            after = {"after": answer["next"]}
        assert found == whole
        assert len(found) >= 2


async def test_pages_do_not_shift(query: Query, fleet: Database) -> None:
    """What comes before the place that was read to does not push the next page."""
    assert await names(query, "hosts", "host", limit=1) == ["a"]
    fleet.store("cpu", [point(HOUR, host="0")])
    assert await names(query, "hosts", "host", limit=1, after="a") == ["b"]


async def test_fields_that_are_one_metric_stay_together(query: Query, stored: Database) -> None:
    """Two fields may be one metric, since names have dots: a page does not end between them."""
    stored.store("a", [Point((), NOW, {"b.c": 1.0})])
    stored.store("a.b", [Point((), NOW, {"c": 1.0, "d": 1.0})])
    _, answer = await query.get("/api/v1/fields", {"limit": 1})
    assert [entry["metric"] for entry in answer["fields"]] == ["a.b.c", "a.b.c"]
    assert await names(query, "fields", "metric", limit=1, after=answer["next"]) == ["a.b.d"]


async def test_an_unknown_measurement_is_not_found(query: Query, stored: Database) -> None:
    """The refusal names the parameter and what there is."""
    stored.store("cpu", [point(HOUR, host="a")])
    for path in PATHS:
        status, answer = await query.get(f"/api/v1/{path}", {"measurement": "cpux"})
        assert status == 404
        assert answer["message"] == "measurement: there is no 'cpux'; known: cpu"


async def test_a_table_that_was_dropped_by_hand(query: Query, fleet: Database) -> None:
    """Lists go on without its points, and whoever asks for them is told to ask again."""
    # A rollup of an hour depends on one of ten minutes, which TimescaleDB does not drop with it.
    for (view,) in fleet.execute("SELECT view_name FROM catalog.rollup ORDER BY width DESC"):
        fleet.execute(f"DROP MATERIALIZED VIEW rollups.{view}")
    fleet.execute("DROP TABLE points.mem CASCADE")
    assert await names(query, "hosts", "host") == ["a", "b", "c"]
    assert await names(query, "last", "host") == ["a", "b"]
    assert await names(query, "measurements", "measurement", start="-1d") == ["cpu"]
    for path in ("last?measurement=mem", "hosts?measurement=mem", "aggregate?metric=mem.v"):
        status, answer = await query.get(f"/api/v1/{path}")
        assert (status, answer["code"]) == (503, "unavailable")
        assert "was changed" in answer["message"]


async def test_lists_have_a_bound(database: str, stored: Database, serve_query: ServeQuery) -> None:
    """A list past its bound is refused with the setting, never cut short in silence, and is had in pages."""
    stored.store("cpu", [Point((("host", host),), NOW, {"v": 1.0, "w": 1.0}) for host in "ab"])
    query = await serve_query(database, max_names=1, max_series=1, max_measurements=1)
    await query.until_ready()
    for path in ("hosts", "fields", "tags/host/values", "series", "last"):
        setting = "QUERY_MAX_SERIES" if path in ("series", "last") else "QUERY_MAX_NAMES"
        status, answer = await query.get(f"/api/v1/{path}")
        assert (status, answer["limit"]) == (400, setting)
        assert "in pages by limit and after" in answer["message"]
        status, answer = await query.get(f"/api/v1/{path}", {"limit": 2})
        assert (status, answer["limit"]) == (400, setting)
        assert answer["message"].startswith("limit: 2 entries, of which 1 fit")
        assert len(await listed(query, path, limit=1)) == 1
    assert (await query.get("/api/v1/hosts", {"match": "host=a"}))[0] == 200
    stored.store("mem", [point(HOUR, host="b")])
    status, answer = await query.get("/api/v1/measurements")
    assert (status, answer["limit"]) == (400, "QUERY_MAX_NAMES")
    for path in ("hosts", "last", "tags"):
        status, answer = await query.get(f"/api/v1/{path}", {"start": "-1h"} if path == "tags" else None)
        assert (status, answer["limit"]) == (400, "QUERY_MAX_MEASUREMENTS")
        assert "choose one by measurement" in answer["message"]
        assert ("ask without start and end" in answer["message"]) == (path == "tags")
    assert len(await listed(query, "hosts", match="host=a")) == 1


async def test_newest_points_are_bounded_by_their_numbers(
    database: str, stored: Database, serve_query: ServeQuery
) -> None:
    """Wide points count by their fields, and fewer fields are less."""
    stored.store("cpu", [Point((("host", host),), NOW, {"v": 1.0, "w": 1.0}) for host in "abc"])
    query = await serve_query(database, max_values=4)
    await query.until_ready()
    status, answer = await query.get("/api/v1/last")
    assert (status, answer["limit"]) == (400, "QUERY_MAX_VALUES")
    assert len(await listed(query, "last", metric="cpu.v")) == 3
    assert len(await listed(query, "last", limit=2)) == 2


async def test_requests_that_are_refused(query: Query, fleet: Database) -> None:
    """A fault is told with its parameter, and a bound with its setting."""
    for path, parameters, name in (
        ("hosts", {"silent_for": "5"}, "silent_for"),
        ("hosts", {"limit": "0"}, "limit"),
        ("series", {"after": "x"}, "after"),
        ("series", {"start": "-1h", "end": "-2h"}, "end"),
        ("tags", {"match": "host=~("}, "match"),
        ("tags/host/values", {"key": "host"}, "key"),
        ("tags/%00/values", {}, "key"),
    ):
        status, answer = await query.get(f"/api/v1/{path}", parameters)
        assert (status, answer["parameter"]) == (400, name), answer
    status, answer = await query.get("/api/v1/hosts", {"search": "x" * 5000})
    assert (status, answer["limit"]) == (400, "QUERY_MAX_TAG_BYTES")
