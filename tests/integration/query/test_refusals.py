from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

from yarl import URL

from tests.integration.query.conftest import Database, Query, ServeQuery
from tests.integration.query.reference import Point

START = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
RANGE = {"start": START.isoformat(), "end": (START + timedelta(hours=1)).isoformat()}


def points(hosts: int, each: int = 1) -> list[Point]:
    """As many hosts with as many points each, a minute apart."""
    return [
        Point((("host", f"h{host}"),), START + timedelta(minutes=minute), {"user": 1.0, "idle": 2.0})
        for host in range(hosts)
        for minute in range(each)
    ]


async def test_an_unknown_metric_is_not_found(query: Query, stored: Database) -> None:
    """The refusal names the metric, and what is most like it among what there is."""
    assert await query.get("/api/v1/aggregate", {"metric": "cpu.user"}) == (
        404,
        {
            "code": "not found",
            "error": "metric: there is no 'cpu.user'; known: none yet",
            "message": "metric: there is no 'cpu.user'; known: none yet",
            "parameter": "metric",
            "known": [],
        },
    )
    stored.store("cpu", points(1))
    stored.store("mem", points(1))
    status, answer = await query.get("/api/v1/aggregate", {"metric": ["cpu.user", "cpu.usr"]})
    assert (status, answer["parameter"], answer["known"]) == (404, "metric", ["cpu.user", "cpu.idle"])
    status, answer = await query.get("/api/v1/aggregate", {"metric": "cpuu.user"})
    assert (status, answer["known"]) == (404, ["cpu", "mem"])


async def test_metrics_of_two_measurements_are_refused(query: Query, stored: Database) -> None:
    """One request is one scan of one measurement."""
    stored.store("cpu", points(1))
    stored.store("mem", points(1))
    answer = await query.refused(metric=["cpu.user", "mem.user"])
    assert answer["parameter"] == "metric"
    assert "several measurements (cpu, mem)" in answer["message"]


async def test_a_bad_regular_expression_is_named(query: Query, stored: Database) -> None:
    """What PostgreSQL cannot compile is the client's to change, also where anchoring would have made it valid."""
    stored.store("cpu", points(1))
    for pattern in ("(", "a)|(b", "*a", "[z-a]", "a\\", "***:x", "x(?i)", "(a{1,255}){1,255}"):
        for operator in ("=~", "!~"):
            matchers = ["host=~h.", f"host{operator}{pattern}"]
            answer = await query.refused(metric="cpu.user", match=matchers)
            assert answer["parameter"] == "match"
            assert answer["message"].startswith(f"match: host{operator}{pattern}: invalid regular expression")
            assert "allowed: " in answer["message"]
    status, answer = await query.get("/api/v1/hosts", {"match": "host=~("})
    assert (status, answer["parameter"]) == (400, "match")


async def test_too_many_series_are_refused(database: str, stored: Database, serve_query: ServeQuery) -> None:
    """An answer past QUERY_MAX_SERIES is refused, with a step and without, and asking for less is answered."""
    stored.store("cpu", points(4))
    query = await serve_query(database, max_series=3)
    await query.until_ready()
    asked: dict[str, Any] = {"metric": "cpu.user", "by": "host", **RANGE}
    for step in ({}, {"step": "1h"}):
        answer = await query.refused(**asked, **step)
        assert (answer["code"], answer["limit"], answer["allowed"]) == ("limit", "QUERY_MAX_SERIES", 3)
        assert "by match" in answer["message"]
        assert len((await query.aggregate(**asked, **step, match="host!=h0"))["series"]) == 3
    assert await query.counted("query_limited_total", setting="max_series") == 2


async def test_too_many_values_are_refused(database: str, stored: Database, serve_query: ServeQuery) -> None:
    """An answer past QUERY_MAX_VALUES is refused, counting each number of a point; one of just as many is not."""
    stored.store("cpu", points(2, each=6))
    query = await serve_query(database, max_values=24)
    await query.until_ready()
    asked: dict[str, Any] = {"metric": "cpu.user", "by": "host", "step": "1m", **RANGE}
    asked["end"] = (START + timedelta(minutes=6)).isoformat()
    assert len((await query.aggregate(**asked, fn="min,max"))["series"]) == 2
    answer = await query.refused(**asked, fn="min,max,sum")
    assert (answer["limit"], answer["allowed"]) == ("QUERY_MAX_VALUES", 24)
    assert "longer step" in answer["message"]


