"""What Telegraf's outputs influxdb and influxdb_v2 send, request by request, and what they make of each answer.

The requests and the reading of statuses are those of github.com/influxdata/telegraf, plugins/outputs/influxdb/http.go
and plugins/outputs/influxdb_v2/http.go. Bodies are streamed: Telegraf serialises while it sends.
"""

from __future__ import annotations

import asyncio
import gzip
import json
from base64 import b64encode
from collections.abc import AsyncIterator
from enum import Enum
from typing import Any

import psycopg
import pytest
from psycopg import sql

from tests.integration.conftest import Ingest, ServeIngest
from tests.integration.ingest.conftest import Eventually, T, disconnect

METRICS = (
    f"cpu,cpu=cpu-total,host=web-1 usage_user=12.5,usage_idle=87.5 {T}000000000\n"
    f'system,host=web-1 load1=0.5,n_cpus=2i,uptime=5u,uptime_format="0:05" {T}000000000\n'
)
"""A flush: floats, integers, unsigned integers and a string."""
BAD = f"cpu,host=web-1 usage_user=NaN {T}000000000\n"


class Fate(Enum):
    """What becomes of the metrics of a flush."""

    DELIVERED = 1
    DROPPED = 2
    RETRIED = 3


def read_by_version_1(status: int, body: bytes) -> Fate:
    """Only 204 is success; 4xx drops, and so do two phrases whatever the status; a body is JSON or none."""
    if status == 204:
        return Fate.DELIVERED
    told = str(json.loads(body).get("error", "")) if body else ""
    is_lost = status // 100 == 4 or "partial write" in told or "unable to parse" in told
    return Fate.DROPPED if is_lost else Fate.RETRIED


def read_by_version_2(status: int, body: bytes) -> Fate:
    """Some of 2xx are success; 413 is split and sent again; 401, 403, 429 and 5xx are retried; other 4xx drop."""
    if body:
        assert isinstance(json.loads(body), dict)
    if status in (200, 201, 202, 204, 206, 207, 208):
        return Fate.DELIVERED
    is_lost = status // 100 == 4 and status not in (401, 403, 413, 429)
    return Fate.DROPPED if is_lost else Fate.RETRIED


class Telegraf:
    """One output of one version, gzip or not."""

    def __init__(self, ingest: Ingest, version: int, encoding: str) -> None:
        self._ingest = ingest
        self._version = version
        self._encoding = encoding
        self.retry_after = 0.0
        """Of the last answer, in seconds."""

    @property
    def _common(self) -> dict[str, Any]:
        headers = {"User-Agent": "Telegraf/1.36.3 Go/1.25.1"}
        if self._version == 1:
            return {"headers": headers | {"Authorization": f"Basic {b64encode(b'telegraf:secret').decode()}"}}
        return {"headers": headers | {"Authorization": "Token secret"}}

    async def connect(self) -> None:
        """Version 1 makes its database before the first write; version 2 asks nothing."""
        if self._version == 1:
            form = {"q": 'CREATE DATABASE "telegraf"'}
            async with self._ingest.client.post(f"{self._ingest.url}/query", data=form, **self._common) as response:
                told = await response.json()
                assert response.status == 200
                assert not told["results"][0].get("error")

    async def flush(self, metrics: str) -> Fate:
        """Write metrics; what the output makes of the answer."""
        path = (
            "/write?consistency=any&db=telegraf&rp=autogen"
            if self._version == 1
            else "/api/v2/write?bucket=telegraf&org=any"
        )
        common = self._common
        common["headers"] |= {"Content-Type": "text/plain; charset=utf-8"}
        raw = metrics.encode()
        if self._encoding == "gzip":
            common["headers"]["Content-Encoding"] = "gzip"
            raw = gzip.compress(raw)

        async def streamed() -> AsyncIterator[bytes]:
            for at in range(0, len(raw), 1000):
                yield raw[at : at + 1000]

        async with self._ingest.client.post(f"{self._ingest.url}{path}", data=streamed(), **common) as response:
            body = await response.read()
            self.retry_after = float(response.headers.get("Retry-After", 0))
        return (read_by_version_1 if self._version == 1 else read_by_version_2)(response.status, body)


pytestmark = pytest.mark.parametrize(
    ("version", "encoding"), [(1, "gzip"), (1, "identity"), (2, "gzip"), (2, "identity")]
)


async def test_metrics_are_delivered(ingest: Ingest, version: int, encoding: str) -> None:
    """From the first request on everything is taken, strings left out, and a flush that is sent again is harmless."""
    telegraf = Telegraf(ingest, version, encoding)
    await telegraf.connect()
    assert [await telegraf.flush(METRICS) for _ in range(2)] == [Fate.DELIVERED] * 2
    assert ingest.rows("SELECT host, usage_user, usage_idle FROM cpu") == [("web-1", 12.5, 87.5)]
    assert ingest.rows("SELECT host, load1, n_cpus, uptime FROM system") == [("web-1", 0.5, 2.0, 5.0)]


async def test_metrics_that_can_never_be_taken_are_dropped(ingest: Ingest, version: int, encoding: str) -> None:
    """What would be refused again and again is given up, and the good metrics of the same flush are stored."""
    telegraf = Telegraf(ingest, version, encoding)
    assert await telegraf.flush(METRICS + BAD) is Fate.DROPPED
    assert await telegraf.flush(BAD) is Fate.DROPPED
    assert ingest.rows("SELECT usage_user FROM cpu") == [(12.5,)]
    assert await telegraf.flush(METRICS) is Fate.DELIVERED


async def test_an_outage_drops_nothing(
    serve_ingest: ServeIngest, owner: psycopg.Connection, eventually: Eventually, version: int, encoding: str
) -> None:
    """While the database takes nothing and nothing is spooled, flushes are retried after the time that is asked for."""
    ingest = await serve_ingest(retry_seconds=0.5, copiers=1)
    telegraf = Telegraf(ingest, version, encoding)
    name = sql.Identifier(owner.info.dbname)
    owner.execute(sql.SQL("ALTER DATABASE {} SET default_transaction_read_only = on").format(name))
    disconnect(owner)
    await telegraf.connect()
    assert await telegraf.flush(METRICS) is Fate.RETRIED
    assert telegraf.retry_after >= 1
    # A flush that is bad in part is retried whole: a 400 would drop the good metrics that are not stored.
    assert await telegraf.flush(METRICS + BAD) is Fate.RETRIED
    owner.execute(sql.SQL("ALTER DATABASE {} RESET default_transaction_read_only").format(name))

    async def is_delivered() -> bool:
        return await telegraf.flush(METRICS) is Fate.DELIVERED

    await eventually(is_delivered)
    assert ingest.rows("SELECT usage_user FROM cpu") == [(12.5,)]


async def test_overload_drops_nothing(
    serve_ingest: ServeIngest, eventually: Eventually, version: int, encoding: str
) -> None:
    """A flush that meets too much that waits already is retried."""
    ingest = await serve_ingest(max_pending_bytes=100_000)
    telegraf = Telegraf(ingest, version, encoding)

    is_over = asyncio.Event()

    async def unfinished() -> AsyncIterator[bytes]:
        yield b"# a long body\n" * 6000
        await is_over.wait()

    other = asyncio.create_task(ingest.send("/write", unfinished()))

    async def is_full() -> bool:
        return await ingest.counted("ingest_pending_bytes") > 80_000

    await eventually(is_full)
    assert await telegraf.flush(METRICS * 300) is Fate.RETRIED
    assert telegraf.retry_after >= 1
    is_over.set()
    await other
    assert await telegraf.flush(METRICS) is Fate.DELIVERED
