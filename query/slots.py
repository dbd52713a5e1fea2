"""Which parts of an answer stand by themselves, and can be kept. Pure.

The rows of a window depend on the points in it, and where growth is counted on the points before (`reach` tells which),
so that windows are kept one by one, and another range that has them finds them. Windows at the ends of a range may be
cut short by it: those are kept only if the range as a whole is settled, and so is likely to be asked for again as it
is. Where rows depend on the whole range, as the order of series does, and where there is but one value, the answer is
kept as a whole.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from itertools import islice, pairwise
from typing import Any

import orjson

from query.cheap import Question
from query.conditions import hosts_named
from query.entries import Form, microseconds
from query.facts import FieldFact
from query.parameters import Matcher
from query.planner import RAW, Plan
from query.points import PointsRequest
from query.ranges import Range
from query.steps import Windows
from query.times import LATEST

FORMAT = 3
"""Raised when what is kept means another thing than before."""


@dataclass(frozen=True)
class Slots:
    """The parts of a range, in order, and by what they are known. To part one takes longer than many an answer."""

    fingerprint: bytes
    """Of all that the rows depend on but the range and the points."""
    likeness: bytes
    """The same for what asks the same of as many other hosts."""
    start: datetime
    end: datetime
    """Of the whole range."""
    windows: Windows | None
    """Which are the parts; None for an answer that is kept as a whole."""
    lookback: timedelta
    """How long before the whole range points are looked at."""
    since: datetime | None
    """From when on that is; None where no points but those of a window matter to it, or the answer is whole."""
    form: Form

    @property
    def count(self) -> int:
        """How many parts there are, give or take one that the calendar skips."""
        return 1 if self.windows is None else self.windows.count(self.start, self.end)

    @cached_property
    def starts(self) -> tuple[datetime, ...] | None:
        """Of each range its window's start, which may be before it; None for an answer that is kept as a whole."""
        return None if self.windows is None else tuple(self.windows.starts(self.start, self.end))

    @cached_property
    def ranges(self) -> tuple[Range, ...]:
        """Those of the parts."""
        return tuple((max(start, self.start), min(end, self.end)) for start, end in self._whole_ranges)

    @cached_property
    def whole(self) -> tuple[bool, ...]:
        """Of each range whether it is a whole window."""
        return tuple(one == other for one, other in zip(self.ranges, self._whole_ranges, strict=True))

    @cached_property
    def _whole_ranges(self) -> list[Range]:
        if self.starts is None or self.windows is None:
            return [(self.start, self.end)]
        after = next(islice(self.windows.starts(self.starts[-1], LATEST), 1, None), LATEST)
        return list(zip(self.starts, (*self.starts[1:], after), strict=True))

    def is_settled(self, before: datetime, raw_from: datetime | None) -> bool:
        """Whether all of the range can be kept: nothing of it changes any more without a note."""
        return self.end <= before and self.start >= self._oldest(raw_from)

    def settled(self, before: datetime, raw_from: datetime | None) -> tuple[int, ...]:
        """The places of the ranges that can be kept."""
        is_over = self.end <= before
        if self.windows is None and not is_over:
            return ()
        oldest = self._oldest(raw_from)
        return tuple(
            place
            for place, (start, end) in enumerate(self.ranges)
            if end <= before and start >= oldest and (is_over or self.whole[place])
        )

    def _oldest(self, raw_from: datetime | None) -> datetime:
        return self.start if raw_from is None else max(self.start, raw_from + self.lookback)

    def looked_at(self, start: datetime) -> datetime | None:
        """From when on points are looked at when the ranges from `start` on are computed by themselves."""
        return None if self.since is None else max(self.since, start - self.lookback)

    @property
    def question(self) -> Question:
        """By what is known how long it takes to compute."""
        length = self.end - self.start
        return Question((self.likeness, length), (self.fingerprint, length))

    @property
    def common(self) -> bytes:
        """By what those are known who may have parts in common: other ranges of windows, the same of what is whole."""
        return self.key(0) if self.windows is None else self.fingerprint

    def key(self, place: int) -> bytes:
        """By what a range is known."""
        start, end = self.ranges[place]
        return self.fingerprint + struct.pack(">qq", microseconds(start), microseconds(end))


def divide(plan: Plan, lookback: timedelta, origin: Sequence[object], most_windows: int) -> Slots | None:
    """The parts of the answer to a plan; None where nothing can be kept.

    `origin` is where the points are from. A rollup that is named is read as it stands: nobody notes how it changes.
    More than `most_windows` are not looked for: that takes longer than to compute them, and nobody else has a turn
    meanwhile.
    """
    request = plan.request
    if request.resolution not in ("auto", RAW):
        return None
    needs_before = any(piece.source.needs_before for piece in plan.pieces)
    fields = [[field.measurement_id, field.id] for field in plan.fields]
    known: list[Any] = [FORMAT, *origin, fields, request.fn, request.by, request.resolution]
    if request.step is not None:
        known += [request.step.text, str(request.tz)]
    before = lookback if needs_before else timedelta(0)
    known.append(before.total_seconds())
    windows = request.windows
    if windows is None or request.is_ranked:
        known += ["whole", request.order, request.limit, [request.order_by.metric, request.order_by.fn]]
        form = Form(len(request.by), has_start=windows is not None, is_window=False)
        return Slots(*_known_by(known, request.match), request.start, request.end, None, before, None, form)
    if windows.count(request.start, request.end) > most_windows:
        return None
    form = Form(len(request.by), has_start=True, is_window=True)
    since = min((piece.start - lookback for piece in plan.pieces if piece.source.needs_before), default=None)
    return Slots(*_known_by(known, request.match), request.start, request.end, windows, before, since, form)


def of_points(request: PointsRequest, fields: Sequence[FieldFact], size: int, origin: Sequence[object]) -> Slots:
    """The answer that has these fields of at most `size` points, and is kept as a whole."""
    known: list[Any] = [
        FORMAT,
        *origin,
        "points",
        size,
        request.limit,
        [[field.measurement_id, field.id] for field in fields],
    ]
    known += [request.by, [str(one) for one in request.where], request.order]
    known.append(None if request.after is None else str(request.after))
    form = Form(0, has_start=True, is_window=False)
    return Slots(*_known_by(known, request.match), request.start, request.end, None, timedelta(0), None, form)


def runs(ranges: Sequence[Range], missing: Sequence[int], most: int) -> list[tuple[int, int]]:
    """The places of `missing` in runs, each from a place up to but without another.

    At most as many as `most`: where there would be more, the shortest stretches between them are taken in.
    """
    found: list[tuple[int, int]] = []
    for place in missing:
        if found and found[-1][1] == place:
            found[-1] = (found[-1][0], place + 1)
        else:
            found.append((place, place + 1))
    gaps = [ranges[right[0]][0] - ranges[left[1] - 1][1] for left, right in pairwise(found)]
    nearest = set(sorted(range(len(gaps)), key=gaps.__getitem__)[: max(len(found) - most, 0)])
    joined = found[:1]
    for place, run in enumerate(found[1:]):
        if place in nearest:
            joined[-1] = (joined[-1][0], run[1])
        else:
            joined.append(run)
    return joined


def _known_by(known: list[Any], match: Sequence[Matcher]) -> tuple[bytes, bytes]:
    """The fingerprint, and the likeness."""
    exactly = [str(one) for one in match]
    alike = [hosts_named(one) or str(one) for one in match]
    digests = [hashlib.blake2b(orjson.dumps([*known, told]), digest_size=16).digest() for told in (exactly, alike)]
    return digests[0], digests[1]
