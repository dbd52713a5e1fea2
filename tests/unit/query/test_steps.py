from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from query.steps import CalendarWindows, FixedWindows, Step, Windows, parse_step, parse_zone, windows
from query.times import EARLIEST, LATEST, UNITS

HOUR = timedelta(hours=1)
ZONES = ("UTC", "Europe/Berlin", "America/New_York", "America/Havana", "America/Sao_Paulo", "Asia/Kathmandu",
         "Asia/Amman", "Australia/Lord_Howe", "America/St_Johns", "Pacific/Apia")  # fmt: skip
"""Some have clocks that change at midnight or go back over it, by half an hour, or by a day."""


def made(step: str, zone: str | None = None) -> Windows:
    """The windows of a step as a request writes it."""
    return windows(parse_step(step), None if zone is None else parse_zone(zone))


def at(*moment: int) -> datetime:
    """A moment in UTC."""
    return datetime(*moment, tzinfo=UTC)  # type: ignore[misc,arg-type]


@given(st.integers(1, 10_000), st.sampled_from(sorted(UNITS)))
def test_a_step_is_a_number_of_units(number: int, unit: str) -> None:
    """A step keeps its text and has the length that it says."""
    step = parse_step(f"{number}{unit}")
    assert step.text == f"{number}{unit}"
    assert step.length == number * UNITS[unit]


@pytest.mark.parametrize(("text", "months"), [("1mo", 1), ("5mo", 5), ("1y", 12), ("2y", 24)])
def test_months_have_no_length(text: str, months: int) -> None:
    """Months and years are counted in months."""
    assert parse_step(text) == Step(text, None, months=months)


@pytest.mark.parametrize(
    "value", ["", "0s", "00m", "-5m", "5", "m", "1h30m", "5 m", "1M", "5M", "1.5h", "1moo", "0y", 60, True, None]
)
def test_what_is_no_step_is_refused(value: object) -> None:
    """A step is a whole number above 0 and a unit."""
    with pytest.raises(ValueError, match="is not a step; allowed: a whole number"):
        parse_step(value)


@pytest.mark.parametrize("value", ["99999999999w", "99999999999y", "8000mo", "700y"])
def test_a_step_has_a_bound(value: str) -> None:
    """A step longer than all the time there is would leave the range of the database's intervals."""
    with pytest.raises(ValueError, match="longer than all the time"):
        parse_step(value)


@pytest.mark.parametrize(
    "value", ["", "Berlin", "Europe", "europe/nowhere", "../x", "/etc/localtime", "x\0", "a" * 999, 1]
)
def test_what_is_no_zone_is_refused(value: object) -> None:
    """A zone is one of the names that this machine knows, and never a path."""
    with pytest.raises(ValueError, match="is not a time zone; allowed: a name of the IANA time zone database"):
        parse_zone(value)


def test_windows_of_one_length_begin_at_its_multiples() -> None:
    """Weeks begin on Monday, days at midnight; the first window may begin before the range."""
    assert made("1h") == made("1h", "Asia/Kathmandu") == FixedWindows(HOUR)
    assert list(made("1w").starts(at(2026, 11, 25), at(2026, 12, 1))) == [at(2026, 11, 23), at(2026, 11, 30)]
    assert list(made("1d").starts(at(2026, 11, 25, 1), at(2026, 11, 26))) == [at(2026, 11, 25)]


def test_days_follow_the_zones_clock() -> None:
    """The day on which summer time begins has 23 hours in Berlin, and that on which it ends has 25."""
    days = list(made("1d", "Europe/Berlin").starts(at(2026, 3, 28, 12), at(2026, 3, 30, 12)))
    assert days == [at(2026, 3, 27, 23), at(2026, 3, 28, 23), at(2026, 3, 29, 22)]
    days = list(made("1d", "Europe/Berlin").starts(at(2026, 10, 24, 22), at(2026, 10, 26)))
    assert days == [at(2026, 10, 24, 22), at(2026, 10, 25, 23)]


