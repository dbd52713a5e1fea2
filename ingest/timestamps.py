"""Times as clients write them, in microseconds since the Unix epoch."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from ingest.names import Rejected
from service.errors import BadRequest

PRECISIONS_NS = {
    "ns": 1,
    "n": 1,
    "us": 1_000,
    "u": 1_000,
    "µ": 1_000,
    "µs": 1_000,
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "m": 60_000_000_000,
    "h": 3_600_000_000_000,
}
"""Nanoseconds in a unit: the names of InfluxDB's versions 1 (n, u, µ, ms, s, m, h) and 2 (ns, us, ms, s)."""

FIRST_US = -62_135_596_800_000_000
LAST_US = 253_402_300_799_999_999
"""The first and the last moment that RFC 3339 can write: the years 1 to 9999. PostgreSQL knows them all."""

RFC3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:[Zz]|[+-]\d\d:\d\d)", re.ASCII)


def precision_ns(name: str | None, default: str) -> int:
    """The unit that a request's `precision` names, in nanoseconds. Raises `BadRequest` for another name."""
    unit = PRECISIONS_NS.get(name if name else default)
    if unit is None:
        raise BadRequest(
            f"precision={str(name)[:20]!r} is unknown, allowed are {', '.join(PRECISIONS_NS)}", parameter="precision"
        )
    return unit


@dataclass(frozen=True, slots=True)
class Window:
    """The times that are taken. Others are mistakes, mostly of unit, and would each cost a chunk of their own."""

    earliest: int
    latest: int
    now: int
    """What a point without a time gets."""

    @classmethod
    def around(cls, now_us: int, max_age_seconds: int, max_ahead_seconds: int) -> Window:
        """The window of a request received at `now_us`, microseconds since the Unix epoch."""
        earliest = max(FIRST_US, now_us - max_age_seconds * 1_000_000)
        latest = min(LAST_US, now_us + max_ahead_seconds * 1_000_000)
        return cls(earliest, latest, now_us)

    def default(self, precision_ns: int) -> int:
        """The time of a point that has none: now, as coarse as the request's precision, as InfluxDB has it."""
        return self.now - self.now % max(1, precision_ns // 1000)

    def check(self, time: int) -> int:
        """Return `time`, or raise `Rejected` when it is outside."""
        if self.earliest <= time <= self.latest:
            return time
        if time < self.earliest:
            side, bound, setting = "before", self.earliest, "INGEST_MAX_AGE_SECONDS"
        else:
            side, bound, setting = "after", self.latest, "INGEST_MAX_AHEAD_SECONDS"
        raise Rejected(
            "time",
            f"time {_readable(time)} is {side} {_readable(bound)}, the bound of {setting}; "
            "is the unit right? (?precision=s, ms, us or ns)",
        )


def parse_rfc3339(text: str) -> int:
    """Microseconds since the Unix epoch; finer digits are cut off. Raises `Rejected` for another format.

    The format is RFC 3339's `date-time`: an offset is required, since a time without one is a guess.
    """
    if not RFC3339.fullmatch(text):
        raise Rejected("time", f"time {text[:40]!r} is not RFC 3339, such as 2026-11-22T08:00:00Z")
    try:
        moment = datetime.fromisoformat(text.upper())
    except ValueError as error:
        raise Rejected("time", f"time {text!r}: {error}") from None
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def _readable(time: int) -> str:
    try:
        return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=time)).strftime("%Y-%m-%dT%H:%M:%SZ")
    except OverflowError:
        return f"{time} µs since 1970"
