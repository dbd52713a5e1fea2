"""Bodies: their encodings, types and sizes, the time they take, and the bound on all of them together."""

from __future__ import annotations

import asyncio
import gzip
import io
import tracemalloc
import zlib
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import zstandard

from tests.integration.conftest import Ingest, ServeIngest
from tests.integration.ingest.conftest import Eventually

LINES = b"m,host=a x=1 1000\nm,host=a x=2 2000\n"
MEBIBYTE = 2**20
ENCODERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "x-gzip": gzip.compress,
    "deflate": zlib.compress,
    "zstd": zstandard.compress,
    "GZIP": gzip.compress,
    "identity": bytes,
}


@pytest.fixture
async def ingest(serve_ingest: ServeIngest) -> Ingest:
    """Ingest that takes the times of these tests."""
    return await serve_ingest(max_age_seconds=10**10)


async def chunks(piece: bytes, count: int) -> AsyncIterator[bytes]:
    """A body sent in chunks, of a length not told before."""
    for _ in range(count):
        yield piece


@contextmanager
def memory_bounded(most: int) -> Iterator[None]:
    """Fail when Python holds more bytes than `most` at any moment within, beside what it held before."""
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < most
    finally:
        tracemalloc.stop()


async def test_encodings(ingest: Ingest) -> None:
    """What is read here, small enough to be opened at once and large enough for a thread, on both endpoints."""
    long = b"".join(b"long,host=h%d x=%d %d\n" % (n, n, n * 1000) for n in range(5000))
    for encoding, encode in ENCODERS.items():
        assert (await ingest.send("/write", encode(LINES), Content_Encoding=encoding)).status == 204
        assert (await ingest.send("/write", encode(long), Content_Encoding=encoding)).status == 204
        assert (await ingest.send("/api/v1/points", encode(b'{"x": 1}'), Content_Encoding=encoding)).status == 204
    assert ingest.rows("SELECT sum(x), count(*) FROM m") == [(3.0, 2)]
    assert ingest.rows("SELECT sum(x), count(*) FROM long") == [(5000 * 4999 / 2, 5000)]


async def test_unknown_encodings(ingest: Ingest) -> None:
    """415, with what is read here; the connection goes on to be used."""
    for encoding in ("br", "snappy", "gzip, gzip", "gzip;q=1", "\xff", "x" * 5000):
        heard = await ingest.send("/write", LINES, Content_Encoding=encoding)
        assert (heard.status, heard.body["code"]) == (415, "unsupported media type")
        assert "is not read here, allowed are identity, gzip, x-gzip, deflate, zstd" in heard.message
        assert len(heard.message) < 400
    assert (await ingest.send("/write", LINES)).status == 204


DAMAGED = [
    ("gzip", LINES),
    ("gzip", gzip.compress(LINES)[:-1]),
    ("gzip", gzip.compress(LINES)[:-4] + bytes(4)),
    ("gzip", gzip.compress(LINES) + b"garbage"),
    ("gzip", zlib.compress(LINES)),
    ("deflate", LINES),
    ("deflate", zlib.compress(LINES)[:-1]),
    ("deflate", zlib.compress(LINES) + b"garbage"),
    ("zstd", LINES),
    ("zstd", zstandard.compress(LINES)[:-1]),
    ("zstd", zstandard.compress(LINES) + b"garbage"),
]


async def test_bodies_that_are_not_what_they_say(ingest: Ingest) -> None:
    """400; nothing of a body that is cut short or damaged is written."""
    for encoding, body in DAMAGED:
        heard = await ingest.send("/write", body, Content_Encoding=encoding)
        assert (heard.status, heard.body["code"]) == (400, "invalid"), (encoding, body)
        assert heard.message.startswith(f"the body is not valid {encoding}: ")
    assert ingest.rows("SELECT count(*) FROM catalog.measurement") == [(0,)]


async def test_an_empty_body_is_empty_in_every_encoding(ingest: Ingest) -> None:
    """Of no bytes, or of none that are encoded."""
    for encoding, encode in ENCODERS.items():
        for body in (b"", encode(b"")):
            heard = await ingest.send("/write", body, Content_Encoding=encoding)
            assert (heard.status, heard.message) == (400, "the body is empty"), encoding


async def test_types_of_json(ingest: Ingest) -> None:
    """JSON is read whatever a careless client calls it, and refused when it is called something else."""
    for kind in ("application/json", "application/json; charset=utf-8", "text/plain", "Application/X-NDJSON", ""):
        assert (await ingest.send("/api/v1/points", b'{"x": 1}', Content_Type=kind)).status == 204
    heard = await ingest.send("/api/v1/points", b"x: 1", Content_Type="application/yaml\xff")
    assert heard.status == 415
    assert "allowed are application/json, " in heard.message
    assert (await ingest.send("/write", LINES, Content_Type="application/yaml")).status == 204


