"""The bodies of POSTs: their encodings and sizes, as ingest has them."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest
import zstandard

from tests.integration.query.conftest import Database, Query, ServeQuery
from tests.integration.query.reference import Point

ENCODERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "x-gzip": gzip.compress,
    "deflate": zlib.compress,
    "zstd": zstandard.compress,
    "ZSTD": zstandard.compress,
    "identity": bytes,
}
ASK = orjson.dumps({"metric": "cpu.user", "fn": "count"})


async def post(query: Query, body: bytes, *encodings: str) -> tuple[int, Any]:
    """The status and the JSON of a POST whose body is encoded already."""
    headers = [("Content-Encoding", encoding) for encoding in encodings]
    async with query.client.post(f"{query.url}/api/v1/aggregate", data=body, headers=headers) as response:
        return response.status, await response.json()


@pytest.fixture
def cpu(stored: Database) -> None:
    """A point of the last hour."""
    stored.store("cpu", [Point((("host", "a"),), datetime.now(UTC) - timedelta(minutes=1), {"user": 1.0})])


async def test_encodings(query: Query, cpu: None) -> None:
    """What ingest reads is read here, small enough to be opened at once and large enough for a thread."""
    for encoding, encode in ENCODERS.items():
        for padding in (0, 200_000):
            status, answer = await post(query, encode(ASK + b" " * padding), encoding)
            assert (status, answer.get("series")) == (200, [{"tags": {}, "value": 1}]), encoding


async def test_unknown_encodings(query: Query, cpu: None) -> None:
    """415, with what is read here; several at once are none of them, on one line or on two."""
    for encodings in (["br"], ["gzip;q=1"], ["gzip, gzip"], ["gzip", "gzip"], ["identity", "gzip"]):
        status, answer = await post(query, gzip.compress(ASK), *encodings)
        assert (status, answer["code"]) == (415, "unsupported media type"), encodings
        assert "is not read here, allowed are identity, gzip, x-gzip, deflate, zstd" in answer["message"]


async def test_bodies_that_are_not_what_they_say(query: Query, cpu: None) -> None:
    """400, in the words of the encoding; what is plain and called so may still be no JSON."""
    for encoding in ("gzip", "deflate", "zstd"):
        for body in (ASK, ENCODERS[encoding](ASK)[:-1], ENCODERS[encoding](ASK) + b"garbage"):
            status, answer = await post(query, body, encoding)
            assert (status, answer["code"]) == (400, "invalid")
            assert answer["message"].startswith(f"the body is not valid {encoding}: ")
    status, answer = await post(query, gzip.compress(ASK))
    assert (status, answer["code"]) == (400, "invalid")
    assert answer["message"].startswith("the body is not JSON: ")


async def test_the_bound_is_on_what_is_decompressed(database: str, serve_query: ServeQuery, cpu: None) -> None:
    """Just as many bytes are read in every encoding; one more is too large, and so are very many in a small body."""
    query = await serve_query(database, max_body_bytes=1000)
    await query.until_ready()
    for encoding, encode in ENCODERS.items():
        assert (await post(query, encode(ASK.ljust(1000)), encoding))[0] == 200, encoding
        for size in (1001, 500_000):
            status, answer = await post(query, encode(ASK.ljust(size)), encoding)
            assert (status, answer["limit"]) == (413, "QUERY_MAX_BODY_BYTES"), encoding
            assert "larger than 1000 bytes, decompressed (QUERY_MAX_BODY_BYTES); ask for less" in answer["message"]
