"""What is kept of an answer: rows, and what tells whether they still hold. Pure.

Rows are kept as JSON, which has every number exactly as it is, and is read fast. It takes little room, so that an entry
is kept in this form in memory as well as elsewhere. Elsewhere it is sealed with its key: what is damaged there, or was
put under another key, is no entry.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson

from query.reach import Reach
from query.tables import OPTIONS, Row, tags_of

UNIX_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
SEAL_BYTES = 8


class UnkeepableError(Exception):
    """Rows have what JSON cannot hold: a number that is infinite, or none."""


@dataclass(frozen=True, slots=True)
class Stamp:
    """What was known before rows were computed."""

    epoch: str
    """Of the catalog."""
    xmin: int
    """Transactions below it are in the rows; whether one from it on is, is not known."""
    at: datetime
    """On the server's clock."""


@dataclass(frozen=True, slots=True)
class Entry:
    """Rows with their stamp."""

    stamp: Stamp
    rows: bytes
    reach: Reach | None = None
    """Of a window whose rows depend on points before it; None for others."""

    def to_bytes(self, key: bytes) -> bytes:
        """All of it, sealed with the key that it is kept under."""
        stamp, reach = self.stamp, self.reach
        head: list[Any] = [stamp.epoch, stamp.xmin, microseconds(stamp.at)]
        if reach is not None:
            oldest = None if reach.oldest is None else microseconds(reach.oldest)
            head.append([microseconds(reach.since), oldest, reach.is_complete])
        told = orjson.dumps(head) + b"\n" + self.rows
        return seal(key, told) + told

    @classmethod
    def from_bytes(cls, key: bytes, data: bytes) -> Entry:
        """What `to_bytes` made with the same key. Raises `ValueError` for anything else."""
        told = data[SEAL_BYTES:]
        if data[:SEAL_BYTES] != seal(key, told):
            raise ValueError("not an entry of this key")
        head, _, rows = told.partition(b"\n")
        try:
            epoch, xmin, at, *reaches = orjson.loads(head)
            stamp = Stamp(str(epoch), int(xmin), _moment(at))
            return cls(stamp, rows, *(_reach(*one) for one in reaches))
        except (ValueError, TypeError, OverflowError):
            raise ValueError("not an entry") from None


@dataclass(frozen=True, slots=True)
class Form:
    """How rows are packed."""

    tags: int
    """How many stand at their beginning."""
    has_start: bool
    """Whether a window's start comes next."""
    is_window: bool
    """Whether all are of one window, whose start need not be kept with each."""

    def pack(self, rows: Iterable[Row]) -> bytes:
        """Rows in little room. Raises `UnkeepableError`."""
        place = self.tags
        return packed([row[:place] + row[place + 1 :] for row in rows] if self.is_window else list(rows))

    def unpack(self, data: bytes, start: datetime | None) -> list[Row]:
        """The rows that were packed, `start` being that of their window. Raises `ValueError` for what are none."""
        place, rows = self.tags, orjson.loads(data)
        for row in rows:
            if self.is_window:
                row.insert(place, start)
            elif self.has_start:
                row[place] = datetime.fromisoformat(row[place])
        return list(map(tuple, rows))


def in_order(slots: Iterable[Sequence[Row]], tags: int) -> list[Row]:
    """The rows of slots that follow each other in time, sorted by as many tags and by time, as statements sort them.

    PostgreSQL's collation "C" compares the bytes of UTF-8, whose order is that of Python's characters.
    """
    if not tags:
        return [row for rows in slots for row in rows]
    by_tags: dict[Any, list[Row]] = {}
    filled = [rows for rows in slots if rows]
    of_each = [list(map(tags_of(tags), rows)) for rows in filled]
    if of_each and all(one == of_each[0] for one in of_each):  # as is usual: they are sorted already
        return [row for series in zip(*filled, strict=True) for row in series]
    for known, rows in zip(of_each, filled, strict=True):
        for one, row in zip(known, rows, strict=True):
            by_tags.setdefault(one, []).append(row)
    return [row for one in sorted(by_tags) for row in by_tags[one]]


def seal(key: bytes, told: bytes) -> bytes:
    """What tells that bytes were put under this key, and are as they were."""
    return hashlib.blake2b(told, key=key, digest_size=SEAL_BYTES).digest()


def packed(rows: Sequence[Row]) -> bytes:
    """Rows as JSON, whatever they are of. Raises `UnkeepableError`."""
    told = orjson.dumps(rows, option=OPTIONS)
    # A number that is none is written so, too.
    if b"null" in told and any(isinstance(one, float) and not math.isfinite(one) for row in rows for one in row):
        raise UnkeepableError
    return told


def _reach(since: int, oldest: int | None, is_complete: bool) -> Reach:
    return Reach(_moment(since), None if oldest is None else _moment(oldest), bool(is_complete))


def _moment(at: int) -> datetime:
    return UNIX_EPOCH + int(at) * MICROSECOND


def microseconds(moment: datetime) -> int:
    """Since the Unix epoch."""
    return (moment - UNIX_EPOCH) // MICROSECOND
