"""Moments as requests write them. Pure: the present is handed in."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

EARLIEST = datetime(1678, 1, 1, tzinfo=UTC)
LATEST = datetime(2262, 1, 1, tzinfo=UTC)
"""The years that nanoseconds since 1970 reach in 64 bits: every protocol that brings points stays inside."""
BEYOND_SECONDS = Decimal(10**11)
"""Seconds since 1970 that are past LATEST, and that a timedelta can still hold."""

UNITS = {
    "s": timedelta(seconds=1),
    "m": timedelta(minutes=1),
    "h": timedelta(hours=1),
    "d": timedelta(days=1),
    "w": timedelta(weeks=1),
}

DURATION = re.compile(r"([0-9]{1,11})([smhdw])")
RELATIVE = re.compile(r"(?:now)?-([0-9]{1,11})([smhdw])")
UNIX_SECONDS = re.compile(r"[0-9]{1,19}(?:\.[0-9]{1,9})?")
RFC3339 = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,9})?"
    r"(?:[Zz]|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9])"
)
TIMES = re.compile(f"now|{RELATIVE.pattern}|{UNIX_SECONDS.pattern}|{RFC3339.pattern}")
UNESCAPED_PLUS = re.compile(r"[0-9]{4}-.*[0-9] [0-9]{2}:[0-9]{2}")

ALLOWED_TIMES = (
    "RFC 3339 (2026-11-22T08:00:00Z), Unix seconds (1795334400), or relative (now, -1h, now-15m; units s, m, h, d, w)"
)
ALLOWED_DURATIONS = "a whole number above 0 and a unit of s, m, h, d, w: 30s, 5m, 1d"


def parse_time(value: object, now: datetime) -> datetime:
    """The moment that `value` (text, or a number of seconds since 1970) means, in UTC, to the microsecond.

    Raises `ValueError` for anything else and for a moment outside EARLIEST..LATEST.
    """
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError(f"{shortened(repr(value))} is not a time; allowed: {ALLOWED_TIMES}")
    text = str(value)
    if text == "now":
        return now
    if match := RELATIVE.fullmatch(text):
        return _within(text, now, -_length(match))
    if UNIX_SECONDS.fullmatch(text):
        seconds = min(Decimal(text), BEYOND_SECONDS)
        return _within(text, EPOCH, timedelta(microseconds=int(seconds * 1_000_000)))
    if RFC3339.fullmatch(text):
        return _from_rfc3339(text)
    hint = " (in a URL a + is written %2B)" if UNESCAPED_PLUS.fullmatch(text) else ""
    raise ValueError(f"{shortened(text)!r} is not a time{hint}; allowed: {ALLOWED_TIMES}")


def parse_duration(value: object) -> timedelta:
    """A length of time. Raises `ValueError` unless it is one of ALLOWED_DURATIONS."""
    match = DURATION.fullmatch(value) if isinstance(value, str) else None
    if match is None or int(match[1]) == 0:
        raise ValueError(f"{shortened(str(value))!r} is not a duration; allowed: {ALLOWED_DURATIONS}")
    return _length(match)


def written(moment: datetime) -> str:
    """A moment in UTC as answers write it: RFC 3339 with a Z."""
    return moment.isoformat().replace("+00:00", "Z")


def shortened(text: str) -> str:
    """`text` as an error repeats it: no longer than a line."""
    return text if len(text) <= 80 else f"{text[:80]}..."


def _length(match: re.Match[str]) -> timedelta:
    unit = UNITS[match[2]]
    if int(match[1]) > (LATEST - EARLIEST) // unit:
        raise ValueError(f"{match[0]!r} is longer than all the time there is, {EARLIEST.year} to {LATEST.year}")
    return int(match[1]) * unit


def _from_rfc3339(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text.upper())
    except ValueError as error:
        raise ValueError(f"{text!r} is not a time: {error}") from None
    return _within(text, moment, timedelta(0))


def _within(text: str, origin: datetime, offset: timedelta) -> datetime:
    if not EARLIEST - origin <= offset <= LATEST - origin:
        raise ValueError(f"{text!r} is outside the years {EARLIEST.year} to {LATEST.year}; Unix times are in seconds")
    return (origin + offset).astimezone(UTC)
