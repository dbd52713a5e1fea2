from __future__ import annotations

from datetime import UTC, datetime, timedelta

from tests.integration.query.conftest import Database, Query, ServeQuery
from tests.integration.query.reference import Point

NOW = datetime.now(UTC).replace(microsecond=0)
HOUR = timedelta(hours=1)


def point(ago: timedelta, **tags: str) -> Point:
    """A point with these tags, some time ago."""
    return Point(tuple(sorted(tags.items())), NOW - ago, {"v": 1.0})


def iso(moment: datetime) -> str:
    """A moment as answers write it."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


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
    assert answer == {"since": since, "hosts": [{"host": "b", "last_seen": iso(NOW - 30 * HOUR)}]}
    _, answer = await query.get("/api/v1/hosts", {"since": "-30m", "match": "host=a"})
    assert answer["hosts"] == [{"host": "a", "last_seen": None}]


async def test_measurements_and_fields(query: Query, stored: Database) -> None:
    """Both lists are sorted; a field says its metric, and its column in SQL."""
    for path, empty in (("measurements", {"measurements": []}), ("fields", {"fields": []}), ("hosts", None)):
        status, answer = await query.get(f"/api/v1/{path}")
        assert status == 200
        assert answer == empty or answer["hosts"] == []
    moment = NOW - HOUR
    stored.store("mem.x", [Point((), moment, {"used": 1.0, "time": 2.0})])
    stored.store("Cpu", [Point((), moment, {"user": 1.0})])
    assert await query.get("/api/v1/measurements") == (
        200,
        {"measurements": [{"measurement": "Cpu", "fields": 1}, {"measurement": "mem.x", "fields": 2}]},
    )
    user = {"metric": "Cpu.user", "measurement": "Cpu", "field": "user", "column": "user"}
    time = {"metric": "mem.x.time", "measurement": "mem.x", "field": "time", "column": "time_"}
    used = {"metric": "mem.x.used", "measurement": "mem.x", "field": "used", "column": "used"}
    assert await query.get("/api/v1/fields") == (200, {"fields": [user, time, used]})
    assert await query.get("/api/v1/fields", {"measurement": "mem.x"}) == (200, {"fields": [time, used]})


async def test_an_unknown_measurement_is_not_found(query: Query, stored: Database) -> None:
    """The refusal names the parameter and what there is."""
    stored.store("cpu", [point(HOUR, host="a")])
    status, answer = await query.get("/api/v1/fields", {"measurement": "cpux"})
    assert status == 404
    assert answer["message"] == "measurement: there is no 'cpux'; known: cpu"


async def test_lists_have_a_bound(database: str, stored: Database, serve_query: ServeQuery) -> None:
    """A list past its bound is refused with the setting, never cut short in silence."""
    stored.store("cpu", [point(HOUR, host="a"), point(HOUR, host="b")])
    query = await serve_query(database, max_names=1)
    await query.until_ready()
    status, answer = await query.get("/api/v1/hosts")
    assert (status, answer["limit"]) == (400, "QUERY_MAX_NAMES")
    assert (await query.get("/api/v1/hosts", {"match": "host=a"}))[0] == 200
    stored.store("mem", [point(HOUR, host="a")])
    for path in ("measurements", "fields"):
        status, answer = await query.get(f"/api/v1/{path}")
        assert (status, answer["limit"]) == (400, "QUERY_MAX_NAMES")
    assert (await query.get("/api/v1/fields", {"measurement": "cpu"}))[0] == 200
