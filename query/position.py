"""A position in the database's log, as ingest gives it for what it has committed. Pure.

Written `timeline-lsn`, hexadecimal as PostgreSQL writes both: `1-0/16B3748`. Positions of one timeline are in the order
in which things were committed; a server that is promoted begins another timeline, and those cannot be compared.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

HEADER = "Tidemark-Position"
ALLOWED_POSITIONS = f"what ingest answers as {HEADER}, as in 1-0/16B3748"

WRITTEN = re.compile(r"([0-9A-Fa-f]{1,8})-([0-9A-Fa-f]{1,8})/([0-9A-Fa-f]{1,8})")

PAGE_BYTES = 8192
PAGE_HEADERS = (24, 40)
"""Bytes at the start of a page of the log, and of the first one of a file."""


@dataclass(frozen=True, slots=True, order=True)
class Position:
    """A place in the log; ordered by timeline, then by place."""

    timeline: int
    lsn: int

    def __str__(self) -> str:
        return f"{self.timeline:X}-{self.lsn >> 32:X}/{self.lsn & 0xFFFF_FFFF:X}"


def parse_position(value: object) -> Position:
    """The position that `value` means. Raises `ValueError` for what is none."""
    match = WRITTEN.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None:
        raise ValueError(f"{str(value)[:80]!r} is not a position; allowed: {ALLOWED_POSITIONS}")
    timeline, high, low = (int(part, 16) for part in match.groups())
    return Position(timeline, high << 32 | low)


def end_of_record(lsn: int) -> int:
    """Where the last record before `lsn` ends.

    The place where a primary will write next lies past the header of a page that nothing else is on yet; a replica
    that has replayed everything stands before it.
    """
    within = lsn % PAGE_BYTES
    return lsn - within if within in PAGE_HEADERS else lsn
