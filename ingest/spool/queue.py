"""The queue: requests gather while an entry is written, and go together in the next one.

A disk makes an entry durable in milliseconds, whatever its size. So the requests that come meanwhile wait, and share
the next entry: the slower the disk, the larger the entries. What waits is bounded by what holds the requests in
memory, not here.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from ingest.spool.entry import Request
from ingest.spool.errors import SpoolFailed, SpoolUnavailable
from ingest.spool.slot import Entry
from ingest.spool.store import Store
from service import logs
from service.settings import MEBIBYTES

log = logs.get(__name__)

Result = TypeVar("Result")
Waiting = tuple[Request, asyncio.Future[None]]


class SpoolQueue:
    """A store for an event loop: one thread appends, another one does what replaying needs."""

    def __init__(self, store: Store, *, max_group_bytes: int = 4 * MEBIBYTES) -> None:
        """`max_group_bytes` bounds the requests that share an entry; a larger one has an entry of its own."""
        self.store = store
        self._max_group_bytes = min(max_group_bytes, store.max_entry_bytes)
        self._waiting: deque[Waiting] = deque()
        self._writing: asyncio.Task[None] | None = None
        self._filled = asyncio.Event()
        self._appender = ThreadPoolExecutor(1, "spool-append")
        self._replayer = ThreadPoolExecutor(1, "spool-replay")

    async def keep(self, request: Request) -> None:
        """Return when the request is durable in the spool.

        Raises `SpoolUnavailable` (`SpoolFull`, `SpoolFailed`) when it is not. Cancelled, it may be kept or not.
        """
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((request, done))
        if self._writing is None or self._writing.done():
            self._writing = asyncio.create_task(self._write())
        await done

    async def next(self, passed_over: Collection[Path] = ()) -> Entry:
        """The oldest entry not passed over, as soon as there is one; the same until it is removed or set aside."""
        while (entry := self.store.oldest(passed_over)) is None:
            self._filled.clear()
            await self._filled.wait()
        return entry

    async def read(self, entry: Entry) -> list[Request]:
        """`Store.read`, in a thread."""
        return await self._replaying(lambda: self.store.read(entry))

    async def remove(self, *entries: Entry) -> None:
        """`Store.remove`, in a thread."""
        await self._replaying(lambda: self.store.remove(*entries))

    async def quarantine(self, entry: Entry, reason: str) -> Path:
        """`Store.quarantine`, in a thread."""
        return await self._replaying(lambda: self.store.quarantine(entry, reason))

    async def quarantine_requests(self, requests: Sequence[Request], reason: str) -> Path:
        """`Store.quarantine_requests`, in a thread."""
        return await self._replaying(lambda: self.store.quarantine_requests(requests, reason))

    async def close(self) -> None:
        """Write what waits, then let the store's slots go; nothing may be asked of it from now on."""
        if self._writing is not None:
            await asyncio.wait((self._writing,))
        self._appender.shutdown()
        self._replayer.shutdown()
        self.store.close()

    async def _replaying(self, work: Callable[[], Result]) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self._replayer, work)

    async def _write(self) -> None:
        """Write groups until nobody waits. A task of its own: whoever is cancelled, the others are served."""
        while group := self._take_group():
            requests = [request for request, _ in group]
            error: SpoolUnavailable | None = None
            try:
                await asyncio.get_running_loop().run_in_executor(self._appender, self.store.append, requests)
            except SpoolUnavailable as failure:
                error = failure
            except Exception as fault:
                log.exception("requests could not be spooled because of a fault of ingest", requests=len(requests))
                error = SpoolFailed("the spool has an unexpected error; the service's log has it", type(fault).__name__)
            else:
                self._filled.set()
            for _, done in group:
                if done.done():
                    continue
                if error is None:
                    done.set_result(None)
                else:
                    done.set_exception(error)

    def _take_group(self) -> list[Waiting]:
        """The requests that go next, one at least if any waits, without those whose callers left."""
        group: list[Waiting] = []
        size_bytes = 0
        while self._waiting:
            request, done = self._waiting[0]
            if not done.done():
                size_bytes += request.size_bytes
                if group and size_bytes > self._max_group_bytes:
                    break
                group.append((request, done))
            self._waiting.popleft()
        return group
