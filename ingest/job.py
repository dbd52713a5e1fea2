"""A request's points on their way to the database, and what becomes of them."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field

from ingest.copy import Columns
from ingest.points import Batch
from ingest.portions import Portions
from ingest.sqlstates import Meaning, summary
from service.errors import HttpError, Unavailable


@dataclass(slots=True, eq=False)
class Job:
    """One request's points; `done` gets their position when they are committed, or the error for the client.

    A job waits (for its turn, or for the next try), or it is under way (the database answers, and is at work on
    it). Its time ends its waiting: one that is under way may be committed yet, and is waited for, unless it is
    `is_repeatable`.
    """

    batch: Batch
    is_repeatable: bool = False
    """Whether its points are written again when this comes to nothing: nobody need wait for what is uncertain."""
    done: asyncio.Future[str | None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    shapes: list[Columns] = field(default_factory=list)
    """The points with their series' ids; empty until they are known."""
    epoch: str = ""
    """Of the catalog, in which the ids are good."""
    position: str | None = None
    """Of the database's log, after the last transaction with points of it; None while it is not known."""
    began_at: float = field(default_factory=time.monotonic)
    """When it was made, by `time.monotonic`."""
    timer: asyncio.TimerHandle | None = None
    """Which ends its wait."""
    queued_at: float = 0.0
    """When it began to wait for a copier, by `time.monotonic`."""
    setback: Meaning | None = None
    """What its last failure meant."""
    trouble: BaseException | None = None
    """What kept it from being committed the last time."""
    relearned: bool = False
    """Whether it was learned anew because the catalog seemed to have changed."""
    alone: bool = False
    """Whether it goes by itself: it may be what made others fail."""
    portions: Portions | None = None
    """Its points in portions, once it turned out to be too much for one merge."""
    committed: int = 0
    """How many of its points are committed at least, as long as not all are."""
    split_at: float = 0.0
    """When it turned out so, by `time.monotonic`."""
    _under_way: bool = False
    _is_late: bool = False

    @property
    def is_given_up(self) -> bool:
        """Whether its caller waits no more, and writes its points again, while the database may be at work on it."""
        return self.is_repeatable and self._is_late

    @property
    def is_new(self) -> bool:
        """Whether something of it must be learned, and nothing has gone wrong with that."""
        return not self.shapes and self.setback is None

    @property
    def size_bytes(self) -> int:
        """What its points hold in memory."""
        return sum(columns.size_bytes for columns in self.shapes)

    @property
    def so_far(self) -> str:
        """What to tell of a request that fails after some of its points were committed; nothing without any."""
        return f"; {self.committed} of its points are committed" if self.committed else ""

    def queue(self, epoch: str, shapes: list[Columns]) -> None:
        """Its points are known, and wait for a copier from now on."""
        self.epoch, self.shapes, self.queued_at, self.portions = epoch, shapes, time.monotonic(), None

    def set_out(self) -> None:
        """The database answers, and is at work on it from now on."""
        self._under_way = True

    def set_back(self, meaning: Meaning, error: BaseException) -> None:
        """That came to nothing, and it waits for another try; one that is to be split is under way all the same."""
        self.setback, self.trouble, self._under_way = meaning, error, meaning is Meaning.TOO_MUCH
        if self._is_late:
            self.end_wait()

    def go_on(self) -> None:
        """It is under way with its next portion."""
        self.setback = Meaning.TOO_MUCH
        if self.portions is not None:
            self.committed = max(self.committed, self.portions.committed)

    def end_wait(self) -> None:
        """Its time is over: nothing is promised unless it is under way, and waited for."""
        self._is_late = True
        if self.is_repeatable or not self._under_way:
            reason = summary(self.trouble) if self.trouble else "it is busy, or does not answer"
            self.fail(Unavailable(f"the database cannot take points now: {reason}{self.so_far}"))

    def succeed(self) -> None:
        """Its points are committed."""
        if not self.done.done():
            self.done.set_result(self.position)

    def fail(self, error: HttpError) -> None:
        """Its points are not, and this is why."""
        if not self.done.done():
            self.done.set_exception(error)
