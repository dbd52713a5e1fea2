"""How a replica stands to its primary: whether it may be read, and how far it is behind. Pure: times are handed in.

How far it is behind is measured on one clock, ours. Whenever the primary is asked how far its log reaches, the moment
of the question is kept beside the answer. A replica that has replayed up to there has everything that was committed
before that moment, however long ago the last commit was: an idle primary does not look like lag, and neither do clocks
that differ. While the primary does not answer, its replica grows older with every second.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal

from query.position import Position, end_of_record

Fault = Literal["new", "away", "foreign", "promoted", "timeline", "lagging"]
"""Why a replica is not read: nobody knows yet how far it is behind; it does not answer; it is of another database; it
is a primary itself; it follows another timeline, or cannot tell which; it is too far behind."""

SAMPLES = 3600
"""Places of the primary's log remembered: an hour at one a second. A replica that is further behind is older than that
all the same."""


@dataclass(frozen=True, slots=True)
class ServerState:
    """What a server said of itself (`catalog.server_state`)."""

    asked_at: float
    """When it was asked, by `time.monotonic`."""
    system: int
    database: int
    is_replica: bool
    timeline: int | None
    lsn: int
    """The end of a primary's log; the end of what a replica has replayed."""
    received: int | None
    """The end of what a replica has received."""
    epoch: str
    """Of the catalog: what was learned in another one means nothing."""
    xmin: int
    """The oldest transaction that is under way: whether it, or any after it, is seen is not known."""
    next_xid: int
    """No transaction that has begun to write by `clock` has this number, or a higher one."""
    clock: datetime
    """The server's own."""


class Standing:
    """What is known of a primary and its replica."""

    def __init__(self, max_lag_seconds: float) -> None:
        self._max_lag_seconds = max_lag_seconds
        self._primary: ServerState | None = None
        self._replica: ServerState | None = None
        self._ahead: deque[tuple[float, int]] = deque(maxlen=SAMPLES)
        """When the primary was asked, and its log's end: where the replica has not come to yet."""
        self._as_of = -math.inf
        """Everything that was committed before this is on the replica."""

    def primary_said(self, state: ServerState) -> None:
        """The primary has answered."""
        if self._primary is None or _lineage(self._primary) != _lineage(state):
            self._ahead.clear()
            self._as_of = -math.inf
        self._primary = state
        self._ahead.append((state.asked_at, end_of_record(state.lsn)))
        self._advance()

    def replica_said(self, state: ServerState) -> None:
        """The replica has answered."""
        last = self._replica
        if last is not None and state.timeline is None and state.received == last.received:
            # Nobody sends it anything now, and it has received nothing since it told its timeline.
            state = replace(state, timeline=last.timeline)
        if last is None or _lineage(state) != _lineage(last) or state.lsn < last.lsn:
            self._as_of = -math.inf  # it is another one
        self._replica = state
        self._advance()

    def fault(self, now: float) -> Fault | None:
        """Why the replica is not to be read; None when it may be."""
        primary, replica = self._primary, self._replica
        if primary is None or replica is None:
            return "new"
        if (replica.system, replica.database) != (primary.system, primary.database):
            return "foreign"
        if not replica.is_replica:
            return "promoted"
        if replica.timeline is None or replica.timeline != primary.timeline:
            return "timeline"
        behind = self.behind(now)
        if behind > self._max_lag_seconds:
            return "new" if behind == math.inf else "lagging"
        return None

    def behind(self, now: float) -> float:
        """Seconds by which the replica is behind at most; infinite until that is known."""
        return now - self._as_of

    def has_reached(self, position: Position) -> bool:
        """Whether the replica has replayed up to `position`; never across timelines."""
        replica = self._replica
        return (
            replica is not None and replica.timeline == position.timeline and replica.lsn >= end_of_record(position.lsn)
        )

    def _advance(self) -> None:
        primary, replica = self._primary, self._replica
        if primary is None or replica is None or _lineage(primary) != _lineage(replica):
            return
        while self._ahead and self._ahead[0][1] <= replica.lsn:
            self._as_of = self._ahead.popleft()[0]


def _lineage(state: ServerState) -> tuple[int, int, int | None]:
    """What must be the same for two places in a log to be comparable."""
    return state.system, state.database, state.timeline
