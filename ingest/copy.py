"""Rows as columns of numbers, and their encoding for PostgreSQL's binary COPY.

The format is "Binary Format" in PostgreSQL's documentation of COPY: a signature, two zero words, then for each
row a 16-bit count of columns and for each column a 32-bit length and the value, all big-endian, then -1. A
timestamptz is a 64-bit count of microseconds since 2000-01-01 UTC.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from operator import attrgetter

import numpy as np
from numpy.typing import NDArray

from ingest.points import Rows

HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
TRAILER = b"\xff\xff"
POSTGRES_EPOCH_US = 946_684_800_000_000
"""2000-01-01T00:00:00Z in microseconds since the Unix epoch."""

ALL = slice(None)

Int64 = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Columns:
    """Rows of one shape with their series resolved; all arrays have one element (of `values`: one row) a point."""

    measurement: str
    fields: tuple[str, ...]
    """The fields' columns in the hypertable, sorted: whatever order a client writes them in, it is one shape."""
    ids: NDArray[np.int32]
    times: Int64
    """Microseconds since the Unix epoch."""
    values: NDArray[np.float64]
    """Shape (points, fields)."""
    places: Int64
    """Where each point stood in its request: of two points of one series and time, the later wins."""

    @classmethod
    def of(cls, rows: Rows, names: Mapping[str, str], some: slice = ALL) -> Columns:
        """The columns of some rows; `names` has the column of each field. An id is 0 where the series has none yet."""
        fields = [names[field] for field in rows.fields]
        order = sorted(range(len(fields)), key=fields.__getitem__)
        series = rows.series[some]
        return cls(
            rows.measurement,
            tuple(fields[n] for n in order),
            np.fromiter(map(attrgetter("id"), series), np.int32, len(series)),
            np.frombuffer(rows.times, np.int64)[some],
            np.frombuffer(rows.values, np.float64).reshape(len(rows), len(rows.fields))[some, order],
            np.frombuffer(rows.places, np.int64)[some],
        )

    def __len__(self) -> int:
        return len(self.times)

    @property
    def size_bytes(self) -> int:
        """What the arrays hold in memory."""
        return self.ids.nbytes + self.times.nbytes + self.values.nbytes + self.places.nbytes

    def take(self, indices: NDArray[np.intp]) -> Columns:
        """The points at `indices`, in that order."""
        return Columns(
            self.measurement,
            self.fields,
            self.ids[indices],
            self.times[indices],
            self.values[indices],
            self.places[indices],
        )


def gather(requests: Sequence[Sequence[Columns]]) -> list[Columns]:
    """Join what is of the same shape, in the order of the requests, a `Columns` for each shape.

    The shapes come sorted by measurement and fields: every writer locks tables in the same order.
    Places are renumbered, so that those of a later request come after those of an earlier one.
    """
    shapes: dict[tuple[str, tuple[str, ...]], list[Columns]] = {}
    offset = 0
    for pieces in requests:
        for piece in pieces:
            moved = replace(piece, places=piece.places + offset)
            shapes.setdefault((piece.measurement, piece.fields), []).append(moved)
        offset += 1 + max((int(piece.places.max(initial=0)) for piece in pieces), default=0)
    return [_joined(shapes[shape]) for shape in sorted(shapes)]


def _joined(pieces: list[Columns]) -> Columns:
    if len(pieces) == 1:
        return pieces[0]
    return Columns(
        pieces[0].measurement,
        pieces[0].fields,
        np.concatenate([piece.ids for piece in pieces]),
        np.concatenate([piece.times for piece in pieces]),
        np.concatenate([piece.values for piece in pieces]),
        np.concatenate([piece.places for piece in pieces]),
    )


def by_key(columns: Columns) -> Columns:
    """Sorted by series and time, the order of the index: writers that meet the same keys cannot deadlock."""
    return columns.take(np.lexsort((columns.times, columns.ids)))


def encode(columns: Columns) -> bytes:
    """The points as a whole binary COPY of (time, series_id, *fields)."""
    width = len(columns.fields)
    rows = np.empty(len(columns), _row(width))
    rows["count"] = width + 2
    rows["time_length"] = 8
    rows["time"] = columns.times - POSTGRES_EPOCH_US
    rows["id_length"] = 4
    rows["id"] = columns.ids
    rows["cells"]["length"] = 8
    rows["cells"]["value"] = columns.values
    return b"".join((HEADER, rows.tobytes(), TRAILER))


@lru_cache(maxsize=1024)
def _row(width: int) -> np.dtype[np.void]:
    cell = np.dtype([("length", ">i4"), ("value", ">f8")])
    return np.dtype(
        [
            ("count", ">i2"),
            ("time_length", ">i4"),
            ("time", ">i8"),
            ("id_length", ">i4"),
            ("id", ">i4"),
            ("cells", cell, (width,)),
        ]
    )
