from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import orjson
import pytest

from tests.integration.query.conftest import DEADLINE_SECONDS, Database, Query, ServeQuery
from tests.integration.query.reference import Point

ASK: dict[str, Any] = {"metric": "cpu.user", "start": "-1h"}


@pytest.fixture(autouse=True)
def cpu(stored: Database) -> None:
    """One point, a minute ago."""
    stored.store("cpu", [Point((("host", "a"),), datetime.now(UTC) - timedelta(minutes=1), {"user": 1.0})])


@asynccontextmanager
async def another_client(query: Query, address: str) -> AsyncIterator[Query]:
    """The same service, asked from another address of this machine."""
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(local_addr=(address, 0))) as client:
        yield Query(query.url, client)


async def test_one_client_does_not_starve_the_others(database: str, stored: Database, serve_query: ServeQuery) -> None:
    """While a client waits for its own requests, another is answered at once, and then they all are."""
    query = await serve_query(database, connections=4, client_share=0.5, max_waiting=20, wait_seconds=600)
    await query.until_ready()
    with stored.locked("cpu"):
        greedy = [asyncio.create_task(query.get("/api/v1/aggregate", ASK)) for _ in range(10)]
        await stored.until_waiting_for_lock(2)
        await query.until_counted("query_waiting_for_share", 8)
        async with another_client(query, "127.0.0.2") as other:
            assert (await other.get("/api/v1/measurements"))[0] == 200
        assert await query.counted("query_waiting") == 0
    assert [status for status, _ in await asyncio.gather(*greedy)] == [200] * 10


async def test_a_client_past_its_share_is_refused(database: str, stored: Database, serve_query: ServeQuery) -> None:
    """Past its connections and its places to wait, it hears 429, which setting it met, and how to ask for less."""
    query = await serve_query(database, connections=2, client_share=0.5, max_waiting=4, wait_seconds=600)
    await query.until_ready()
    with stored.locked("cpu"):
        asked = [asyncio.create_task(query.get("/api/v1/aggregate", ASK)) for _ in range(3)]
        await query.until_counted("query_waiting_for_share", 2)
        async with query.client.get(f"{query.url}/api/v1/hosts") as response:
            assert (response.status, response.headers["Retry-After"]) == (429, "1")
            refusal = await response.json()
        assert (refusal["code"], refusal["limit"], refusal["allowed"]) == (
            "too many requests",
            "QUERY_CLIENT_SHARE",
            0.5,
        )
        assert "send fewer requests at a time" in refusal["message"]
        asked.pop().cancel()  # whoever leaves the line makes room in it
        await query.until_counted("query_waiting_for_share", 1)
        asked.append(asyncio.create_task(query.get("/api/v1/hosts")))
        await query.until_counted("query_waiting_for_share", 2)
    assert [status for status, _ in await asyncio.gather(*asked)] == [200] * 3
    assert await query.counted("query_limited_total", setting="client_share") == 1


async def test_a_body_that_is_still_to_come_has_its_clients_turn(database: str, serve_query: ServeQuery) -> None:
    """Bodies are in memory of as many requests as a client may have under way; others do not wait for it."""
    query = await serve_query(database, connections=2, client_share=0.5, wait_seconds=600, body_timeout_seconds=600)
    await query.until_ready()
    host, port = query.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    body = orjson.dumps(ASK)
    head = f"POST /api/v1/aggregate HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {len(body)}\r\n"
    writer.write(f"{head}Expect: 100-continue\r\n\r\n".encode())
    assert (await reader.readline()).startswith(b"HTTP/1.1 100")  # now it is being handled
    second = asyncio.create_task(query.get("/api/v1/aggregate", ASK))
    await query.until_counted("query_waiting_for_share", 1)
    async with another_client(query, "127.0.0.2") as other:
        assert (await other.get("/api/v1/measurements"))[0] == 200
    writer.write(body)
    assert b"HTTP/1.1 200 " in await reader.read()
    assert (await second)[0] == 200
    writer.close()


async def test_the_wait_for_a_share_is_bounded(database: str, stored: Database, serve_query: ServeQuery) -> None:
    """A request whose client's others take too long hears 429."""
    query = await serve_query(database, connections=2, client_share=0.5, wait_seconds=0.2)
    await query.until_ready()
    with stored.locked("cpu"):
        first = asyncio.create_task(query.get("/api/v1/aggregate", ASK))
        await stored.until_waiting_for_lock()
        status, answer = await query.get("/api/v1/hosts")
        assert (status, answer["limit"]) == (429, "QUERY_CLIENT_SHARE")
        assert "QUERY_WAIT_SECONDS" in answer["message"]
    assert (await first)[0] == 200


async def test_a_share_of_one_is_no_bound(database: str, stored: Database, serve_query: ServeQuery) -> None:
    """Where all clients have one address, as behind a proxy, the bounds of all are enough."""
    query = await serve_query(database, connections=2, client_share=1, wait_seconds=600)
    await query.until_ready()
    with stored.locked("cpu"):
        asked = [asyncio.create_task(query.get("/api/v1/aggregate", ASK)) for _ in range(10)]
        async with asyncio.timeout(DEADLINE_SECONDS):
            while await query.counted("query_waiting") < 8:  # noqa: ASYNC110 - it happens behind HTTP
                await asyncio.sleep(0.02)
        assert await query.counted("query_waiting_for_share") == 0
    assert [status for status, _ in await asyncio.gather(*asked)] == [200] * 10
