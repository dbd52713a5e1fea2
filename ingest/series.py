"""The series that this process knows, found by the raw bytes that name them or by measurement and tags.

A point's series is looked up once a point, so it is one dictionary access; the `Series` found carries its id once the
catalog has resolved it. The cache is bounded in bytes, by two generations: what is used goes to the younger one; when
that has half of the bytes, it becomes the elder, and what the elder before it held has not been used for long and is
forgotten, a few for each one that is met anew: to free a million at once would take long. So the series in use stay
known as long as they fit into one half.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from sys import getsizeof

import orjson

from ingest import names
from ingest.names import Limits
from ingest.points import Series, Shape

MAX_SHAPE_WORDS = 200_000
"""Names of fields that are remembered, in all shapes together."""
ENTRY_BYTES = 100
"""An entry of a large dictionary, its share of the table's free places included."""
FORGOTTEN_AT_ONCE = 8
"""Series that are forgotten when room is made for one: more than one, or there would be ever more to forget."""
SERIES_BYTES = getsizeof(Series("", "")) + getsizeof(2**31 - 1) + ENTRY_BYTES
"""A series and its entry, without its tags."""


@dataclass(slots=True)
class _Generation:
    by_head: dict[bytes, Series] = field(default_factory=dict)
    by_tags: dict[str, dict[str, Series]] = field(default_factory=dict)
    """By measurement and tags."""
    size_bytes: int = 0

    def __len__(self) -> int:
        return sum(map(len, self.by_tags.values()))

    def forget(self, count: int) -> bool:
        """Forget so many of its series, and of what named them; False when nothing is left."""
        for _ in range(min(count, len(self.by_head))):
            head, _ = self.by_head.popitem()
            self.size_bytes -= ENTRY_BYTES + getsizeof(head)
        while self.by_tags and count:
            measurement, of_it = next(iter(self.by_tags.items()))
            for _ in range(some := min(count, len(of_it))):
                tags, _ = of_it.popitem()
                self.size_bytes -= SERIES_BYTES + getsizeof(tags)
            count -= some
            if not of_it:
                del self.by_tags[measurement]
        return bool(self.by_head or self.by_tags)


class SeriesCache:
    """Series in `max_bytes` of memory; every one was checked against `limits`."""

    def __init__(self, limits: Limits, max_bytes: int) -> None:
        self.limits = limits
        self._half_bytes = max_bytes // 2
        self._elder = _Generation()
        self._young = _Generation()
        self._forgotten: list[_Generation] = []
        """What nobody finds any more, on its way out."""
        self.by_head = self._young.by_head
        """The series in use, by the bytes that named them in a request."""
        self.shapes: dict[tuple[str, tuple[bytes, ...]], Shape] = {}
        """Shapes by measurement and names, which a decoder may add to by `add_shape`."""
        self._words = 0

    def __len__(self) -> int:
        """How many series are known."""
        return len(self._young) + len(self._elder)

    @property
    def size_bytes(self) -> int:
        """What the series hold in memory, near enough."""
        return sum(one.size_bytes for one in (self._young, self._elder, *self._forgotten))

    def find(self, measurement: str, tags: dict[str, str]) -> Series:
        """The series of a measurement and its tags. Raises `Rejected` when a name breaks a rule."""
        try:
            # A string: the bytes that orjson gives keep the room that they were written in.
            text = orjson.dumps(tags, option=orjson.OPT_SORT_KEYS).decode()
        except orjson.JSONEncodeError:  # some tag is no text, which the check will say
            text = ""
        of_measurement = self._young.by_tags.get(measurement)
        series = of_measurement.get(text) if of_measurement else None
        if series is None:
            series = self._elder.by_tags.get(measurement, {}).get(text)
            if series is None:
                names.check_measurement(measurement)
                names.check_tags(tags, self.limits)
                series = Series(measurement, text)
            self._keep(series)
        return series

    def renewed(self, series: Series) -> Series:
        """The series of the same measurement and tags that is known now."""
        return self.find(series.measurement, orjson.loads(series.tags))

    def recall(self, head: bytes) -> Series | None:
        """The series that `head` named, when it is not in `by_head` any more but not forgotten either."""
        series = self._elder.by_head.pop(head, None)
        if series is not None:
            self._elder.size_bytes -= ENTRY_BYTES + getsizeof(head)
            self._keep(series)
            self.remember(head, series)
        return series

    def remember(self, head: bytes, series: Series) -> None:
        """Let `by_head` find `series` by `head`, which is spelled as one client spells it."""
        self._make_room(ENTRY_BYTES + getsizeof(head))
        self.by_head[head] = series

    def add_shape(self, shape: Shape) -> Shape:
        """Keep `shape`, the only one of its kind, and return it."""
        self._words += len(shape.words)
        if self._words > MAX_SHAPE_WORDS:
            self.shapes.clear()
            self._words = len(shape.words)
        return self.shapes.setdefault((shape.measurement, shape.words), shape)

    def clear(self) -> None:
        """Forget all series: their ids mean nothing any more."""
        self._forgotten += (self._elder, self._young)
        self._elder = _Generation()
        self._begin()

    def _keep(self, series: Series) -> None:
        """Let the younger generation have `series`, if it does not have it, and not the elder."""
        size = SERIES_BYTES + getsizeof(series.tags)
        if self._elder.by_tags.get(series.measurement, {}).pop(series.tags, None) is not None:
            self._elder.size_bytes -= size
        if series.tags not in self._young.by_tags.get(series.measurement, ()):
            self._make_room(size)
            self._young.by_tags.setdefault(series.measurement, {})[series.tags] = series

    def _make_room(self, size: int) -> None:
        """Make room for `size` bytes more in the younger generation."""
        if self._forgotten and not self._forgotten[-1].forget(FORGOTTEN_AT_ONCE):
            self._forgotten.pop()
        if self._young.size_bytes + size > self._half_bytes and self._young.size_bytes:
            self._forgotten.append(self._elder)
            self._elder = self._young
            self._begin()
        self._young.size_bytes += size

    def _begin(self) -> None:
        self._young = _Generation()
        self.by_head = self._young.by_head
