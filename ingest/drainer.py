"""The drainer: what was spooled is written into the database as soon as that takes points again, oldest first.

1. An entry is read, its requests are decoded as they were when they came, and written through the same ladder as fresh
   ones, all at once: they were acknowledged together, so their order does not matter. The next entry waits for them.
2. An entry whose points are all committed is removed. A crash before that writes them once more, which changes nothing:
   nothing fresh that has the same points was let past (`keeper`).
3. In an outage everything waits, and the drainer's own tries find out when it is over.
4. A request that the database refuses for good is set aside, as an entry is that cannot be read: in the quarantine,
   with the reason. One that is refused for another reason than an outage steps back behind the others and is tried
   again, less and less often, and set aside when that has gone on for too long.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ingest.catalog import Catalog
from ingest.decoders import FORMS, Decoders
from ingest.instruments import Instruments
from ingest.points import Batch
from ingest.spool.entry import Request
from ingest.spool.errors import SpoolUnavailable, UnreadableEntry
from ingest.spool.queue import SpoolQueue
from ingest.spool.slot import Entry
from ingest.waiting import Pause
from ingest.writer import Writer
from service import logs
from service.errors import BadRequest, Unavailable

log = logs.get(__name__)

FIRST_BREAK_SECONDS = 1.0
LONGEST_BREAK_SECONDS = 60.0
"""Between two tries of an entry that the database refuses while it takes others."""


class Drainer:
    """Writes what is in the spool; one for each spool."""

    def __init__(
        self,
        spool: SpoolQueue,
        writer: Writer,
        catalog: Catalog,
        decoders: Decoders,
        patience_seconds: float,
        instruments: Instruments,
    ) -> None:
        self._spool = spool
        self._writer = writer
        self._catalog = catalog
        self._decoders = decoders
        self._patience_seconds = patience_seconds
        self._instruments = instruments
        self._stepped_back: dict[Path, _Break] = {}

    async def run(self) -> None:
        """Drain until cancelled."""
        pause = Pause()
        while True:
            entry = await self._next()
            try:
                await self._drain(entry)
            except _Outage:
                await pause.after(has_failed=True)
            except SpoolUnavailable as error:
                log.warning("the spool cannot be drained now", error=str(error))
                await pause.after(has_failed=True)
            except Exception:
                log.exception(
                    "an entry of the spool could not be written because of a fault of ingest", **_named(entry)
                )
                await self._postpone(entry, "a fault of ingest")
            else:
                await pause.after(has_failed=False)

    async def _next(self) -> Entry:
        """The oldest entry that has not stepped back, or whose break is over."""
        while True:
            now = time.monotonic()
            resting = {path: one.ends_at for path, one in self._stepped_back.items() if one.ends_at > now}
            try:
                async with asyncio.timeout(min(resting.values()) - now if resting else None):
                    return await self._spool.next(resting.keys())
            except TimeoutError:
                continue

    async def _drain(self, entry: Entry) -> None:
        """Write an entry, and remove it. Raises `_Outage`, and what the spool raises."""
        try:
            requests = await self._spool.read(entry)
        except UnreadableEntry as error:
            await self._set_aside(entry, str(error))
            return
        outcomes = await asyncio.gather(*(self._write(request) for request in requests), return_exceptions=True)
        faults = [fault for fault in outcomes if isinstance(fault, BaseException)]
        for fault in faults:
            if not isinstance(fault, _Refused | Unavailable):
                raise fault
        if self._writer.is_out and any(isinstance(fault, Unavailable) for fault in faults):
            raise _Outage
        await self._settle(entry, requests, outcomes)

    async def _settle(
        self, entry: Entry, requests: Sequence[Request], outcomes: Sequence[BaseException | None]
    ) -> None:
        """Act on each request's outcome: none, `_Refused` for good or `Unavailable` for now."""
        results = list(zip(requests, outcomes, strict=True))
        again = [(request, fault) for request, fault in results if isinstance(fault, Unavailable)]
        if len(again) == len(results):
            await self._postpone(entry, str(again[0][1]))
            return
        for request, fault in results:
            if isinstance(fault, _Refused):
                aside = await self._spool.quarantine_requests([request], str(fault))
                self._tell(aside, request.points, str(fault))
        # By themselves: those that are committed must not be written again later, and undo corrections.
        for request, _ in again:
            await self._spool.keep(request)
        await self._spool.remove(entry)
        self._stepped_back.pop(entry.path, None)
        self._instruments.spool_drained.inc(sum(request.points for request, fault in results if fault is None))

    async def _write(self, request: Request) -> None:
        """Commit a request's points. Raises `_Refused` when that cannot be, `Unavailable` when it cannot be now."""
        if request.protocol not in FORMS:
            raise _Refused(f"its form {request.protocol!r} is not known to this version of Tidemark")
        batch = Batch(self._decoders.cache.limits, self._catalog.generation)
        decode = self._decoders.decode
        try:
            async for _ in decode(request.protocol, request.body, batch, request.precision_ns, request.received_us):
                pass
            await self._writer.write(batch)
        except BadRequest as error:
            raise _Refused(error.message) from error
        if batch.accepted_count < request.points:  # a limit has been reached, or made smaller
            reasons = ", ".join(sorted({rejection.text for rejection in batch.rejections}))
            raise _Refused(f"{request.points - batch.accepted_count} of its points are rejected now: {reasons}")

    async def _postpone(self, entry: Entry, reason: str) -> None:
        """Let others go first, for twice as long each time; set the entry aside when that has gone on for too long."""
        now = time.monotonic()
        last = self._stepped_back.get(entry.path)
        if last is not None and now - last.since > self._patience_seconds:
            await self._set_aside(entry, reason)
            return
        since, seconds = (
            (last.since, min(2 * last.seconds, LONGEST_BREAK_SECONDS)) if last else (now, FIRST_BREAK_SECONDS)
        )
        self._stepped_back[entry.path] = _Break(since, seconds, now + seconds)
        log.warning(
            "an entry of the spool steps back behind the others", reason=reason, seconds=seconds, **_named(entry)
        )

    async def _set_aside(self, entry: Entry, reason: str) -> None:
        aside = await self._spool.quarantine(entry, reason)
        self._stepped_back.pop(entry.path, None)
        self._tell(aside, entry.points, reason)

    def _tell(self, aside: Path, points: int, reason: str) -> None:
        self._instruments.spool_quarantined.inc()
        log.error("acknowledged points were set aside", file=str(aside), points=points, reason=reason)


class _Outage(Exception):
    """The database takes nothing from anybody."""


class _Refused(Exception):
    """The database refuses points of a request for good."""


@dataclass(frozen=True, slots=True)
class _Break:
    """How long an entry lets others go first."""

    since: float
    """When it first stepped back, by `time.monotonic`."""
    seconds: float
    ends_at: float


def _named(entry: Entry) -> dict[str, Any]:
    return {"entry": str(entry.path), "points": entry.points}
