from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from query.composition import LEAST_BUCKETS, MOST_STRETCHES, Rollup, Stretch, can_help, compose, size_of
from query.ranges import Range
from query.steps import FixedWindows, Windows, parse_step, parse_zone, windows

START = datetime(2026, 11, 22, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
EVER: tuple[Range, ...] = ((START - 10_000 * HOUR, START + 10_000 * HOUR),)


def at(minutes: float) -> datetime:
    """Some minutes after START."""
    return START + minutes * MINUTE


def rollup(minutes: int, *valid: tuple[float, float]) -> Rollup:
    """A rollup of this width, valid in these minutes; ever unless any are given."""
    times = tuple((at(start), at(end)) for start, end in valid) or EVER
    return Rollup("m", size_of(minutes * MINUTE), f"m1_{minutes}", minutes * MINUTE, frozenset({1}), times)


def made(step: str | None, zone: str | None = None) -> Windows | None:
    """The windows of a step."""
    return None if step is None else windows(parse_step(step), parse_zone(zone) if zone else None)


def composed(
    start: float,
    end: float,
    *rollups: Rollup,
    step: str | None = None,
    zone: str | None = None,
    cut: float | None = None,
) -> list[tuple[str, float, float]]:
    """The stretches, as their source and their minutes."""
    found = compose(at(start), at(end), made(step, zone), rollups, None if cut is None else at(cut))
    return [
        (one.rollup.size if one.rollup else "raw", (one.start - START) / MINUTE, (one.end - START) / MINUTE)
        for one in found
    ]


def test_a_width_is_written_as_people_do() -> None:
    """Hours where it has whole ones."""
    assert [size_of(minutes * MINUTE) for minutes in (10, 60, 90, 120)] == ["10m", "1h", "90m", "2h"]


def test_the_coarsest_source_comes_first() -> None:
    """An hour in the middle, ten minutes at its edges, points at theirs."""
    assert composed(25, 485, rollup(10), rollup(60)) == [
        ("1h", 60, 480),
        ("10m", 30, 60),
        ("raw", 25, 30),
        ("raw", 480, 485),
    ]


def test_few_buckets_are_not_worth_a_scan() -> None:
    """A stretch of a rollup has at least LEAST_BUCKETS of them."""
    enough = LEAST_BUCKETS * 10
    assert composed(0, enough - 1, rollup(10)) == [("raw", 0, enough - 1)]
    assert composed(0, enough, rollup(10)) == [("10m", 0, enough)]
    assert can_help(at(0), at(enough), None)
    assert not can_help(at(0), at(enough - 1), None)
    assert not can_help(at(1), at(enough + 1), None)


def test_the_longest_stretches_are_taken() -> None:
    """However scattered what is valid is, a rollup is scanned MOST_STRETCHES times at most."""
    scattered = [(number * 100, number * 100 + 30 + 10 * (number % 3)) for number in range(60)]
    found = composed(0, 6000, rollup(10, *scattered))
    taken = [one for one in found if one[0] == "10m"]
    assert len(taken) == MOST_STRETCHES
    assert {end - start for _, start, end in taken} == {50}


def test_windows_decide_which_buckets_fit() -> None:
    """No bucket is in two windows: steps are whole multiples of it, or the buckets at their edges are left out."""
    assert composed(0, 600, rollup(10), rollup(60), step="90m") == [("10m", 0, 600)]
    assert composed(0, 600, rollup(10), rollup(60), step="15m") == [("raw", 0, 600)]
    assert not can_help(at(0), at(600), FixedWindows(15 * MINUTE))
    # In India a day begins at half past six in the evening of UTC.
    assert composed(0, 24 * 60, rollup(60), step="1d", zone="Asia/Kolkata") == [
        ("1h", 0, 1080),
        ("1h", 1140, 1440),
        ("raw", 1080, 1140),
    ]
    assert can_help(at(0), at(24 * 60), made("1d", "Asia/Kathmandu"))


def test_days_of_a_zone_for_centuries() -> None:
    """As many windows as an answer may have, each with a bucket that does not fit, are gone through once."""
    end = 200_000 * 24 * 60
    found = composed(0, end, rollup(10, (0, end)), step="1d", zone="Asia/Kathmandu")
    assert [one[0] for one in found].count("10m") == MOST_STRETCHES
    assert sum(end - start for _, start, end in found) == end
    assert can_help(at(0), at(end), made("1d", "Asia/Kathmandu"))


def test_before_the_cut_there_are_rollups_alone() -> None:
    """Also short stretches of them; what none has is left out."""
    assert composed(5, 200, rollup(10, (0, 30), (60, 1000)), cut=107) == [
        ("10m", 10, 30),
        ("10m", 60, 200),
    ]
    assert composed(5, 55, rollup(60), cut=107) == []
    assert composed(95, 115, rollup(10, (0, 100)), cut=107) == [("raw", 107, 115)]
    assert composed(0, 100, cut=200) == []


PIECES = st.lists(st.tuples(st.integers(0, 100), st.integers(1, 40)), max_size=5)


def valid(pieces: list[tuple[int, int]], width: int) -> list[tuple[float, float]]:
    """Ranges of whole buckets, sorted and apart."""
    found: list[tuple[float, float]] = []
    for start, length in sorted(pieces):
        if not found or start * width > found[-1][1]:
            found.append((start * width, (start + length) * width))
    return found


@given(
    st.floats(0, 3000),
    st.floats(1, 3000),
    PIECES,
    PIECES,
    st.sampled_from([None, "10m", "25m", "1h", "3h", "1d", "1mo"]),
    st.sampled_from([None, "Europe/Berlin", "Asia/Kathmandu"]),
)
def test_stretches_cover_the_range_once(
    start: float,
    length: float,
    fine: list[tuple[int, int]],
    coarse: list[tuple[int, int]],
    step: str | None,
    zone: str | None,
) -> None:
    """Each moment is read from one source; a rollup is valid there, and each of its buckets is in one window."""
    begin, end = at(start), at(start + length)
    made_windows = made(step, zone)
    rollups = [rollup(10, *valid(fine, 10)), rollup(60, *valid(coarse, 60))]
    stretches = sorted(compose(begin, end, made_windows, rollups, None), key=lambda one: one.start)
    assert stretches[0].start == begin
    assert stretches[-1].end == end
    assert all(one.end == following.start for one, following in pairwise(stretches))
    starts = [] if made_windows is None else list(made_windows.starts(begin, end))
    for one in stretches:
        if one.rollup is not None:
            fits(one, one.rollup, starts)


def fits(stretch: Stretch, source: Rollup, starts: list[datetime]) -> None:
    """Fail unless a stretch of a rollup may be read."""
    assert any(low <= stretch.start and stretch.end <= high for low, high in source.valid)
    assert (stretch.start - START) % source.width == (stretch.end - START) % source.width == timedelta(0)
    inside = [start for start in starts if stretch.start < start < stretch.end]
    assert all((start - START) % source.width == timedelta(0) for start in inside)
