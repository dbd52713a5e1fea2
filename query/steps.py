"""Windows of time: what a step means, and where its windows begin. Pure.

Steps of seconds to weeks are lengths, and their windows begin at whole multiples of the length since a Monday, as
TimescaleDB's `time_bucket` has them. Months and years, and days and weeks of a time zone, follow its calendar: a
window begins when its first day does, however long days may be. Such windows are computed here, and given to
the database as a list: so they are the same in the statement and in what fills gaps, whichever edition of the time
zones either has.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from query.times import EARLIEST, LATEST, UNITS, shortened

ORIGIN = datetime(2000, 1, 3, tzinfo=UTC)
"""The Monday from which `time_bucket` counts windows without months; those of months are counted from January 2000."""

DAYS = {"d": 1, "w": 7}
MONTHS = {"mo": 1, "y": 12}

STEP = re.compile(r"([0-9]{1,11})(s|mo|m|h|d|w|y)")
ALLOWED_STEPS = "a whole number above 0 and a unit of s, m, h, d, w, mo (months), y: 10s, 5m, 1h, 1d, 1mo"
ALLOWED_ZONES = "a name of the IANA time zone database: UTC, Europe/Berlin, America/New_York"


@dataclass(frozen=True, slots=True)
class Step:
    """The size of a window: as written, and in whichever unit its windows are counted."""

    text: str
    length: timedelta | None
    """None for months and years, which have no one length."""
    days: int = 0
    """0 for what is shorter than a day, and for months."""
    months: int = 0


@dataclass(frozen=True, slots=True)
class FixedWindows:
    """Windows of one length."""

    length: timedelta

    def starts(self, start: datetime, end: datetime) -> Iterator[datetime]:
        """Where the windows begin that have moments of [start, end): the first may begin before `start`."""
        moment = ORIGIN + (start - ORIGIN) // self.length * self.length
        while moment < end:
            yield moment
            moment += self.length

    def count(self, start: datetime, end: datetime) -> int:
        """How many windows have moments of [start, end)."""
        return -((ORIGIN - end) // self.length) - (start - ORIGIN) // self.length


@dataclass(frozen=True, slots=True)
class CalendarWindows:
    """Windows of whole days, or of whole months, of a time zone's calendar."""

    days: int
    months: int
    """One of the two is above 0."""
    zone: ZoneInfo

    def starts(self, start: datetime, end: datetime) -> Iterator[datetime]:
        """Where the windows begin that have moments of [start, end): the first may begin before `start`."""
        begins = (midnight.astimezone(UTC) for midnight in self._midnights(self._number(start)))
        moment = next(begins)
        while moment < end:
            following = next(begins)
            # A zone that moved over the date line has a day that no moment belongs to. And clocks that go back over
            # midnight return to the day before, whose window has ended: a range may begin there.
            if following > moment and following > start:
                yield moment
            moment = following

    def count(self, start: datetime, end: datetime) -> int:
        """How many windows have moments of [start, end), give or take one that the calendar skips."""
        return self._number(end - timedelta.resolution) - self._number(start) + 1

    def _number(self, moment: datetime) -> int:
        local = moment.astimezone(self.zone)
        if self.months:
            return ((local.year - 2000) * 12 + local.month - 1) // self.months
        return (local.date() - ORIGIN.date()).days // self.days

    def _midnights(self, number: int) -> Iterator[datetime]:
        """Where the window of this number begins, and those after it, by the zone's clock.

        Where midnight comes twice the first is meant; where it is skipped, the moment that comes in its place.
        """
        if self.months:
            while True:
                years, month = divmod(number * self.months, 12)
                yield datetime(2000 + years, month + 1, 1, tzinfo=self.zone)
                number += 1
        # Added to a moment of a zone, a length moves its clock. There may be hundreds of thousands of windows.
        length = timedelta(days=self.days)
        midnight = ORIGIN.replace(tzinfo=self.zone) + number * length
        while True:
            yield midnight
            midnight += length


Windows = FixedWindows | CalendarWindows


def parse_step(value: object) -> Step:
    """A window's size. Raises `ValueError` unless it is one of ALLOWED_STEPS."""
    match = STEP.fullmatch(value) if isinstance(value, str) else None
    if match is None or int(match[1]) == 0:
        raise ValueError(f"{shortened(str(value))!r} is not a step; allowed: {ALLOWED_STEPS}")
    number, unit = int(match[1]), match[2]
    shortest = timedelta(days=28) * MONTHS[unit] if unit in MONTHS else UNITS[unit]
    if number > (LATEST - EARLIEST) // shortest:
        raise ValueError(f"{match[0]!r} is longer than all the time there is, {EARLIEST.year} to {LATEST.year}")
    if unit in MONTHS:
        return Step(match[0], None, months=number * MONTHS[unit])
    return Step(match[0], number * UNITS[unit], days=number * DAYS.get(unit, 0))


def parse_zone(value: object) -> ZoneInfo:
    """A time zone. Raises `ValueError` unless it is one of ALLOWED_ZONES that this machine knows."""
    try:
        return ZoneInfo(str(value))
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"{shortened(str(value))!r} is not a time zone; allowed: {ALLOWED_ZONES}") from None


def windows(step: Step, zone: ZoneInfo | None) -> Windows:
    """The windows of a step: the calendar's where the zone makes a difference, or the step has no one length."""
    if step.length is None or (zone is not None and step.days):
        return CalendarWindows(step.days, step.months, zone or ZoneInfo("UTC"))
    return FixedWindows(step.length)
