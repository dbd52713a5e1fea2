"""Which times late points change."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ingest.copy import Columns
from ingest.late import GAP_US, MAX_STRETCHES, Stretch, late_stretches

NOW = 1_800_000_000_000_000


def points(measurement: str, times: Iterable[int]) -> Columns:
    """Points of one series at these times."""
    at = np.array(list(times), np.int64)
    ids = np.ones(len(at), np.int32)
    return Columns(measurement, ("f",), ids, at, np.zeros((len(at), 1)), np.arange(len(at), dtype=np.int64))


def test_fresh_points_change_nothing_of_times_gone_by() -> None:
    """Neither points at the border nor after it are late, and no points are not either."""
    assert late_stretches([], NOW) == []
    assert late_stretches([points("m", []), points("m", [NOW, NOW + 1, NOW + GAP_US])], NOW) == []


def test_near_points_are_one_stretch() -> None:
    """Across shapes, whatever their order; fresh points of the same request are not in it."""
    shapes = [points("m", [NOW - 5, NOW + 7]), points("m", [NOW - GAP_US, NOW - 9]), points("n", [NOW - 1])]
    assert late_stretches(shapes, NOW) == [Stretch("m", NOW - GAP_US, NOW - 5), Stretch("n", NOW - 1, NOW - 1)]


def test_a_straggler_has_a_stretch_of_its_own() -> None:
    """One point of last year does not make all the time since then change."""
    year = 365 * 86_400_000_000
    assert late_stretches([points("m", [NOW - 5, NOW - year])], NOW) == [
        Stretch("m", NOW - year, NOW - year),
        Stretch("m", NOW - 5, NOW - 5),
    ]


def test_the_widest_gaps_are_kept() -> None:
    """Where there would be too many stretches, those that lie nearest are one."""
    times = [NOW - n * 3 * GAP_US for n in range(1, 2 * MAX_STRETCHES)] + [NOW - 1000 * GAP_US]
    stretches = late_stretches([points("m", times)], NOW)
    assert len(stretches) == MAX_STRETCHES
    assert stretches[0] == Stretch("m", NOW - 1000 * GAP_US, NOW - 1000 * GAP_US)


@given(st.lists(st.integers(NOW - 100 * GAP_US, NOW + GAP_US), max_size=200))
def test_every_late_point_is_in_a_stretch(times: list[int]) -> None:
    """And the stretches are in order, apart, few, and begin and end with points."""
    stretches = late_stretches([points("m", times)], NOW)
    for time in times:
        assert any(one.first <= time <= one.last for one in stretches) is (time < NOW)
    assert len(stretches) <= MAX_STRETCHES
    assert all(one.first in times and one.last in times for one in stretches)
    assert all(one.last < other.first for one, other in pairwise(stretches))
