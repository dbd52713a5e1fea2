from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from query.ranges import Range, buckets_around, overlap, whole, without

MINUTE = timedelta(minutes=1)
START = datetime(2026, 11, 22, tzinfo=UTC)


def at(minute: int) -> datetime:
    """Some minutes after START."""
    return START + minute * MINUTE


def ranges(*pairs: tuple[int, int]) -> list[Range]:
    """Ranges of minutes."""
    return [(at(start), at(end)) for start, end in pairs]


@st.composite
def some(draw: st.DrawFn) -> list[Range]:
    """Ranges of minutes that are sorted and apart."""
    edges = sorted(draw(st.sets(st.integers(0, 60), max_size=8)))
    return ranges(*zip(edges[::2], edges[1::2], strict=False))


def minutes(of: list[Range]) -> set[int]:
    """The minutes that lie in the ranges."""
    return {minute for minute in range(61) if any(start <= at(minute) < end for start, end in of)}


@given(some(), some())
def test_overlap_and_rest_are_those_of_sets(one: list[Range], other: list[Range]) -> None:
    """What is in both, and what is in the first alone; sorted, apart and never empty."""
    both, rest = overlap(one, other), without(one, other)
    assert minutes(both) == minutes(one) & minutes(other)
    assert minutes(rest) == minutes(one) - minutes(other)
    for found in (both, rest):
        edges = [edge for pair in found for edge in pair]
        assert edges == sorted(edges)
        assert all(start < end for start, end in found)


@given(some(), st.lists(some(), max_size=3))
def test_what_is_taken_may_overlap(one: list[Range], others: list[list[Range]]) -> None:
    """What is taken out is so by whichever of several ranges, in whatever order they stand."""
    taken = [pair for other in others for pair in reversed(other)]
    assert minutes(without(one, taken)) == minutes(one) - minutes(taken)


def test_many_are_taken_out_of_many() -> None:
    """Each is looked at once, so that a hundred thousand can be taken out of one, and of as many."""
    count = 100_000
    gaps = ranges(*((10 * number + 3, 10 * number + 5) for number in range(count)))
    assert without([(at(0), at(10 * count))], gaps)[1:-1] == ranges(
        *((10 * number + 5, 10 * number + 13) for number in range(count - 1))
    )
    assert without(gaps, gaps) == []


def test_whole_buckets() -> None:
    """A range is shrunk to the buckets that lie in it, and is gone when none does."""
    assert whole(ranges((3, 31), (40, 50), (51, 69), (55, 65)), 10 * MINUTE) == ranges((10, 30), (40, 50))


def test_buckets_follow_the_clock() -> None:
    """As those of TimescaleDB they begin at whole hours of UTC, before and after the year 2000."""
    for year in (1971, 1999, 2000, 2026):
        moment = datetime(year, 5, 4, 3, 2, 1, 5, UTC)
        assert whole([(moment, moment + 150 * MINUTE)], 60 * MINUTE) == [
            (datetime(year, 5, 4, 4, tzinfo=UTC), datetime(year, 5, 4, 5, tzinfo=UTC))
        ]


def test_buckets_around_moments() -> None:
    """A moment within a bucket has it around; one at which a bucket begins has none."""
    assert buckets_around([at(10), at(13), at(17), at(35)], 10 * MINUTE) == ranges((10, 20), (30, 40))
