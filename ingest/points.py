"""Points as they travel from a decoder to the writer: rows gathered by shape, no object for a point.

A *shape* is one measurement and one set of fields: all its points fit one COPY. A decoder adds each point to
its request's `Batch`; the catalog gives the batch's series their ids; the writer commits it.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import compress

import msgspec
import numpy as np

from ingest import names

LISTED_REJECTIONS = 100
"""How many rejections an answer lists; all are counted."""
LISTED_NAMES = 10
"""How many names of skipped fields an answer lists; all are counted."""

SHAPE_BYTES = 2000
POINT_BYTES = 64
VALUE_BYTES = 16
"""What a shape, a point and a value hold in memory, near enough: here, and once more in the copy for COPY."""


class Series(msgspec.Struct, gc=False, eq=False):
    """A measurement and a set of tags. `id` is 0 until the catalog has given it its number.

    Out of the garbage collector's sight, which would look at each of a million time and again: nothing that a series
    refers to may refer to the series.
    """

    measurement: str
    tags: str
    """As JSON, sorted by key."""
    id: int = 0
    shape: Shape | None = None
    """The fields it had in line protocol last time: agents repeat themselves."""


class Shape(msgspec.Struct, gc=False, eq=False):
    """One measurement and its fields in one order, as line protocol spells them; made once for each."""

    measurement: str
    words: tuple[bytes, ...]
    """The fields' names, each with its equals sign."""
    fields: tuple[str, ...]
    pattern: bytes = b""
    """What is left of such a line's fields, and a comma, without digits, signs and points; empty if not known."""


@dataclass(slots=True)
class Rows:
    """Points of one shape, in columns; row n is series[n], times[n], values[n * width : (n + 1) * width]."""

    measurement: str
    fields: tuple[str, ...]
    """`width` of them, in the order in which the request had them first."""
    series: list[Series] = field(default_factory=list)
    times: array[int] = field(default_factory=lambda: array("q"))
    """Microseconds since the Unix epoch."""
    values: array[float] = field(default_factory=lambda: array("d"))
    places: array[int] = field(default_factory=lambda: array("q"))
    """Which line (or element) of the request each row was: rejections name it, and later ones win."""

    def __len__(self) -> int:
        return len(self.times)

    def keep(self, wanted: Iterable[bool]) -> None:
        """Drop the rows whose flag is false."""
        flags = np.fromiter(wanted, bool, len(self))
        values = np.frombuffer(self.values, np.float64).reshape(len(self), len(self.fields))
        self.values = array("d", values[flags].tobytes())
        self.series = list(compress(self.series, flags.tolist()))
        self.times = array("q", np.frombuffer(self.times, np.int64)[flags].tobytes())
        self.places = array("q", np.frombuffer(self.places, np.int64)[flags].tobytes())


@dataclass(frozen=True, slots=True)
class Rejection:
    """One point that was not taken, and why."""

    place: int
    reason: str
    text: str


class Batch:
    """The points of one request: accepted ones in rows by shape, rejected ones counted and listed."""

    def __init__(self, limits: names.Limits, generation: int = 0) -> None:
        self._limits = limits
        self.generation = generation
        """Of the catalog's, in which the series' ids are good."""
        self._shapes: dict[tuple[str, frozenset[str]], Rows] = {}
        self._orders: dict[tuple[str, tuple[str, ...]], Rows] = {}
        """The same by orders of fields that were met, as many as there may be shapes."""
        self.rejections: list[Rejection] = []
        self.rejected: dict[str, int] = {}
        self.skipped: dict[str, None] = {}
        """Names of fields that were skipped, the first of them, as they may be shown."""
        self.skipped_count = 0
        self.size_bytes = 0
        """What the accepted points hold in memory, near enough."""
        self.place_name = "line"
        """What a place is: a `line` of the body, from 1, or the `index` of an array's element, from 0."""

    @property
    def rows(self) -> list[Rows]:
        """The accepted points, a shape each, none empty."""
        return [rows for rows in self._shapes.values() if rows.times]

    @property
    def accepted_count(self) -> int:
        """How many points are accepted so far."""
        return sum(map(len, self._shapes.values()))

    @property
    def rejected_count(self) -> int:
        """How many points were rejected, listed or not."""
        return sum(self.rejected.values())

    def add(self, series: Series, time: int, fields: dict[str, float], place: int) -> None:
        """Add one point; `time` in microseconds. Raises `Rejected` when its fields break a limit."""
        rows = self.shape(series.measurement, tuple(fields))
        rows.series.append(series)
        rows.times.append(time)
        rows.values.extend(map(fields.__getitem__, rows.fields))
        rows.places.append(place)
        self.size_bytes += POINT_BYTES + VALUE_BYTES * len(fields)

    def add_column(
        self, rows: Rows, series: list[Series], times: array[int], values: array[float], places: array[int]
    ) -> None:
        """Add points to `rows`, which `shape` has found: a series, a time and a place for each, and its values in the
        order of `rows`.
        """
        rows.series += series
        rows.times += times
        rows.values += values
        rows.places += places
        self.size_bytes += POINT_BYTES * len(series) + VALUE_BYTES * len(values)

    def shape(self, measurement: str, fields: tuple[str, ...]) -> Rows:
        """The rows of these fields, in the order in which they came first. Raises `Rejected` when they break a limit.

        Telegraf writes the fields of each point in another order.
        """
        rows = self._orders.get((measurement, fields))
        if rows is None:
            rows = self._shapes.get((measurement, frozenset(fields)))
            if rows is None:
                rows = self._new_shape(measurement, fields)
            if len(self._orders) < self._limits.max_shapes:
                self._orders[measurement, fields] = rows
        return rows

    def _new_shape(self, measurement: str, fields: tuple[str, ...]) -> Rows:
        names.check_fields(fields, self._limits)
        if len(self._shapes) >= self._limits.max_shapes:
            raise names.too_many_shapes(self._limits)
        rows = self._shapes[measurement, frozenset(fields)] = Rows(measurement, fields)
        self.size_bytes += SHAPE_BYTES
        return rows

    def reject(self, place: int, reason: str, text: str) -> None:
        """Count a point that cannot be taken, and list it while there is room."""
        self.reject_all((place,), reason, text)

    def reject_all(self, places: Sequence[int], reason: str, text: str) -> None:
        """Count points that cannot be taken for the same reason, and list as many as there is room for."""
        self.count_rejected(reason, len(places))
        for place in places[: LISTED_REJECTIONS - len(self.rejections)]:
            self.rejections.append(Rejection(place, reason, text))

    def count_rejected(self, reason: str, count: int) -> None:
        """Count points that cannot be taken, and of which no more is told."""
        if count:
            self.rejected[reason] = self.rejected.get(reason, 0) + count

    @property
    def lists_more(self) -> bool:
        """Whether there is room in the list of rejections."""
        return len(self.rejections) < LISTED_REJECTIONS

    def skip_field(self, name: str) -> None:
        """Count a field that is no number; the rest of its point is kept."""
        self.skipped_count += 1
        if len(self.skipped) < LISTED_NAMES:
            self.skipped.setdefault(names.shown(name))
