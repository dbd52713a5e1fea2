from __future__ import annotations

import asyncio

import pytest

from tests.integration.query.conftest import DEADLINE_SECONDS, Database, Query, ServeQuery
from tests.integration.query.listing import HOUR, member, names, point, store_fleet


@pytest.fixture
def fleet(stored: Database) -> Database:
    """Three hosts in two measurements."""
    store_fleet(stored)
    return stored


async def test_search_by_a_part_of_a_name(query: Query, fleet: Database) -> None:
    """A search finds the names that have the text, in any case, and no others although they are like it."""
    fleet.store("cpu", [point(HOUR, host=f"web-{number}", rack="R_1%") for number in range(20)])
    assert await names(query, "hosts", "host", search="EB-1") == [f"web-{n}" for n in (1, *range(10, 20))]
    assert await names(query, "hosts", "host", search="web-7") == ["web-7"]
    assert await names(query, "measurements", "measurement", search="cp") == ["cpu"]
    assert await names(query, "fields", "metric", search="U.V") == ["cpu.v"]
    assert await names(query, "tags", "tag", search="host") == ["host", "hostname"]
    assert await names(query, "tags/rack/values", "value", search="_1%") == ["R_1%"]
    assert await names(query, "series", "host", search="web-7") == ["web-7"]
    assert await names(query, "series", "measurement", search="mem") == ["mem", "mem"]
    assert await names(query, "last", "host", search="WEB-7") == ["web-7"]
    assert await names(query, "last", "host", search="mem", since="-7d", limit=1) == ["a"]
    _, answer = await query.get("/api/v1/hosts", {"search": "web", "limit": 2, "after": "web-1"})
    assert [entry["host"] for entry in answer["hosts"]] == ["web-10", "web-11"]
    assert (answer["next"], answer["matched"]) == ("web-11", "part")


async def test_search_forgives_a_typo(query: Query, stored: Database) -> None:
    """When no name has the text, the names that are most like it are found, and the answer says so."""
    stored.store("weather", [point(HOUR, host="database-primary"), point(HOUR, host="webserver-12")])
    stored.store("diskio", [point(HOUR, host="webserver-13")])
    for path, name, typo, meant in (
        ("hosts", "host", "databse", "database-primary"),
        ("hosts", "host", "webservr-12", "webserver-12"),
        ("measurements", "measurement", "wheather", "weather"),
        ("measurements", "measurement", "disk_io", "diskio"),
        ("tags", "tag", "hots", "host"),
        ("tags/host/values", "value", "primry", "database-primary"),
        ("series", "host", "weathr databasee", "database-primary"),
        ("last", "host", "databse", "database-primary"),
    ):
        status, answer = await query.get(f"/api/v1/{path}", {"search": typo})
        entries = [entry[name] for entry in answer[member(path)]]
        assert (status, answer["matched"]) == (200, "likeness")
        assert meant in entries, (typo, entries)
    status, answer = await query.get("/api/v1/hosts", {"search": "zzz"})
    assert (status, answer) == (200, {"since": answer["since"], "hosts": [], "next": None, "matched": None})


async def test_without_pg_trgm_a_search_finds_parts(database: str, stored: Database, serve_query: ServeQuery) -> None:
    """Where the extension is not there, parts are found as ever; a search that finds nothing says what is missing."""
    stored.store("cpu", [point(HOUR, host="web-1")])
    stored.execute("DROP EXTENSION pg_trgm")
    query = await serve_query(database)
    await query.until_ready()
    assert await names(query, "hosts", "host", search="web") == ["web-1"]
    status, answer = await query.get("/api/v1/hosts", {"search": "wbe"})
    assert (status, answer["hosts"]) == (200, [])
    assert "pg_trgm" in answer["warnings"][0]
    assert (await query.get("/api/v1/status"))[1]["search"] == "part"
    stored.execute("CREATE EXTENSION pg_trgm")
    async with asyncio.timeout(DEADLINE_SECONDS):
        while (await query.get("/api/v1/status"))[1]["search"] != "likeness":  # noqa: ASYNC110 - it happens behind HTTP
            await asyncio.sleep(0.02)
    assert await names(query, "hosts", "host", search="wbe-1") == ["web-1"]
