"""Which times of a measurement late points change, in few stretches. Pure.

Readers keep what they have computed of times gone by, and learn from these stretches what they must compute anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ingest.copy import Columns, Int64

GAP_US = 600 * 1_000_000
"""Times that are nearer to each other are in one stretch."""
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
    times = np.unique(np.concatenate(pieces))
    gaps = np.diff(times)
    cuts = np.flatnonzero(gaps > GAP_US)
    if len(cuts) >= MAX_STRETCHES:
        widest = np.argsort(gaps[cuts], kind="stable")[-(MAX_STRETCHES - 1) :]
        cuts = np.sort(cuts[widest])
    firsts = times[np.concatenate(([0], cuts + 1))]
    lasts = times[np.concatenate((cuts, [len(times) - 1]))]
    return [Stretch(measurement, *pair) for pair in zip(firsts.tolist(), lasts.tolist(), strict=True)]
