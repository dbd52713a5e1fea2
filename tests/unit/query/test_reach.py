"""Whether the rows of a window, computed for one range, are those of another."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from query.reach import Reach, told, without

T = datetime(2026, 11, 25, tzinfo=UTC)
START, END = 20, 30
"""Of the window, in seconds."""


def second(number: int) -> datetime:
    """So many seconds after T."""
    return T + timedelta(seconds=number)


def rows(series: Sequence[frozenset[int]], near: int, far: int | None = None) -> list[tuple[Any, ...]]:
    """What each series has in the window: each point with the one before it from `near` on, and what that tells."""
    found = []
    for number, moments in enumerate(series):
        seen = sorted(moment for moment in moments if near <= moment < END)
        pairs = [(seen[place - 1] if place else None, one) for place, one in enumerate(seen) if one >= START]
        if pairs:
            befores = [before for before, _ in pairs if before is not None]
            oldest = second(min(befores)) if befores else None
            lacks = any(before is None for before, _ in pairs)
            misses = lacks and any((near if far is None else far) <= moment < near for moment in moments)
            found.append((number, tuple(pairs), oldest, lacks, misses))
    return found


points = st.lists(st.frozensets(st.integers(0, END), max_size=6), max_size=4)
moments = st.integers(0, START)


@given(points, moments, moments)
def test_rows_that_hold_are_the_same(series: list[frozenset[int]], one: int, other: int) -> None:
    """Computed with points from another moment on, they are what they are here."""
    computed = rows(series, one, min(one, other))
    holds = told(computed, second(one), second(min(one, other))).holds(second(other), None)
    same = without(rows(series, other)) == without(computed)
    assert same or not holds
    assert holds or other != one
    if other < one:
        assert holds == same, "what was asked for beside what was looked at tells it all"


@given(points, moments, moments, st.integers(0, 3), st.integers(0, END))
def test_points_before_the_beginning_do_not_matter(
    series: list[frozenset[int]], one: int, other: int, late: int, moment: int
) -> None:
    """A point that comes late changes rows only where it lies at the beginning of what matters, or after."""
    reach = told(rows(series, one), second(one), second(one))
    if reach.holds(second(other), None) and second(moment) < reach.begin(second(START), second(other)):
        later = [moments | {moment} if number == late else moments for number, moments in enumerate(series)]
        assert without(rows(later, other)) == without(rows(series, other))


def test_a_sliding_range_goes_on_with_what_it_has() -> None:
    """Also where a series is new: that it had no point before stays true while the range moves on."""
    alive, new = Reach(second(0), second(19), True), Reach(second(0), second(19), False)
    for since in (0, 5, 19):
        assert alive.holds(second(since), None)
        assert new.holds(second(since), None)
    assert not alive.holds(second(20), None)
    assert alive.holds(second(-5), None)
    assert not new.holds(second(-5), None), "there may be a point before that was not looked for"


def test_what_is_dropped_counts_no_more() -> None:
    """A point from which growth was counted may not be kept any longer."""
    reach = Reach(second(0), second(15), True)
    assert reach.holds(second(0), second(15))
    assert not reach.holds(second(0), second(16))
    assert Reach(second(0), None, True).holds(second(0), second(16))


def test_an_empty_window_depends_on_itself() -> None:
    """Without points in it nothing before it matters."""
    reach = told([], second(0), second(0))
    assert reach.holds(second(-100), None)
    assert reach.begin(second(START), second(-100)) == second(START)