async def test_large_bodies(ingest: Ingest, tmp_path: Path) -> None:
    """100 MiB get 413, of a length told before or not, and are never held; the next request is served."""
    large = tmp_path / "large"
    with large.open("wb") as file:
        file.truncate(100 * MEBIBYTE)
    for body in (large.open("rb"), chunks(bytes(MEBIBYTE), 100)):
        with memory_bounded(50 * MEBIBYTE):
            heard = await ingest.send("/write", body)
        assert (heard.status, heard.body["limit"]) == (413, "INGEST_MAX_BODY_BYTES")
        assert "33554432 bytes" in heard.message
        assert (await ingest.send("/write", LINES)).status == 204
    assert await ingest.counted("ingest_pending_bytes") == 0


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "zstd"])
async def test_bombs(ingest: Ingest, encoding: str) -> None:
    """A gigabyte of zeros in a small body gets 413, and is opened no further than the bound."""
    streams: dict[str, Any] = {
        "gzip": zlib.compressobj(1, wbits=31),
        "deflate": zlib.compressobj(1),
        "zstd": zstandard.ZstdCompressor().compressobj(),
    }
    zeros = bytes(16 * MEBIBYTE)
    bomb = b"".join([*(streams[encoding].compress(zeros) for _ in range(64)), streams[encoding].flush()])
    with memory_bounded(100 * MEBIBYTE):
        heard = await ingest.send("/write", io.BytesIO(bomb), Content_Encoding=encoding)
    assert heard.status == 413
    assert "larger than 33554432 bytes, decompressed (INGEST_MAX_BODY_BYTES)" in heard.message
    assert (await ingest.send("/write", LINES)).status == 204


@pytest.mark.parametrize("encoding", ["gzip", "zstd"])
async def test_bodies_in_millions_of_parts(ingest: Ingest, encoding: str) -> None:
    """A body that would take long to open, though nothing is in it, gets 413."""
    empty = ENCODERS[encoding](b"")
    heard = await ingest.send("/write", io.BytesIO(empty * (2**25 // len(empty))), Content_Encoding=encoding)
    assert (heard.status, heard.body["code"]) == (413, "request too large")
    assert "more than 10000 gzip members or zstd frames" in heard.message
    assert (await ingest.send("/write", LINES)).status == 204


async def test_the_bound_is_exact(serve_ingest: ServeIngest) -> None:
    """A body of just as many bytes as are allowed is taken, in every encoding; one more is too large."""
    ingest = await serve_ingest(max_body_bytes=1000)
    lines = b"m x=1".ljust(1000)
    for encoding, encode in ENCODERS.items():
        assert (await ingest.send("/write", encode(lines), Content_Encoding=encoding)).status == 204, encoding
        assert (await ingest.send("/write", encode(lines + b" "), Content_Encoding=encoding)).status == 413, encoding


async def test_a_body_that_does_not_arrive(serve_ingest: ServeIngest, eventually: Eventually) -> None:
    """408 when its time is over, whether it stands still or drips; what it held is free again."""
    ingest = await serve_ingest(body_timeout_seconds=0.2)
    head = b"POST /write HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nm x=1"
    for drip in (b"", b" "):
        reader, writer = await asyncio.open_connection("127.0.0.1", ingest.port)
        writer.write(head)
        answer = asyncio.create_task(reader.readuntil(b"}"))
        while not answer.done():
            writer.write(drip)
            await asyncio.sleep(0.02)
        assert answer.result().startswith(b"HTTP/1.1 408")
        assert b"the body did not arrive within 0.2 s (INGEST_BODY_TIMEOUT_SECONDS)" in answer.result()
        writer.close()
    assert await ingest.counted("ingest_pending_bytes") == 0
    assert await ingest.counted("ingest_http_requests_total", status="408") == 2


async def test_too_much_at_once(serve_ingest: ServeIngest, eventually: Eventually) -> None:
    """While others hold the budget, a request gets 503 and when to come again; then it is taken."""
    ingest = await serve_ingest(max_pending_bytes=4000)
    _, writer = await asyncio.open_connection("127.0.0.1", ingest.port)
    writer.write(b"POST /write HTTP/1.1\r\nHost: x\r\nContent-Length: 3900\r\n\r\n" + b" " * 3800)

    async def is_held() -> bool:
        return await ingest.counted("ingest_pending_bytes") >= 3800

    await eventually(is_held)
    heard = await ingest.send("/write", b"m x=1".ljust(300))
    assert (heard.status, heard.headers["Retry-After"], heard.body["code"]) == (503, "1", "unavailable")
    assert heard.body["limit"] == "INGEST_MAX_PENDING_BYTES"
    writer.transport.abort()

    async def is_free() -> bool:
        return await ingest.counted("ingest_pending_bytes") == 0

    await eventually(is_free)
    assert (await ingest.send("/write", b"m x=1".ljust(300))).status == 204
    assert ingest.rows("SELECT count(*) FROM m") == [(1,)]


async def test_more_than_can_ever_be_held(serve_ingest: ServeIngest) -> None:
    """A request that the whole budget cannot hold is too large, however often it comes; so are its points."""
    ingest = await serve_ingest(max_pending_bytes=10_000)
    for body in (b"m x=1".ljust(10_001), b"m x=1\n" * 1000):
        heard = await ingest.send("/write", body)
        assert (heard.status, heard.body["limit"]) == (413, "INGEST_MAX_PENDING_BYTES")
        assert "send it in smaller requests" in heard.message
    assert await ingest.counted("ingest_pending_bytes") == 0


async def test_the_work_of_reading_is_bounded(serve_ingest: ServeIngest) -> None:
    """A body that takes too long to be read gets 413 with the bound's name; nothing of it is kept, and others are."""
    ingest = await serve_ingest(max_age_seconds=10**10, decode_seconds=1e-9)
    for path in ("/write", "/api/v1/points"):
        heard = await ingest.send(path, LINES if path == "/write" else b'{"x": 1}')
        assert (heard.status, heard.body["limit"]) == (413, "INGEST_DECODE_SECONDS")
        assert "send it in smaller requests" in heard.message
    assert ingest.rows("SELECT count(*) FROM catalog.measurement") == [(0,)]
    assert await ingest.counted("ingest_pending_bytes") == 0
