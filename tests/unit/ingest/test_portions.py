from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ingest.copy import Columns
from ingest.portions import FIRST_POINTS, MOST_POINTS, STEADY_PORTIONS, Portions


def shape(measurement: str, times: range) -> Columns:
    """Points of one series, a value each, at these times."""
    number = len(times)
    values = np.arange(number, dtype=np.float64).reshape(number, 1)
    return Columns(measurement, ("f",), np.ones(number, np.int32), np.array(times, np.int64), values, np.array(times))


def taken(portion: list[Columns]) -> list[tuple[str, int]]:
    """The measurement and the time of each point of a portion."""
    return [(columns.measurement, int(time)) for columns in portion for time in columns.times]


@given(st.lists(st.integers(0, 700), min_size=1, max_size=5), st.lists(st.booleans(), max_size=30))
def test_every_point_is_committed_once_and_in_order(sizes: list[int], fits: list[bool]) -> None:
    """However many shapes there are, and whichever portions do not fit."""
    portions = Portions([shape(f"m{place}", range(size)) for place, size in enumerate(sizes)])
    committed: list[tuple[str, int]] = []
    for fit in fits + [True] * sum(sizes):
        if portions.is_over:
            break
        portion = taken(portions.next())
        if fit or not portions.was_too_large():
            portions.fitted()
            committed += portion
        assert portions.committed == len(committed)
    assert committed == [(f"m{place}", time) for place, size in enumerate(sizes) for time in range(size)]


def test_a_portion_holds_points_of_several_shapes() -> None:
    """Many small shapes are few portions."""
    portions = Portions([shape("a", range(30)), shape("b", range(30)), shape("c", range(60))])
    assert [(one.measurement, len(one)) for one in portions.next()] == [("a", 30), ("b", 30), ("c", 40)]
    portions.fitted()
    assert [(one.measurement, len(one)) for one in portions.next()] == [("c", 20)]
    portions.fitted()
    assert portions.is_over


def size_of(portions: Portions) -> int:
    """How many points the next portion has."""
    return len(taken(portions.next()))


def test_portions_grow_until_one_does_not_fit() -> None:
    """Then they are half as large, and for a while no larger one is tried."""
    portions = Portions([shape("m", range(1_000_000))])
    for power in range(5):
        assert size_of(portions) == FIRST_POINTS * 2**power
        portions.fitted()
    assert size_of(portions) == 32 * FIRST_POINTS
    assert portions.was_too_large()
    for _ in range(STEADY_PORTIONS):
        assert size_of(portions) == 16 * FIRST_POINTS
        portions.fitted()
    assert size_of(portions) == 32 * FIRST_POINTS


def test_portions_grow_up_to_a_bound() -> None:
    """However many points there are, and however well they fit."""
    portions = Portions([shape("m", range(300_000))])
    largest = 0
    while not portions.is_over:
        largest = max(largest, size_of(portions))
        portions.fitted()
    assert largest == MOST_POINTS


def test_one_point_cannot_be_halved() -> None:
    """A portion that does not fit becomes smaller until it is a single point; then that is said."""
    portions = Portions([shape("m", range(5))])
    assert portions.was_too_large()
    assert size_of(portions) == 2
    assert portions.was_too_large()
    assert size_of(portions) == 1
    assert not portions.was_too_large()
    assert size_of(portions) == 1
