from __future__ import annotations

from pathlib import Path

import pytest

from ingest.deferred import FIRST_BREAK_SECONDS, LONGEST_BREAK_SECONDS, Deferred, Extent, NoPlace, extent, joined, meet
from ingest.spool.slot import Entry
from tests.unit.ingest.conftest import Read

A, B = ("cpu", '{"host":"a"}'), ("cpu", '{"host":"b"}')


def entry(number: int, first_us: int = 0, last_us: int = 100) -> Entry:
    """An entry by its number."""
    return Entry(Path(f"{number}.batch"), number, 4096, 1, 1, 0, first_us, last_us)


def test_an_extent_tells_the_times_of_each_series(read_lines: Read) -> None:
    """Over all shapes, measurements and requests."""
    batches = [
        read_lines(b"cpu,host=a x=1 3000\ncpu,host=a y=1 1000\nmem,host=a x=1 2000").batch,
        read_lines(b"cpu,host=a x=2 5000\ncpu,host=b x=2 4000").batch,
    ]
    assert extent(batches) == {A: (1, 5), ("mem", '{"host":"a"}'): (2, 2), B: (4, 4)}


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ({A: (1, 5)}, {A: (5, 9)}, True),
        ({A: (1, 5)}, {A: (6, 9)}, False),
        ({A: (1, 5)}, {B: (1, 5)}, False),
        ({A: (1, 9)}, {B: (1, 5), A: (3, 4)}, True),
        ({}, {A: (1, 5)}, False),
        (None, {A: (1, 5)}, True),
        (None, None, True),
    ],
)
def test_extents_meet_where_a_series_has_the_same_times(one: Extent, other: Extent, expected: bool) -> None:
    """In both orders; what cannot be told has all points."""
    assert meet(one, other) is meet(other, one) is expected


def test_extents_are_joined() -> None:
    """Of each series the earliest and the latest time of both."""
    assert joined({A: (1, 5)}, {A: (3, 9), B: (2, 2)}) == {A: (1, 9), B: (2, 2)}


def test_breaks_grow_and_end() -> None:
    """An entry that steps back rests longer each time, up to a bound, and is refused since the first."""
    deferred, refused = Deferred(), entry(1)
    now = 1000.0
    assert deferred.refused_seconds(refused, now) == 0
    seconds = [deferred.step_back(refused, {A: (1, 5)}, set(), now) for _ in range(10)]
    assert seconds[:3] == [FIRST_BREAK_SECONDS, 2 * FIRST_BREAK_SECONDS, 4 * FIRST_BREAK_SECONDS]
    assert seconds[-1] == LONGEST_BREAK_SECONDS
    assert deferred.resting(now) == {refused.path: now + LONGEST_BREAK_SECONDS}
    assert deferred.resting(now + LONGEST_BREAK_SECONDS) == {}
    assert deferred.refused_seconds(refused, now + 7) == 7


def test_what_is_behind_waits_until_those_ahead_are_gone() -> None:
    """In their order: the second behind the first, the third, which has points of the second only, behind that."""
    deferred = Deferred()
    first, second, third, free = (entry(number) for number in (1, 2, 3, 4))
    deferred.step_back(first, {A: (1, 5)}, set(), 0.0)
    assert deferred.ahead_of(second, {A: (5, 5), B: (1, 5)}) == first.path
    deferred.put_behind(second, {A: (5, 5), B: (1, 5)}, first.path)
    assert deferred.ahead_of(third, {B: (5, 5)}) == second.path
    deferred.put_behind(third, {B: (5, 5)}, second.path)
    assert deferred.ahead_of(free, {B: (6, 6)}) is None
    assert deferred.ahead_of(first, {A: (1, 5)}) is None
    assert set(deferred.resting(100.0)) == {second.path, third.path}
    deferred.leave(first)
    assert set(deferred.resting(100.0)) == {third.path}
    deferred.leave(second)
    assert deferred.resting(100.0) == {}
    assert len(deferred) == 1


def test_entries_of_other_times_need_not_be_read() -> None:
    """What an entry says of its times is enough to let it go."""
    deferred = Deferred()
    deferred.step_back(entry(1, 100, 200), {A: (100, 200)}, set(), 0.0)
    assert deferred.may_meet(entry(2, 200, 300))
    assert not deferred.may_meet(entry(2, 201, 300))
    assert not deferred.may_meet(entry(1, 100, 200))


def test_what_is_done_is_remembered_while_an_entry_has_a_place() -> None:
    """Not a moment longer: an entry that comes back is written as a whole."""
    deferred, refused = Deferred(), entry(1)
    deferred.step_back(refused, {A: (1, 5)}, {0, 2}, 0.0)
    assert deferred.done(refused) == {0, 2}
    deferred.leave(refused)
    assert deferred.done(refused) == set()


def test_what_is_remembered_is_bounded() -> None:
    """Past the bound no further entry gets a place; those that have one keep it."""
    deferred = Deferred(max_series=3)
    deferred.step_back(entry(1), {A: (1, 5), B: (1, 5)}, set(), 0.0)
    with pytest.raises(NoPlace):
        deferred.step_back(entry(2), {A: (1, 5)}, set(), 0.0)
    with pytest.raises(NoPlace):
        deferred.put_behind(entry(2), {A: (1, 5)}, entry(1).path)
    deferred.step_back(entry(1), {A: (1, 5), B: (1, 5)}, set(), 0.0)
    assert len(deferred) == 1
