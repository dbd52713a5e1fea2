"""How far before its window rows depend on points: what growth is counted from. Pure.

A range is asked with points from a while before it on (`lookback`). The first point of a series in a window counts
from the point before it, wherever in the range that is. So the rows of a window stand by themselves once it is known
from when on points were looked at, how far back the oldest point is that one counts from, and whether every one found
a point before: another range has the same rows where it looks at all of these points, and at none that were not.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from query.tables import Row

COLUMNS = 3
"""At the end of a row that tells: the oldest point before one of its own, whether one found none, and whether one would
have found some if it had looked further back."""


@dataclass(frozen=True, slots=True)
class Reach:
    """Which points before its window the rows of a window depend on."""

    since: datetime
    """Points from there on were looked at."""
    oldest: datetime | None
    """Of the points that points of the window count from; None where there are none."""
    is_complete: bool
    """Whether each found one, so that nothing before `oldest` matters."""

    def holds(self, since: datetime, kept_from: datetime | None) -> bool:
        """Whether the rows are those of a range that looks at points from `since` on.

        Points before `kept_from` may have been dropped meanwhile.
        """
        if not self.is_complete and since < self.since:
            return False
        return self.oldest is None or self.oldest >= max(since, kept_from or since)

    def begin(self, start: datetime, since: datetime) -> datetime:
        """From when on points matter to the rows of a window that begins at `start`, in a range as above."""
        if not self.is_complete:
            return since
        return start if self.oldest is None else min(start, self.oldest)


def told(rows: Iterable[Row], near: datetime, far: datetime) -> Reach:
    """What the rows of a window tell, for which points were looked at from `near` on, and asked for from `far` on."""
    oldest: datetime | None = None
    is_complete, is_missed = True, False
    for row in rows:
        before, lacks, misses = row[-COLUMNS:]
        is_complete = is_complete and not lacks
        is_missed = is_missed or misses
        if before is not None and (oldest is None or before < oldest):
            oldest = before
    return Reach(near if is_missed else far, oldest, is_complete)


def without(rows: Sequence[Row]) -> list[Row]:
    """The rows without what they tell."""
    return [row[:-COLUMNS] for row in rows]
