"""The series that this process knows, found by the raw bytes that name them or by measurement and tags.

A point's series is looked up once a point, so it is one dictionary access; the `Series` found carries its id
once the catalog has resolved it. The cache is bounded: full, it is emptied, and its series are looked up
anew, which costs a query for those still in use and nothing else.
"""

from __future__ import annotations

from ingest import names
from ingest.names import Limits, Tags
from ingest.points import Series, Shape

MAX_SHAPE_WORDS = 200_000
"""Names of fields that are remembered, in all shapes together."""
MEAN_BYTES = 1000
"""What a series may take of text on average; where they are longer, fewer are remembered."""


class SeriesCache:
    """At most `max_series` series, and their text; every one was checked against `limits`."""

    def __init__(self, limits: Limits, max_series: int) -> None:
        self.limits = limits
        self._max_series = max_series
        self._by_tags: dict[tuple[str, Tags], Series] = {}
        self.by_head: dict[bytes, Series] = {}
        """Series by the bytes that named them in a request, which a decoder may add to by `remember`."""
        self._bytes = 0
        self.shapes: dict[tuple[str, tuple[bytes, ...]], Shape] = {}
        """Shapes by measurement and names, which a decoder may add to by `add_shape`."""
        self._words = 0

    def __len__(self) -> int:
        return len(self._by_tags)

    def find(self, measurement: str, tags: dict[str, str]) -> Series:
        """The series of a measurement and its tags. Raises `Rejected` when a name breaks a rule."""
        key = (measurement, tuple(sorted(tags.items())))
        series = self._by_tags.get(key)
        if series is None:
            names.check_measurement(measurement)
            size = names.check_tags(key[1], self.limits)
            self._make_room(size, is_full=len(self._by_tags) >= self._max_series)
            series = self._by_tags[key] = Series(*key)
        return series

    def remember(self, head: bytes, series: Series) -> None:
        """Let `by_head` find `series` by `head`, which is spelled as one client spells it."""
        self._make_room(len(head), is_full=len(self.by_head) >= 2 * self._max_series)
        self.by_head[head] = series

    def add_shape(self, shape: Shape) -> Shape:
        """Keep `shape`, the only one of its kind, and return it."""
        self._words += len(shape.words)
        if self._words > MAX_SHAPE_WORDS:
            self.shapes.clear()
            self._words = len(shape.words)
        return self.shapes.setdefault((shape.measurement, shape.words), shape)

    def clear(self) -> None:
        """Forget everything: the ids mean nothing any more, or there is no room."""
        self._by_tags.clear()
        self.by_head.clear()
        self._bytes = 0

    def _make_room(self, size: int, *, is_full: bool) -> None:
        """Make room for `size` bytes more of text."""
        if is_full or self._bytes + size > MEAN_BYTES * self._max_series:
            self.clear()
        self._bytes += size
