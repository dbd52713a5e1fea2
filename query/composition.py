"""Which stretch of time is read from where: from the coarsest rollup that is exact for it, or from the points. Pure.

A rollup stands for its points where three things hold: TimescaleDB has nothing left to refresh there, its buckets lie
in one window of the answer each, and enough of them lie together to save more than another scan costs. Points are
read everywhere else: at the ragged edges of the range, where late points came, and for the newest part. Before the
`cut` points are no longer kept, and rollups are read wherever they fit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from query.ranges import Range, buckets_around, overlap, whole, without
from query.steps import FixedWindows, Windows

FINEST = timedelta(minutes=10)
"""The width of the finest rollup."""

LEAST_BUCKETS = 3
"""Fewer buckets of a rollup in a row cost more, as one more scan of the statement, than they save."""
SAMPLE = timedelta(days=3)
"""What holds for so much of a range holds for all: windows of a calendar are days, which leave enough between them."""
MOST_STRETCHES = 16
"""Stretches read from one rollup: each is a scan of its own. The longest are taken."""


@dataclass(frozen=True, slots=True)
class Rollup:
    """A part of a rollup, with the fields that it has, as `catalog.rollup_state` tells."""

    measurement: str
    size: str
    """Its width as people write it: 10m, 1h."""
    view: str
    """In the schema `rollups`."""
    width: timedelta
    fields: frozenset[int]
    """Their ids."""
    valid: tuple[Range, ...]
    """Where it is what the points would give, sorted and apart."""

    @property
    def name(self) -> str:
        """As requests and answers name it, cpu_10m: the same for all its parts."""
        return f"{self.measurement}_{self.size}"


class Stretch(NamedTuple):
    """A part of the range, and the rollup to read it from; None means the points."""

    start: datetime
    end: datetime
    rollup: Rollup | None


def size_of(width: timedelta) -> str:
    """A rollup's width as people write it: 10m, 1h."""
    minutes = width // timedelta(minutes=1)
    return f"{minutes // 60}h" if minutes % 60 == 0 else f"{minutes}m"


def compose(
    start: datetime, end: datetime, windows: Windows | None, rollups: Sequence[Rollup], cut: datetime | None
) -> list[Stretch]:
    """[start, end) in stretches, the coarsest first. What lies before `cut` and in no rollup is left out."""
    left: list[Range] = [(start, end)]
    stretches: list[Stretch] = []
    for rollup in sorted(rollups, key=lambda one: one.width, reverse=True):
        usable = whole(overlap(left, rollup.valid), rollup.width)
        if usable:
            usable = without(usable, straddled(usable[0][0], usable[-1][1], windows, rollup.width))
        taken = _worthwhile(usable, rollup.width, cut)
        stretches += [Stretch(*one, rollup) for one in taken]
        left = without(left, taken)
    if cut is not None:
        left = overlap(left, [(cut, end)]) if cut < end else []
    return stretches + [Stretch(*one, None) for one in left]


def can_help(start: datetime, end: datetime, windows: Windows | None) -> bool:
    """Whether any rollup could be worth reading, whatever there is."""
    end = min(end, start + SAMPLE)
    usable = without(whole([(start, end)], FINEST), straddled(start, end, windows, FINEST))
    return bool(_worthwhile(usable, FINEST, None))


def straddled(start: datetime, end: datetime, windows: Windows | None, width: timedelta) -> list[Range]:
    """The buckets of `width` in which one window ends and the next begins; all of [start, end) when most are."""
    if windows is None:
        return []
    if isinstance(windows, FixedWindows):
        return [] if windows.length % width == timedelta(0) else [(start - width, end + width)]
    return buckets_around(windows.starts(start, end), width)


def _worthwhile(usable: list[Range], width: timedelta, cut: datetime | None) -> list[Range]:
    long_enough = [
        (start, end)
        for start, end in usable
        if end - start >= LEAST_BUCKETS * width or (cut is not None and start < cut)
    ]
    longest = sorted(long_enough, key=lambda one: one[0] - one[1])[:MOST_STRETCHES]
    return sorted(longest)
