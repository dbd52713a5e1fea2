"""Until when times gone by are settled: what was written of them is seen, or noted. Pure.

Ingest notes what it commits of points that are older than a minute when it is about to commit them (`catalog.change`).
So a window that ended a minute ago changes without a note only by a transaction that took its decision before, and was
committed since. To be sure that there is none, the server is asked again and again, with the moment on its clock, which
number the next transaction will get. When all transactions below such a number are over, then every one that is still
under way began to write after that moment, and took its decision later still: of windows that ended a minute before
that moment, everything is seen that will ever be without a note.

A replica sees the same transactions with the same numbers, later. The moments are the primary's there as well.
"""

from __future__ import annotations

from collections import deque
from datetime import datetime

SAMPLES = 3600
"""Moments remembered: an hour at one a second. Nothing is settled anew while a transaction writes for longer."""


class Settled:
    """Moments on the primary's clock, each with the number that the next transaction was to get."""

    def __init__(self) -> None:
        self._samples: deque[tuple[int, datetime]] = deque(maxlen=SAMPLES)
        self._epoch = ""

    def primary_said(self, epoch: str, next_xid: int, clock: datetime) -> None:
        """The primary has answered; in another epoch numbers may begin anew."""
        if epoch != self._epoch or (self._samples and next_xid < self._samples[-1][0]):
            self._samples.clear()
            self._epoch = epoch
        if self._samples and self._samples[-1][0] == next_xid:
            self._samples.pop()  # nobody has begun to write since: the later moment holds as well
        self._samples.append((next_xid, clock))

    def before(self, xmin: int) -> datetime | None:
        """The latest moment before which all that had begun to write is over, when `xmin` is the oldest that is not."""
        return next((clock for next_xid, clock in reversed(self._samples) if next_xid <= xmin), None)
