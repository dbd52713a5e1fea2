"""Which times of a measurement late points change, in few stretches. Pure.

Readers keep what they have computed of times gone by, and learn from these stretches what they must compute anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ingest.copy import Columns, Int64

GAP_US = 600 * 1_000_000
"""Times that are nearer to each other are in one stretch; those that are twice as far apart are not."""
MAX_BINS = 1_000_000
MAX_STRETCHES = 32
"""Of one measurement; the smallest gaps are taken in when there would be more."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """Times of points, the first and the last, in microseconds since the Unix epoch."""

    measurement: str
    first: int
    last: int


def late_stretches(shapes: Sequence[Columns], before_us: int) -> list[Stretch]:
    """Where the points of `shapes` lie that are older than `before_us`; usually none is."""
    late: dict[str, list[Int64]] = {}
    for columns in shapes:
        if columns.times.min(initial=before_us) < before_us:
            late.setdefault(columns.measurement, []).append(columns.times[columns.times < before_us])
    return [stretch for measurement, times in late.items() for stretch in _stretches(measurement, times)]


def _stretches(measurement: str, pieces: Sequence[Int64]) -> list[Stretch]:
    times = np.concatenate(pieces)
    first, last = int(times.min()), int(times.max())
    if last - first <= GAP_US:  # as it is with most bodies
        return [Stretch(measurement, first, last)]
    # Marked in bins rather than sorted, which would take longer than to encode them.
    bin_us = max(GAP_US, (last - first) // MAX_BINS + 1)
    marks = np.zeros((last - first) // bin_us + 1, bool)
    marks[(times - first) // bin_us] = True
    marked = np.flatnonzero(marks)
    gaps = np.diff(marked)
    cuts = np.flatnonzero(gaps > 1)
    if len(cuts) >= MAX_STRETCHES:
        cuts = np.sort(cuts[np.argsort(gaps[cuts], kind="stable")[-(MAX_STRETCHES - 1) :]])
    begins = first + marked[np.concatenate(([0], cuts + 1))] * bin_us
    ends = [*begins[1:].tolist(), last + 1]
    parts = [times[(times >= begin) & (times < end)] for begin, end in zip(begins.tolist(), ends, strict=True)]
    return [Stretch(measurement, int(part.min()), int(part.max())) for part in parts]
