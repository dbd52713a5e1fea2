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
from itertools import islice, pairwise
from typing import Any

import orjson

from query.entries import Form, microseconds
from query.planner import RAW, Plan
from query.ranges import Range
from query.times import LATEST

FORMAT = 3
"""Raised when what is kept means another thing than before."""


@dataclass(frozen=True, slots=True)
class Slots:
    """The parts of a plan's range, in order, and by what they are known."""

    fingerprint: bytes
    """Of all that the rows depend on but the range and the points."""
    ranges: tuple[Range, ...]
    starts: tuple[datetime, ...] | None
    """Of each range its window's start, which may be before it; None for an answer that is kept as a whole."""
    whole: tuple[bool, ...]
    """Of each range whether it is a whole window."""
    lookback: timedelta
    """How long before the whole range points are looked at."""
    since: datetime | None
    """From when on that is; None where no points but those of a window matter to it, or the answer is whole."""
    form: Form

    @property
    def start(self) -> datetime:
        """Of the whole range."""
        return self.ranges[0][0]

    @property
    def end(self) -> datetime:
        """Of the whole range."""
        return self.ranges[-1][1]

    def settled(self, before: datetime, raw_from: datetime | None) -> tuple[int, ...]:
        """The places of the ranges that can be kept: nothing of theirs changes any more without a note."""
        is_settled = self.end <= before
        if self.starts is None and not is_settled:
            return ()
        oldest = self.start if raw_from is None else max(self.start, raw_from + self.lookback)
        return tuple(
            place
            for place, (start, end) in enumerate(self.ranges)
            if end <= before and start >= oldest and (is_settled or self.whole[place])
        )

    def looked_at(self, start: datetime) -> datetime | None:
        """From when on points are looked at when the ranges from `start` on are computed by themselves."""
        return None if self.since is None else max(self.since, start - self.lookback)

    @property
    def question(self) -> tuple[bytes, timedelta]:
        """The same for what asks the same of a range as long."""
        return self.fingerprint, self.end - self.start

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
    match = [f"{one.tag}{one.operator}{one.value}" for one in request.match]
    known: list[Any] = [FORMAT, *origin, fields, request.fn, request.by, match, request.resolution]
    if request.step is not None:
        known += [request.step.text, str(request.tz)]
    before = lookback if needs_before else timedelta(0)
    known.append(before.total_seconds())
    windows = request.windows
    if windows is None or request.is_ranked:
        known += ["whole", request.order, request.limit, [request.order_by.metric, request.order_by.fn]]
        form = Form(len(request.by), has_start=windows is not None, is_window=False)
        return Slots(_digest(known), ((request.start, request.end),), None, (False,), before, None, form)
    if windows.count(request.start, request.end) > most_windows:
        return None
    starts = tuple(windows.starts(request.start, request.end))
    after = next(islice(windows.starts(starts[-1], LATEST), 1, None), LATEST)
    full = list(zip(starts, (*starts[1:], after), strict=True))
    ranges = tuple((max(start, request.start), min(end, request.end)) for start, end in full)
    whole = tuple(one == other for one, other in zip(ranges, full, strict=True))
    form = Form(len(request.by), has_start=True, is_window=True)
    since = min((piece.start - lookback for piece in plan.pieces if piece.source.needs_before), default=None)
    return Slots(_digest(known), ranges, starts, whole, before, since, form)


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
    while len(found) > most:
        gaps = [ranges[right[0]][0] - ranges[left[1] - 1][1] for left, right in pairwise(found)]
        nearest = gaps.index(min(gaps))
        found[nearest : nearest + 2] = [(found[nearest][0], found[nearest + 1][1])]
    return found


def _digest(known: list[Any]) -> bytes:
    return hashlib.blake2b(orjson.dumps(known), digest_size=16).digest()
