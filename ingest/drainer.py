"""The drainer: what was spooled is written into the database as soon as that takes points again, oldest first.

1. An entry is read, its requests are decoded as they were when they came, and written through the same ladder as fresh
   ones (`replay`), all at once: they were acknowledged together, so their order does not matter. So are small entries
   that come after it and have none of its points. The next entry waits for them.
2. An entry whose points are all committed is removed. A crash before that writes them once more, which changes nothing:
   nothing that has the same points was let past, neither fresh (`keeper`) nor spooled (`deferred`).
3. In an outage everything waits, and the drainer's own tries find out when it is over.
4. A request that the database refuses for good is set aside, as an entry is that cannot be read: in the quarantine,
   with the reason.
5. An entry with a request that is refused for another reason than an outage steps back behind the others that have none
   of its points, and is tried again, less and less often. What has been refused for too long is set aside.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ingest.budget import PatientHold
from ingest.deferred import Deferred, NoPlace, joined, meet
from ingest.instruments import Instruments
from ingest.replay import Refused, Replay
from ingest.spool.entry import Request
from ingest.spool.errors import SpoolLost, SpoolUnavailable, UnreadableEntry
from ingest.spool.queue import SpoolQueue
from ingest.spool.slot import Entry
from ingest.waiting import Pause
from service import logs
from service.errors import Unavailable

log = logs.get(__name__)

TOGETHER_POINTS, TOGETHER_ENTRIES = 2_000, 100
"""Of small entries that are written at the same time."""

Taken = tuple[Entry, Sequence[Request]]
Fault = Refused | Unavailable | SpoolUnavailable
"""What keeps a request from being done with: for good, or for now."""


class Drainer:
    """Writes what is in the spool; one for each spool."""

    def __init__(self, spool: SpoolQueue, replay: Replay, patience_seconds: float, instruments: Instruments) -> None:
        self._spool = spool
        self._replay = replay
        self._patience_seconds = patience_seconds
        self._instruments = instruments.drainer
        self._deferred = Deferred()
        instruments.drainer.deferred.set_function(lambda: len(self._deferred))

    async def run(self) -> None:
        """Drain until cancelled."""
        pause = Pause()
        while True:
            first = await self._next()
            try:
                with self._replay.budget.patient_hold() as hold:
                    has_failed = not await self._drain(await self._take(first, hold))
            except NoPlace:
                has_failed = True
            except SpoolUnavailable as error:
                log.warning("the spool cannot be drained now", error=str(error), **_named(first))
                has_failed = True
            await pause.after(has_failed=has_failed)

    async def _drain(self, taken: Sequence[Taken]) -> bool:
        """Write entries, and remove them; False in an outage. Raises `NoPlace`, and what the spool does."""
        # What was given up before it was spooled must not be committed after what comes now.
        await self._replay.writer.settled()
        # None is left alone with its writing: it would be written again, and what comes after it too.
        outcomes = await asyncio.gather(
            *(self._write(entry, requests) for entry, requests in taken), return_exceptions=True
        )
        gone = [entry for (entry, _), outcome in zip(taken, outcomes, strict=True) if outcome is True]
        if gone:
            await self._spool.remove(*gone)
        for entry in gone:
            self._deferred.leave(entry)
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome
        return len(gone) == len(taken) or not self._replay.writer.is_out

    async def _next(self) -> Entry:
        """The oldest entry that is not to let others go first."""
        while True:
            now = time.monotonic()
            resting = self._deferred.resting(now)
            ends = [ends_at for ends_at in resting.values() if ends_at is not None]
            try:
                async with asyncio.timeout(min(ends) - now if ends else None):
                    return await self._spool.next(resting.keys())
            except TimeoutError:
                continue

    async def _take(self, first: Entry, hold: PatientHold) -> list[Taken]:
        """This entry, and those after it while they are small and none has a point of another: they share a commit.

        Their requests are charged to `hold`.
        """
        requests = await self._open(first, hold)
        if requests is None:
            return []
        taken: dict[Path, Taken] = {first.path: (first, requests)}
        points = first.points
        reach = await self._replay.extent(requests) if points < TOGETHER_POINTS else None
        while reach is not None and (entry := self._small_one_after(taken, points)) is not None:
            try:
                requests = await self._open(entry, hold)
            except (SpoolUnavailable, NoPlace):
                break  # which it meets again when its turn comes
            extent = await self._replay.extent(requests) if requests is not None else None
            if requests is None or extent is None or meet(reach, extent):
                break
            taken[entry.path] = entry, requests
            points += entry.points
            reach = joined(reach, extent)
        return list(taken.values())

    def _small_one_after(self, taken: Mapping[Path, Taken], points: int) -> Entry | None:
        """The next entry, if those taken and it are few and small together."""
        passed_over = self._deferred.resting(time.monotonic()).keys() | taken.keys()
        entry = self._spool.store.oldest(passed_over)
        fits = entry is not None and points + entry.points <= TOGETHER_POINTS and len(taken) < TOGETHER_ENTRIES
        return entry if fits else None

    async def _open(self, entry: Entry, hold: PatientHold) -> list[Request] | None:
        """The requests of an entry; None for one that is set aside now, or has to wait. Raises what the spool does."""
        try:
            requests = await self._spool.read(entry)
        except UnreadableEntry as error:
            await self._set_aside(entry, str(error))
            return None
        await hold.wait_for(sum(len(request.body) for request in requests))
        if self._deferred.may_meet(entry):
            extent = await self._replay.extent(requests)
            if (ahead := self._deferred.ahead_of(entry, extent)) is not None:
                self._deferred.put_behind(entry, extent, ahead)
                return None
        return requests

    async def _write(self, entry: Entry, requests: Sequence[Request]) -> bool:
        """Write an entry; True when it is to be removed. Raises what the spool does, and `NoPlace`."""
        before = self._deferred.done(entry)
        left = [number for number in range(len(requests)) if number not in before]
        outcomes = await asyncio.gather(*(self._outcome(requests[number]) for number in left))
        faults = {number: fault for number, fault in zip(left, outcomes, strict=True) if fault is not None}
        if self._replay.writer.is_out and any(isinstance(fault, Unavailable) for fault in faults.values()):
            return False
        written = set(left) - faults.keys()
        self._instruments.drained.inc(sum(requests[number].points for number in written))
        return await self._settle(entry, requests, faults, before | written)

    async def _outcome(self, request: Request) -> Fault | None:
        try:
            await self._replay.write(request)
        except (Refused, Unavailable) as fault:
            return fault
        except Exception:
            log.exception("a spooled request could not be written because of a fault of ingest", points=request.points)
            return Unavailable("a fault of ingest; its log has it")
        return None

    async def _settle(
        self, entry: Entry, requests: Sequence[Request], faults: dict[int, Fault], done: set[int]
    ) -> bool:
        """Set aside what is refused for good or for too long, and let the rest step back; True when nothing is left."""
        is_over = self._deferred.refused_seconds(entry, time.monotonic()) > self._patience_seconds
        for_good = {number: fault for number, fault in faults.items() if is_over or isinstance(fault, Refused)}
        if len(for_good) == len(requests):
            await self._set_aside(entry, ", ".join(dict.fromkeys(map(str, for_good.values()))))
            return False
        for number, fault in for_good.items():
            try:
                aside = await self._spool.quarantine_requests([requests[number]], str(fault))
            except SpoolUnavailable as error:  # a full disk, say: others can be drained, which makes room
                faults[number] = error
            else:
                self._tell(aside, requests[number].points, str(fault))
                del faults[number]
                done.add(number)
        if faults:
            await self._step_back(entry, requests, str(next(iter(faults.values()))), done)
        return not faults

    async def _step_back(self, entry: Entry, requests: Sequence[Request], reason: str, done: set[int]) -> None:
        seconds = self._deferred.step_back(entry, await self._replay.extent(requests), done, time.monotonic())
        log.warning(
            "an entry of the spool steps back behind the others", reason=reason, seconds=seconds, **_named(entry)
        )

    async def _set_aside(self, entry: Entry, reason: str) -> None:
        try:
            aside = await self._spool.quarantine(entry, reason)
        except SpoolLost as error:
            self._deferred.leave(entry)
            self._instruments.lost.inc(entry.points)
            log.error("acknowledged points are lost", error=str(error), **_named(entry))  # noqa: TRY400 - not a fault
            return
        self._deferred.leave(entry)
        self._tell(aside, entry.points, reason)

    def _tell(self, aside: Path, points: int, reason: str) -> None:
        self._instruments.quarantined.inc()
        log.error("acknowledged points were set aside", file=str(aside), points=points, reason=reason)


def _named(entry: Entry) -> dict[str, Any]:
    return {"entry": str(entry.path), "points": entry.points}
