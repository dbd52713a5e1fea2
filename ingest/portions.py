"""A request's points in portions, for what is too much for one merge.

To merge with a point of a compressed chunk TimescaleDB decompresses the batch that holds it, up to 1,000 rows, and it
decompresses no more than 100,000 rows for one statement unless its setting
timescaledb.max_tuples_decompressed_per_dml_transaction says otherwise. How the points lie in batches is not known here:
portions begin with what fits however they lie, and grow.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ingest.copy import Columns

FIRST_POINTS = 100
"""Each in a full batch of its own, they decompress 100,000 rows."""

MOST_POINTS = 50_000
"""A larger one would hold the event loop for too long while it is encoded."""

STEADY_PORTIONS = 8
"""How many must fit, after one that did not, before a larger one is tried: what does not fit was work for nothing."""


class Portions:
    """The points of `shapes`, which are unique and each sorted by key, a portion at a time."""

    def __init__(self, shapes: Sequence[Columns]) -> None:
        self._shapes = shapes
        self._points = sum(map(len, shapes))
        self.committed = 0
        """How many points are committed."""
        self._size = FIRST_POINTS
        self._steady = 0

    @property
    def is_over(self) -> bool:
        """Whether all points are committed."""
        return self.committed == self._points

    def next(self) -> list[Columns]:
        """The first points that are not committed, as many as a portion has now, in the order of the shapes."""
        portion: list[Columns] = []
        skipped, room = self.committed, self._size
        for columns in self._shapes:
            rows = np.arange(skipped, min(len(columns), skipped + room))
            if len(rows):
                portion.append(columns.take(rows))
            skipped = max(0, skipped - len(columns))
            room -= len(rows)
        return portion

    def fitted(self) -> None:
        """The portion is committed."""
        self.committed = min(self._points, self.committed + self._size)
        self._steady -= 1
        if self._steady <= 0:
            self._size = min(MOST_POINTS, 2 * self._size)

    def was_too_large(self) -> bool:
        """Halve the portion, which is not committed; False when it is one point already."""
        count = min(self._size, self._points - self.committed)
        self._size, self._steady = max(1, count // 2), STEADY_PORTIONS
        return count > 1
