"""What becomes of a request's points: they are committed, or the request is spooled.

1. Usually the points are written, and acknowledged when they are committed.
2. When the database does not take them in time, the request is spooled, and acknowledged when that is durable; while it
   is known to take nothing from anybody, at once.
3. So is a request with points of a time that a spooled one may have, too, and any that comes while a write that was
   given up is not over. It must not overtake these: the last of a point's values to be acknowledged is to stay.
4. When the spool cannot take it, it is written if that has not been tried: somebody has to find out that the database
   is back, when the spool has nothing to try with. Whoever is refused by both is to send it again.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ingest.instruments import Instruments
from ingest.points import Batch
from ingest.spool.entry import Request
from ingest.spool.errors import SpoolTooOld, SpoolUnavailable
from ingest.spool.queue import SpoolQueue
from ingest.writer import Writer
from service import logs
from service.errors import Unavailable

log = logs.get(__name__)


@dataclass(frozen=True, slots=True)
class Kept:
    """How points are kept."""

    durability: Literal["committed", "spooled"]
    position: str | None = None
    """Of the database's log, `timeline-lsn`, by which they are committed; unknown for those that are spooled."""


class Keeper:
    """Keeps points, one way or the other. Without a spool, they are committed or refused."""

    def __init__(
        self, writer: Writer, spool: SpoolQueue | None, max_age_seconds: float, instruments: Instruments
    ) -> None:
        self._writer = writer
        self._spool = spool
        self._max_age_seconds = max_age_seconds
        self._instruments = instruments.spool
        self._refusal = ""
        """Why the spool took nothing, as it was logged last; empty since it took something."""

    async def keep(
        self,
        batch: Batch,
        form: str,
        precision_ns: int,
        received_us: int,
        body: bytes,
        has_left: Callable[[], bool],
    ) -> Kept:
        """Keep the batch's accepted points, which were decoded from `body`; some may still be rejected.

        `has_left` tells whether the client has. It may have sent the same again since, and a correction of that: what
        was not written in time is not spooled behind these.

        Raises `Unavailable` when nobody can take them now, `BadRequest` when the database refuses a value.
        """
        if self._spool is None or not batch.accepted_count:
            return Kept("committed", await self._writer.write(batch))
        first_us, last_us = _times(batch)
        outage = Unavailable("the database cannot take points now")
        is_tried = self._may_go_past(first_us, last_us) and not self._writer.is_out
        if is_tried:
            try:
                return Kept("committed", await self._writer.write(batch, is_repeatable=True))
            except Unavailable as error:
                if has_left():
                    raise
                outage = error
        request = Request(form, precision_ns, received_us, first_us, last_us, batch.accepted_count, body)
        try:
            await self._spool_up(request, self._spool)
        except SpoolUnavailable as error:
            if is_tried or not self._may_go_past(first_us, last_us):
                raise Unavailable(f"{outage.message}, and {error}") from error
            return Kept("committed", await self._writer.write(batch, is_repeatable=True))
        return Kept("spooled")

    def _may_go_past(self, first_us: int, last_us: int) -> bool:
        """Whether points of these times may be written now: nothing that was sent before them is to come after them."""
        assert self._spool is not None
        return not self._writer.is_unsettled and not self._spool.store.may_hold(first_us, last_us)

    async def _spool_up(self, request: Request, spool: SpoolQueue) -> None:
        """Spool a request. Raises `SpoolUnavailable`, counted, and logged when it is not as it was before."""
        began = time.monotonic()
        try:
            oldest_us = spool.store.totals().oldest_us
            if oldest_us is not None and time.time() - oldest_us / 1e6 > self._max_age_seconds:
                raise SpoolTooOld(f"the spool has waited {self._max_age_seconds:g} s (INGEST_SPOOL_MAX_AGE_SECONDS)")
            await spool.keep(request)
        except SpoolUnavailable as error:
            self._instruments.refused.labels(error.reason).inc()
            if error.reason != self._refusal:
                log.warning("the spool takes nothing", error=str(error), reason=error.reason)
            self._refusal = error.reason
            raise
        if self._refusal:
            log.info("the spool takes requests again")
            self._refusal = ""
        self._instruments.seconds.observe(time.monotonic() - began)


def _times(batch: Batch) -> tuple[int, int]:
    """The earliest and the latest time of the batch's points, of which there is one at least."""
    times = [np.frombuffer(rows.times, np.int64) for rows in batch.rows]
    return int(min(one.min() for one in times)), int(max(one.max() for one in times))
