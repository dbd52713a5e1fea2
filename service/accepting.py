"""Accepting from a socket that several processes accept from."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

from aiohttp import web

from service import logs

log = logs.get(__name__)

TURN_SECONDS = 0.001
"""How long a process that has accepted a connection leaves the next one to the others."""
RETRY_SECONDS = 1.0
"""How long a process that cannot accept, for lack of file descriptors say, leaves it to the others."""


class SharedSite(web.BaseSite):
    """A site on a listening socket that does not block, and that other processes hold too.

    An event loop's own server accepts all that waits as soon as it is woken. Agents keep their connections, so that
    one process would have most of them for good; here each takes one connection and leaves the others a moment.
    """

    def __init__(self, runner: web.AppRunner, listener: socket.socket) -> None:
        super().__init__(runner)
        self._listener = listener
        self._accepting: asyncio.Task[None] | None = None
        self._opening: asyncio.Task[Any] | None = None
        """The last connection."""

    @property
    def name(self) -> str:
        """The address."""
        host, port = self._listener.getsockname()[:2]
        return f"http://{host}:{port}"

    async def start(self) -> None:
        """Begin to accept."""
        await super().start()
        self._accepting = asyncio.create_task(self._accept_all())

    async def stop(self) -> None:
        """Accept no more, and let go of this process's hold of the socket."""
        if self._accepting is not None:
            self._accepting.cancel()
        tasks = [task for task in (self._accepting, self._opening) if task is not None]
        await asyncio.gather(*tasks, return_exceptions=True)
        self._listener.close()
        await super().stop()

    async def _accept_all(self) -> None:
        while True:
            try:
                await self._accept()
            except OSError as error:
                log.warning("a connection could not be accepted", error=str(error))
                await asyncio.sleep(RETRY_SECONDS)
            else:
                await asyncio.sleep(TURN_SECONDS)

    async def _accept(self) -> None:
        server = self._runner.server
        assert server is not None, "a site is made for a runner that is set up"
        loop = asyncio.get_running_loop()
        connection, _ = await loop.sock_accept(self._listener)
        # Not to be cancelled: it would close a connection on which a request has begun.
        self._opening = asyncio.create_task(loop.connect_accepted_socket(server, connection))
        await asyncio.shield(self._opening)
