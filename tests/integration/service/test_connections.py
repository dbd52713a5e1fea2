"""The bounds on connections, and on how long they are idle or take nothing, over real ones."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import orjson
import pytest
from aiohttp import web
from prometheus_client import CollectorRegistry

from service.connections import Bound, Connections, Runner
from service.web import Shell, create_app

DEADLINE_SECONDS = 30.0
HEAD = b"GET /healthz HTTP/1.1\r\nHost: x\r\n"


class Served:
    """An application on a port."""

    def __init__(self, port: int, registry: CollectorRegistry) -> None:
        self.port = port
        self.registry = registry
        self._writers: list[asyncio.StreamWriter] = []

    async def connect(self, sent: bytes = b"", host: str = "127.0.0.1") -> asyncio.StreamReader:
        """A connection from `host` on which something was sent."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port, local_addr=(host, 0))
        writer.write(sent)
        self._writers.append(writer)
        return reader

    async def close(self) -> None:
        """End all connections."""
        for writer in self._writers:
            writer.transport.abort()
        await asyncio.gather(*(writer.wait_closed() for writer in self._writers), return_exceptions=True)

    async def get(self, host: str = "127.0.0.1") -> bytes:
        """The whole answer to a request on a connection of its own."""
        return await (await self.connect(HEAD + b"Connection: close\r\n\r\n", host)).read()

    async def until(self, instrument: str, value: float) -> None:
        """Wait for an instrument to have a value."""
        async with asyncio.timeout(DEADLINE_SECONDS):
            while self.registry.get_sample_value(instrument) != value:  # noqa: ASYNC110 - it happens behind a socket
                await asyncio.sleep(0.01)


@asynccontextmanager
async def serving(bound: Bound, told: str = "", **options: Any) -> AsyncIterator[Served]:
    """The shell's endpoints, with so many connections; its status is `told`."""

    async def status() -> Mapping[str, Any]:
        return {"told": told}

    shell = Shell("example", lambda: None, status)
    app = create_app(shell, max_body_bytes=1000)
    runner = Runner(app, Connections(shell.name, bound, shell.registry), access_log=None, **options)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    served = Served(runner.addresses[0][1], shell.registry)
    yield served
    await served.close()
    await runner.cleanup()


async def test_one_connection_too_many() -> None:
    """It hears which setting it met, and is closed; those there are go on, and one that ends makes room."""
    async with serving(Bound(2, "EXAMPLE_MOST")) as served:
        reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
        await served.connect()
        await served.until("example_http_connections", 2)
        head, _, body = (await (await served.connect()).read()).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 503 ")
        assert b"Retry-After: 1\r\n" in head
        told = orjson.loads(body)
        assert told["code"] == "unavailable"
        assert "EXAMPLE_MOST" in told["message"]
        writer.write(HEAD + b"\r\n")
        assert (await reader.readline()).startswith(b"HTTP/1.1 200 ")
        writer.close()
        await served.until("example_http_connections", 1)
        assert (await served.get()).startswith(b"HTTP/1.1 200 ")
        assert served.registry.get_sample_value("example_http_connections_refused_total") == 1


async def test_a_client_leaves_room_for_others() -> None:
    """However many connections one address opens, another is answered."""
    async with serving(Bound(8, "EXAMPLE_MOST", client_share=0.75)) as served:
        for _ in range(20):
            await served.connect()
        await served.until("example_http_connections_refused_total", 14)
        assert (await served.get()).startswith(b"HTTP/1.1 503 ")
        assert (await served.get("127.0.0.2")).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize("sent", [b"", HEAD, HEAD + b"\r\n", HEAD + b"\r\n" + HEAD])
async def test_an_idle_connection_is_closed(sent: bytes) -> None:
    """With nothing, and with the beginning of a head, as the first or as the next request."""
    async with serving(Bound(8, "EXAMPLE_MOST"), keepalive_timeout=0.2) as served:
        reader = await served.connect(sent)
        async with asyncio.timeout(DEADLINE_SECONDS):
            answer = await reader.read()
        assert answer.count(b"HTTP/1.1 200 ") == sent.count(b"\r\n\r\n")
        await served.until("example_http_connections", 0)


@pytest.mark.parametrize(
    ("length", "requests"),
    [(10_000, 1), (60_000, 1), (10_000, 100), (3_000_000, 1), (3_000_000, 3)],
    ids=["left to the kernel", "left to the loop", "of many answers", "of a long one", "and more to come"],
)
async def test_a_client_that_takes_nothing_is_cut_off(length: int, requests: int) -> None:
    """Though its kernel answers every probe: however much of its answers is left, and wherever that is."""
    async with serving(Bound(8, "EXAMPLE_MOST", send_seconds=1), told=length * "x") as served:
        with socket.socket() as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)  # it is never read
            client.setblocking(False)
            await asyncio.get_running_loop().sock_connect(client, ("127.0.0.1", served.port))
            client.send(b"GET /api/v1/status HTTP/1.1\r\nHost: x\r\n\r\n" * requests)
            await served.until("example_http_connections_untaken_total", 1)
            await served.until("example_http_connections", 0)
        assert (await served.get()).startswith(b"HTTP/1.1 200 ")
