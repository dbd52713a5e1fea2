"""Connections: clients that leave, that hurry, that are many, and that are odd."""

from __future__ import annotations

import asyncio
import logging

import pytest

from tests.integration.conftest import Ingest, ServeIngest
from tests.integration.ingest.conftest import DEADLINE_SECONDS, Eventually


def request(path: str, body: bytes, *headers: str, version: str = "1.1") -> bytes:
    """A request as it goes over the wire."""
    head = [f"POST {path} HTTP/{version}", "Host: x", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join([*head, "", ""]).encode() + body


async def exchange(ingest: Ingest, sent: bytes) -> bytes:
    """Everything that the server says to `sent` until it closes the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", ingest.port)
    writer.write(sent)
    async with asyncio.timeout(DEADLINE_SECONDS):
        heard = await reader.read()
    writer.close()
    return heard


def statuses(heard: bytes) -> list[int]:
    """The statuses of all the answers in `heard`."""
    return [int(part[:3]) for part in heard.replace(b"HTTP/1.0 ", b"HTTP/1.1 ").split(b"HTTP/1.1 ")[1:]]


async def test_a_connection_outlives_its_errors(ingest: Ingest) -> None:
    """Requests sent at once on one connection are answered in turn, whatever becomes of those before them."""
    heard = await exchange(
        ingest,
        request("/write", b"m x=1")
        + request("/write", b"bad")
        + request("/write?precision=y", b"m x=1")
        + request("/nothing", b"m x=1")
        + request("/write", b"m x=1", "Content-Encoding: br")
        + request("/api/v1/points", b"{}", "Content-Type: image/png")
        + request("/write", b"m x=2", "Connection: close"),
    )
    assert statuses(heard) == [204, 400, 400, 404, 415, 415, 204]
    assert ingest.rows("SELECT x FROM m ORDER BY x") == [(1.0,), (2.0,)]


async def test_a_refused_body_is_read_to_its_end(serve_ingest: ServeIngest) -> None:
    """After 413 and 503 the rest of the body is passed over, and the connection serves the next request."""
    ingest = await serve_ingest(max_body_bytes=100_000, max_pending_bytes=50_000)
    heard = await exchange(
        ingest,
        request("/write", b" " * 200_000)
        + request("/write", b" " * 60_000)
        + request("/write", b"m x=1", "Connection: close"),
    )
    assert statuses(heard) == [413, 413, 204]


async def test_old_clients(ingest: Ingest) -> None:
    """HTTP/1.0 is answered and the connection closed; a client may ask before it sends its body."""
    assert statuses(await exchange(ingest, request("/write", b"m x=1", version="1.0"))) == [204]
    heard = await exchange(ingest, request("/write", b"m x=2", "Expect: 100-continue", "Connection: close"))
    assert statuses(heard) == [100, 204]


async def test_what_is_no_http(ingest: Ingest) -> None:
    """Other protocols, oversized heads and contradictory lengths get 400 and a closed connection."""
    for sent in (
        b"\x16\x03\x01\x02\x00\x01\r\n\r\n",
        b"G@T / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 100_000,
        b"GET / HTTP/1.1\r\nHost: x\r\n" + b"X: a\r\n" * 1000 + b"\r\n",
        request("/write", b"m x=1", "Transfer-Encoding: chunked"),
        request("/write", b"m x=1", "Content-Length: 6"),
        b"POST /write HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nnonsense\r\n",
    ):
        assert statuses(await exchange(ingest, sent)) == [400], sent[:80]
    assert (await ingest.send("/write", "m x=1")).status == 204


async def test_a_client_that_leaves_in_the_middle_of_its_body(
    ingest: Ingest, eventually: Eventually, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing is written or counted of its points, nothing stays held, and no error is logged."""
    reader, writer = await asyncio.open_connection("127.0.0.1", ingest.port)
    writer.write(request("/write", b"", "Expect: 100-continue").replace(b"Length: 0", b"Length: 100"))
    assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    writer.write(b"m x=1\n")
    writer.transport.abort()

    async def is_over() -> bool:
        return await ingest.counted("ingest_http_requests_total", status="499") == 1

    await eventually(is_over)
    assert await ingest.counted("ingest_pending_bytes") == 0
    assert await ingest.counted("ingest_points_accepted_total") == 0
    assert ingest.rows("SELECT count(*) FROM catalog.measurement") == [(0,)]
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


async def test_a_client_that_leaves_before_its_answer(
    ingest: Ingest, eventually: Eventually, caplog: pytest.LogCaptureFixture
) -> None:
    """Its points are written and counted all the same: it may have sent them and no longer cares."""
    _, writer = await asyncio.open_connection("127.0.0.1", ingest.port)
    writer.write(request("/write", b"m x=1\nbad"))
    await writer.drain()
    writer.close()

    async def is_over() -> bool:
        return await ingest.counted("ingest_http_requests_total", route="/write") == 1

    await eventually(is_over)
    assert ingest.rows("SELECT x FROM m") == [(1.0,)]
    assert await ingest.counted("ingest_points_accepted_total") == 1
    assert await ingest.counted("ingest_points_rejected_total") == 1
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


async def test_many_at_once(ingest: Ingest) -> None:
    """Hundreds of connections, good and bad, are all answered, and the counters add up to what they sent."""
    good = [exchange(ingest, request("/write", b"m,host=h%d x=%d" % (n, n), "Connection: close")) for n in range(150)]
    bad = [exchange(ingest, request("/write", b"m x=1\nbad\nworse", "Connection: close")) for _ in range(50)]
    heard = [statuses(one) for one in await asyncio.gather(*good, *bad)]
    assert heard == [[204]] * 150 + [[400]] * 50
    assert ingest.rows("SELECT count(DISTINCT host) FROM m") == [(150,)]
    assert await ingest.counted("ingest_points_accepted_total") == 200
    assert await ingest.counted("ingest_points_rejected_total") == 100
    assert await ingest.counted("ingest_points_refused_total") == 0
    assert await ingest.counted("ingest_pending_bytes") == 0
