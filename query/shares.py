"""Each client's share of the connections: whoever asks much at a time waits for itself, and not everybody for it.

A client is an address. It has at most its share of requests under way, and so of connections; its next ones wait
in a line of their own, in order, and have no place yet among those that wait for a connection.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass

from query.instruments import Instruments
from query.settings import QuerySettings
from service.errors import TooManyRequests, Unavailable


@dataclass(slots=True)
class _Line:
    """The requests of one client."""

    turns: asyncio.Semaphore
    requests: int = 0
    """Under way or waiting."""


class Shares:
    """Who has how many requests under way, and waiting."""

    def __init__(self, settings: QuerySettings, instruments: Instruments) -> None:
        self._settings = settings
        self._limited = instruments.requests.limited
        self._at_once = max(1, int(settings.connections * settings.client_share))
        self._most = self._at_once + max(1, int(settings.max_waiting * settings.client_share))
        self._lines: dict[str, _Line] = {}
        self._waiting = 0
        instruments.requests.waiting_for_share.set_function(lambda: self._waiting)

    async def one(self, client: str) -> AbstractContextManager[None]:
        """A block within which one request of the client is under way.

        Raises `TooManyRequests` when too many of it wait already or the wait is too long, `Unavailable` when too many
        of all clients wait.
        """
        if self._settings.client_share == 1:
            return nullcontext()
        line = self._lines.setdefault(client, _Line(asyncio.Semaphore(self._at_once)))
        line.requests += 1
        try:
            if line.requests > self._most:
                raise self._refusal(f"{self._most} requests of this client are under way or waiting")
            await self._turn(line)
        except BaseException:
            self._leave(client, line)
            raise
        return self._under_way(client, line)

    @contextmanager
    def _under_way(self, client: str, line: _Line) -> Iterator[None]:
        try:
            yield
        finally:
            line.turns.release()
            self._leave(client, line)

    def _leave(self, client: str, line: _Line) -> None:
        line.requests -= 1
        if line.requests == 0:
            del self._lines[client]

    async def _turn(self, line: _Line) -> None:
        settings = self._settings
        if not line.turns.locked():
            await line.turns.acquire()
            return
        if self._waiting >= settings.max_waiting:
            raise Unavailable(f"too many requests are waiting (QUERY_MAX_WAITING allows {settings.max_waiting})")
        self._waiting += 1
        try:
            async with asyncio.timeout(settings.wait_seconds):
                await line.turns.acquire()
        except TimeoutError:
            raise self._refusal(
                f"{self._at_once} requests of this client have been under way for {settings.wait_seconds:g} s "
                "(QUERY_WAIT_SECONDS)"
            ) from None
        finally:
            self._waiting -= 1

    def _refusal(self, what: str) -> TooManyRequests:
        share = self._settings.client_share
        self._limited.labels("client_share").inc()
        return TooManyRequests(
            f"{what}: QUERY_CLIENT_SHARE allows one client {share:g} of the connections (QUERY_CONNECTIONS) and of the "
            "places to wait (QUERY_MAX_WAITING); send fewer requests at a time",
            limit="QUERY_CLIENT_SHARE",
            allowed=share,
        )
