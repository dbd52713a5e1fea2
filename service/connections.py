"""The bound on connections that clients have open at a time, idle ones included.

Without it, whoever opens connections and asks for nothing takes all file descriptors of the process: then nobody else
can connect, nor the process to its database. One connection too many is told so and closed; one client, an address,
may have but its share, so that others find a place. What is idle is closed in time by the server's `keepalive_timeout`,
which also ends the head of a request that does not come to its end. Who takes nothing of what is sent is cut off by the
kernel: of the end of an answer the server's own hands are free before it has been taken, and it waits for ever.
"""

from __future__ import annotations

import asyncio
import errno
import resource
import socket
import struct
import sys
from collections import Counter
from dataclasses import dataclass
from typing import Any, cast

import orjson
from aiohttp import web
from prometheus_client import CollectorRegistry, Gauge
from prometheus_client import Counter as Counted

from service import logs
from service.errors import Unavailable

log = logs.get(__name__)

AT_ONCE = struct.pack("ii", 1, 0)
"""SO_LINGER for a connection that is to be reset rather than ended."""
A_MOMENT_SECONDS = 0.01
SPARE_DESCRIPTORS = 256
"""For all that a process opens beside its clients' connections: to the database, files, a log."""


@dataclass(frozen=True, slots=True)
class Bound:
    """How many connections there may be."""

    most: int
    setting: str
    """What allows `most`, for people."""
    client_share: float = 1.0
    """How much of that one client may have."""
    send_seconds: float = 30.0
    """How long a client may take nothing of what it is sent."""


class Connections:
    """The connections that are open. Made before the first of them: it sees to it that there are descriptors."""

    def __init__(self, name: str, bound: Bound, registry: CollectorRegistry) -> None:
        self._bound = bound
        self._most = with_descriptors(bound.most)
        if self._most < bound.most:
            log.warning("there are fewer file descriptors than connections may be", allowed=self._most)
        self._most_of_one = max(1, int(self._most * bound.client_share))
        self._open = 0
        self._by_client: Counter[str] = Counter()
        self._is_full = False
        self._refused = Counted(
            f"{name}_http_connections_refused", "Connections of clients past the bound on them.", registry=registry
        )
        self._untaken = Counted(
            f"{name}_http_connections_untaken",
            "Connections cut off since their client took nothing of what it was sent.",
            registry=registry,
        )
        Gauge(
            f"{name}_http_connections", "Connections of clients, idle ones included.", registry=registry
        ).set_function(lambda: self._open)

    def enter(self, client: str) -> bool:
        """Count one more of a client's; False, and it is not counted, when there are too many."""
        if self._open >= self._most or self._by_client[client] >= self._most_of_one:
            self._refused.inc()
            if not self._is_full:
                self._is_full = True
                log.warning("connections are refused", open=self._open, allowed=self._most, setting=self._bound.setting)
            return False
        self._open += 1
        self._by_client[client] += 1
        return True

    def leave(self, client: str) -> None:
        """Count one less."""
        self._open -= 1
        self._by_client[client] -= 1
        if not self._by_client[client]:
            del self._by_client[client]
        self._is_full = self._is_full and self._open > self._most_of_one // 2

    def bound_sending(self, transport: asyncio.BaseTransport) -> None:
        """Have the kernel end a connection whose client acknowledges nothing for long, or has no room for it.

        RFC 5482, as Linux does it: also one that answers each probe of its closed window is ended.
        """
        if sys.platform == "linux" and (connected := transport.get_extra_info("socket")) is not None:
            milliseconds = max(1, round(self._bound.send_seconds * 1000))
            connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, milliseconds)

    def note_end(self, client: str, error: BaseException | None) -> None:
        """Count, and log, that the kernel has ended a connection for that."""
        if isinstance(error, OSError) and error.errno == errno.ETIMEDOUT:
            self._untaken.inc()
            log.warning("a client took nothing of what it was sent", client=client, seconds=self._bound.send_seconds)

    def refusal(self) -> bytes:
        """What a connection hears that is one too many."""
        error = Unavailable(f"too many connections are open ({self._bound.setting}); close those that are idle")
        body = orjson.dumps(error.body(), option=orjson.OPT_APPEND_NEWLINE)
        lines = ["HTTP/1.1 503 Service Unavailable", "Content-Type: application/json", f"Content-Length: {len(body)}"]
        lines += [*(f"{name}: {value}" for name, value in error.headers.items()), "Connection: close", "", ""]
        return "\r\n".join(lines).encode() + body


class Handler(web.RequestHandler):
    """aiohttp's, for a connection that is counted."""

    __slots__ = ("_client", "_connections")

    def __init__(self, connections: Connections, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._connections = connections
        self._client: str | None = None
        """None where it is over, or was never let in."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Serve it, or refuse it."""
        client = _client(transport)
        self._connections.bound_sending(transport)
        if self._connections.enter(client):
            self._client = client
            super().connection_made(transport)
        else:
            refused = cast(asyncio.Transport, transport)
            refused.write(self._connections.refusal())
            refused.close()

    def connection_lost(self, exc: BaseException | None) -> None:
        """It is over."""
        if self._client is not None:
            self._connections.leave(self._client)
            self._connections.note_end(self._client, exc)
            self._client = None
            super().connection_lost(exc)

    async def shutdown(self, timeout: float | None = None) -> None:  # noqa: ASYNC109 - aiohttp's own
        """Let what is under way be answered within `timeout`, then cancel it; aiohttp's own waits as long twice."""
        if self._task_handler is not None:
            await asyncio.wait([self._task_handler], timeout=timeout)
        await super().shutdown(A_MOMENT_SECONDS)

    def force_close(self) -> None:
        """Close it; what is being answered, when the process stops, is not to look as if it had come to its end."""
        if self._client is not None and self._current_request is not None and self.transport is not None:
            log.warning("a request was ended by the stop", path=self._current_request.path)
            reset(self.transport)
        super().force_close()


class Runner(web.AppRunner):
    """Runs an application whose connections are bounded."""

    def __init__(self, app: web.Application, connections: Connections, **options: Any) -> None:
        super().__init__(app, **options)
        self._connections = connections

    @property
    def server(self) -> web.Server | None:
        """What makes the handler of a connection, for sites."""
        return None if self._server is None else cast(web.Server, self._handler)

    def _handler(self) -> Handler:
        server = self._server
        assert server is not None, "sites are made for a runner that is set up"
        return Handler(self._connections, server, loop=asyncio.get_running_loop(), **server._kwargs)


def with_descriptors(connections: int) -> int:
    """Have the process allowed descriptors for so many connections, or for as many as may be; how many that is."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections + SPARE_DESCRIPTORS
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return connections
    allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    return min(connections, max(allowed - SPARE_DESCRIPTORS, allowed // 2))


def reset(transport: asyncio.Transport) -> None:
    """End a connection so that its client takes it for a failure: without chunks, an end is the end of an answer."""
    transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, AT_ONCE)
    transport.abort()


def _client(transport: asyncio.BaseTransport) -> str:
    peer = transport.get_extra_info("peername")
    return str(peer[0]) if isinstance(peer, tuple) else ""