async def test_requests_past_other_bounds_name_them(query: Query) -> None:
    """Each bound of a request's own size is told by its setting, before the database is asked anything."""
    many = [f"m.f{number}" for number in range(101)]
    for parameters, setting in (
        ({"metric": many}, "QUERY_MAX_COLUMNS"),
        ({"metric": "m.f", "by": ",".join("abcdefghijklmnopqrstu")}, "QUERY_MAX_TAGS"),
        ({"metric": "m.f", "match": [f"a={number}" for number in range(21)]}, "QUERY_MAX_TAGS"),
        ({"metric": "m.f", "match": "a=" + "x" * 4096}, "QUERY_MAX_TAG_BYTES"),
        ({"metric": "m.f", "start": "-30d", "step": "1s"}, "QUERY_MAX_VALUES"),
    ):
        answer = await query.refused(**parameters)
        assert (answer["code"], answer["limit"]) == ("limit", setting)


async def test_a_long_url_is_read_up_to_its_bound(query: Query) -> None:
    """Many long matchers fit into a URL; past QUERY_MAX_URL_BYTES it is refused, and the service goes on."""
    matchers = [f"tag{number}=" + "x" * 4000 for number in range(7)]
    assert (await query.get("/api/v1/aggregate", {"metric": "m.f", "match": matchers}))[0] == 404
    async with query.client.get(f"{query.url}/api/v1/aggregate?metric={'x' * 33_000}") as response:
        assert response.status == 400
        assert "longer than 32768 bytes; what is long fits into a POST" in (await response.json())["message"]
    assert (await query.get("/readyz"))[0] == 200


async def test_bad_bodies_and_places(query: Query) -> None:
    """Every fault of a request has a status of its own and a JSON body that says what is allowed."""
    url = f"{query.url}/api/v1/aggregate"
    for body, status, words in (
        (b"", 400, "not JSON"),
        (b"metric=cpu.user", 400, "not JSON"),
        (b'{"metric": "cpu.user"', 400, "not JSON"),
        (b'["cpu.user"]', 400, "not a JSON object"),
        (b'{"metric": {"a": "b"}}', 400, "metric: neither a text nor a list"),
        (b"[" * 100_000, 400, "not JSON"),
        (b" " * 300_000, 413, "larger than 262144 bytes, decompressed (QUERY_MAX_BODY_BYTES)"),
    ):
        async with query.client.post(url, data=body) as response:
            assert response.status == status
            assert words in (await response.json())["message"]
    async with query.client.post(f"{url}?metric=cpu.user", data=b"{}") as response:
        assert (response.status, (await response.json())["code"]) == (400, "invalid")
    async with query.client.put(url, data=b"{}") as response:
        assert (response.status, response.headers["Allow"]) == (405, "GET, HEAD, POST")
    assert (await query.get("/api/v1/nothing"))[0] == 404


async def test_what_is_no_text_is_refused(query: Query) -> None:
    """Bytes that are no UTF-8 are not taken for another name, in the query string or in the path."""
    for path in ("/api/v1/aggregate?metric=cpu.%FF", "/api/v1/hosts?search=%C3", "/api/v1/tags/%FF/values"):
        async with query.client.get(URL(f"{query.url}{path}", encoded=True)) as response:
            assert response.status == 400
            assert "is not UTF-8; allowed: percent-encoded UTF-8" in (await response.json())["message"]


async def test_a_body_that_does_not_arrive(database: str, serve_query: ServeQuery) -> None:
    """Whoever promises a body and sends none is told so after QUERY_BODY_TIMEOUT_SECONDS."""

    async def never() -> AsyncIterator[bytes]:
        yield b"{"
        await asyncio.Event().wait()

    query = await serve_query(database, body_timeout_seconds=0.05)
    async with query.client.post(f"{query.url}/api/v1/aggregate", data=never()) as response:
        assert response.status == 408
        assert "QUERY_BODY_TIMEOUT_SECONDS" in (await response.json())["message"]
