"""Arithmetic of ranges of time. Pure.

A range is (start, end), without its end. Lists of ranges are sorted, and their ranges lie apart.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from query.steps import ORIGIN

Range = tuple[datetime, datetime]


def overlap(ranges: Iterable[Range], others: Sequence[Range]) -> list[Range]:
    """What lies in both."""
    pairs = ((max(one[0], other[0]), min(one[1], other[1])) for one in ranges for other in others)
    return [pair for pair in pairs if pair[0] < pair[1]]


def without(ranges: Iterable[Range], taken: Iterable[Range]) -> list[Range]:
    """What of `ranges` is not in `taken`, which may overlap and be in any order.

    Each is looked at once, not each with each: a window of every day for centuries makes hundreds of thousands.
    """
    cuts = sorted(taken)
    left, first = [], 0
    for start, end in ranges:
        while first < len(cuts) and cuts[first][1] <= start:
            first += 1
        rest, place = start, first
        while place < len(cuts) and cuts[place][0] < end:
            if rest < cuts[place][0]:
                left.append((rest, cuts[place][0]))
            rest = max(rest, cuts[place][1])
            place += 1
        if rest < end:
            left.append((rest, end))
    return left


def whole(ranges: Iterable[Range], width: timedelta) -> list[Range]:
    """The whole buckets of `width` that lie in each range; buckets begin where those of rollups do."""
    shrunk = ((_up(start, width), _down(end, width)) for start, end in ranges)
    return [one for one in shrunk if one[0] < one[1]]


def around(start: datetime, end: datetime, width: timedelta) -> Range:
    """The whole buckets of `width` that hold a range."""
    return _down(start, width), _up(end, width)


def buckets_around(moments: Iterable[datetime], width: timedelta) -> list[Range]:
    """The buckets that begin before one of `moments` and end after it."""
    starts = dict.fromkeys(start for moment in moments if (start := _down(moment, width)) != moment)
    return [(start, start + width) for start in starts]


def _down(moment: datetime, width: timedelta) -> datetime:
    return moment - (moment - ORIGIN) % width


def _up(moment: datetime, width: timedelta) -> datetime:
    return moment + (ORIGIN - moment) % width
