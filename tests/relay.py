"""A way to a server that misbehaves when told: between ingest and its database, or clients and ingest."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Literal
from urllib.parse import urlsplit

Way = Literal["there", "back"]

AT_ONCE = struct.pack("ii", 1, 0)
"""SO_LINGER that makes a close a reset."""


class Cut(Exception):
    """A connection is to be reset now."""


class Relay:
    """Carries bytes to a server and back; can be closed, slow, silent or broken, or lose the answer to a COMMIT."""

    def __init__(self, host: str, port: int) -> None:
        self._place = (host, port)
        self._open = asyncio.Event()
        self._open.set()
        self._pipes: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._cuts: dict[Way, list[float]] = {"there": [], "back": []}
        self.commits_to_lose = 0
        self.commits_to_swallow = 0
        """Connections yet to fall silent in place of a COMMIT, and to be left open."""
        self.delay_seconds = 0.0
        """For which all bytes are held up."""
        self._refusals = 0
        """How many want that nobody connects."""
        self.port = 0

    async def open(self) -> None:
        """Listen on `port`."""
        self._server = await asyncio.start_server(self._connect, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Cut all connections."""
        self._server.close()
        self.abandon()
        await asyncio.gather(*self._pipes, return_exceptions=True)
        for writer in self._writers:
            writer.transport.abort()
        await asyncio.gather(*(writer.wait_closed() for writer in self._writers), return_exceptions=True)

    def abandon(self) -> None:
        """Let nothing more through on the connections there are now; new ones are made."""
        for pipe in self._pipes:
            pipe.cancel()

    def refuse(self) -> None:
        """Cut all connections, and reset new ones, until it has been told to accept as often as to refuse."""
        self._refusals += 1
        for writer in self._writers:
            writer.transport.abort()

    def accept(self) -> None:
        """Let everybody connect again, unless somebody else refuses still."""
        self._refusals -= 1

    def reset(self) -> None:
        """Reset all connections."""
        for writer in self._writers:
            _reset(writer)

    def cut(self, way: Way, share: float) -> None:
        """Let only this share of what comes next this way through, and reset its connection."""
        self._cuts[way].append(share)

    def through(self, url: str) -> str:
        """The same URL by way of the relay."""
        parts = urlsplit(url)
        account, at, _ = parts.netloc.rpartition("@")
        return parts._replace(netloc=f"{account}{at}127.0.0.1:{self.port}").geturl()

    @property
    def cuts_to_come(self) -> int:
        """How many of the cuts have not been made yet."""
        return sum(map(len, self._cuts.values()))

    def pause(self) -> None:
        """Let nothing through, in both directions, and break nothing."""
        self._open.clear()

    def resume(self) -> None:
        """Let everything through again, what came meanwhile first."""
        self._open.set()

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        await self._open.wait()
        try:
            there, back = await asyncio.open_connection(*self._place)
        except OSError:  # nobody listens: as near to a refused connection as a relay can come
            _reset(writer)
            self._writers.discard(writer)
            return
        self._writers.add(back)
        if self._refusals:
            for one in (writer, back):
                _reset(one)
                self._writers.discard(one)
            return
        loses: list[bool] = []
        for pipe in (self._pipe("there", reader, back, writer, loses), self._pipe("back", there, writer, back, loses)):
            task = asyncio.create_task(pipe)
            self._pipes.add(task)
            task.add_done_callback(self._pipes.discard)

    async def _pipe(
        self,
        way: Way,
        source: asyncio.StreamReader,
        sink: asyncio.StreamWriter,
        other: asyncio.StreamWriter,
        loses: list[bool],
    ) -> None:
        """Carry bytes from `source` to `sink`; `loses` is filled when the next answer is to be lost."""
        try:
            while data := await source.read(65536):
                await self._open.wait()
                if self.delay_seconds:
                    await asyncio.sleep(self.delay_seconds)
                is_commit = data.startswith(b"Q") and b"COMMIT" in data
                if is_commit and self.commits_to_swallow:
                    self.commits_to_swallow -= 1
                    return
                if is_commit and self.commits_to_lose:
                    self.commits_to_lose -= 1
                    loses.append(True)
                elif loses:
                    break  # the server has carried it out, and nobody will hear of it
                if self._cuts[way]:
                    sink.write(data[: int(len(data) * self._cuts[way].pop())])
                    await sink.drain()
                    raise Cut
                sink.write(data)
                await sink.drain()
        except asyncio.CancelledError:
            return  # silence, as when a cable is cut
        except Cut:
            # What was let through arrives: a reset would overtake it.
            sink.close()
            _reset(other)
        except ConnectionError:
            pass  # as it would be without us
        sink.close()
        other.close()
        self._writers -= {sink, other}


@asynccontextmanager
async def relay_to(url: str) -> AsyncIterator[Relay]:
    """A relay before the server at `url`, which is a database's unless a port is named."""
    parts = urlsplit(url)
    assert parts.hostname is not None
    relay = Relay(parts.hostname, parts.port or 5432)
    await relay.open()
    try:
        yield relay
    finally:
        relay.resume()
        await relay.close()


def _reset(writer: asyncio.StreamWriter) -> None:
    peer: socket.socket | None = writer.get_extra_info("socket")
    if peer is not None and not writer.is_closing():
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, AT_ONCE)
    writer.transport.abort()