def test_months_and_years_have_their_days() -> None:
    """February has a leap day where there is one; several months are counted from January 2000."""
    months = list(made("1mo").starts(at(2024, 2, 29, 23), at(2024, 4, 1)))
    assert months == [at(2024, 2, 1), at(2024, 3, 1)]
    assert list(made("5mo").starts(at(1999, 12, 31), at(2000, 7, 1))) == [
        at(1999, 8, 1),
        at(2000, 1, 1),
        at(2000, 6, 1),
    ]
    assert list(made("1y", "America/New_York").starts(at(2026, 1, 1), at(2026, 1, 2))) == [
        at(2025, 1, 1, 5),
        at(2026, 1, 1, 5),
    ]


@pytest.mark.parametrize(
    ("zone", "day", "begins"),
    [
        ("America/Havana", date(2026, 11, 1), at(2026, 11, 1, 4)),  # midnight comes twice
        ("America/Sao_Paulo", date(2018, 11, 4), at(2018, 11, 4, 3)),  # midnight is skipped
        ("Asia/Amman", date(2021, 10, 29), at(2021, 10, 28, 21)),  # at one o'clock it is midnight again
    ],
)
def test_a_day_begins_with_its_first_moment(zone: str, day: date, begins: datetime) -> None:
    """Where clocks change at midnight, no point of a day lies before its window."""
    assert begins in list(made("1d", zone).starts(begins - HOUR, begins + HOUR))
    assert begins.astimezone(ZoneInfo(zone)).date() == day
    assert (begins - timedelta.resolution).astimezone(ZoneInfo(zone)).date() < day


def test_a_day_that_a_zone_skipped_is_no_window() -> None:
    """Samoa had no 30 December 2011."""
    starts = list(made("1d", "Pacific/Apia").starts(at(2011, 12, 29, 12), at(2011, 12, 31)))
    assert starts == [at(2011, 12, 29, 10), at(2011, 12, 30, 10)]


def test_days_of_all_the_time_there_is() -> None:
    """Each day of six centuries has its window, which begins as its date does, through all that a zone's clocks did."""
    days = list(made("1d", "Europe/Berlin").starts(EARLIEST, LATEST))
    zone = ZoneInfo("Europe/Berlin")
    dates = [day.astimezone(zone).date() for day in days]
    assert dates == [dates[0] + timedelta(days=number) for number in range((LATEST - EARLIEST).days + 1)]
    assert [(day - timedelta.resolution).astimezone(zone).date() for day in days[1:]] == dates[:-1]


def test_a_range_may_begin_where_clocks_have_gone_back_over_midnight() -> None:
    """At a minute past midnight it was 23:01 of the day before once more, whose window had ended: it is no window."""
    days = made("1d", "America/St_Johns")
    ends = at(2010, 11, 7, 2, 30)
    assert list(days.starts(at(2010, 11, 7, 2, 29), at(2010, 11, 7, 3))) == [at(2010, 11, 6, 2, 30), ends]
    for start in (ends, at(2010, 11, 7, 2, 31), at(2010, 11, 7, 3), at(2010, 11, 7, 3, 29), at(2010, 11, 7, 4)):
        assert list(days.starts(start, at(2010, 11, 8, 4))) == [ends, at(2010, 11, 8, 3, 30)]


MOMENTS = st.datetimes(datetime(1990, 1, 1), datetime(2040, 1, 1), timezones=st.just(UTC))


@given(
    MOMENTS,
    st.integers(1, 800 * 86_400).map(lambda seconds: timedelta(seconds=seconds)),
    st.sampled_from(["13h", "1d", "3d", "1w", "1mo", "7mo", "1y"]),
    st.sampled_from([None, *ZONES]),
)
def test_windows_cover_the_range(start: datetime, length: timedelta, step: str, zone: str | None) -> None:
    """They follow each other, the first holds the start, the last the end; and they are as many as are counted."""
    made_windows, end = made(step, zone), start + length
    starts = list(made_windows.starts(start, end))
    assert starts[0] <= start
    assert starts == sorted(set(starts))
    assert starts[-1] < end
    assert len(starts) == 1 or starts[1] > start
    assert len(starts) <= made_windows.count(start, end) <= len(starts) + (zone == "Pacific/Apia")
    for one in starts[1:]:
        assert next(iter(made_windows.starts(one, end + HOUR))) == one
        if isinstance(made_windows, CalendarWindows):
            local = [moment.astimezone(made_windows.zone).date() for moment in (one - timedelta.resolution, one)]
            assert local[0] < local[1]
