"""Decoding a body by itself, and looking at what was found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import orjson
import pytest

from ingest.names import Limits
from ingest.points import Batch
from ingest.protocols import jsonpoints, line
from ingest.series import SeriesCache
from ingest.timestamps import PRECISIONS_NS, Window

NOW_US = 1_800_000_000_123_456
ALL_TIMES = Window(-(2**63), 2**63, NOW_US)
ROOMY = Limits(max_fields=1000, max_tags=64, max_tag_bytes=8192, max_shapes=1000)
TIGHT = Limits(max_fields=10, max_tags=5, max_tag_bytes=100, max_shapes=1000)


@dataclass(frozen=True)
class Point:
    """One accepted point."""

    place: int
    measurement: str
    tags: dict[str, str]
    time: int
    """Microseconds."""
    fields: dict[str, float]


@dataclass(frozen=True)
class Found:
    """What a body held."""

    points: list[Point]
    rejections: list[tuple[int, str, str]]
    """Place, reason and text."""
    batch: Batch

    @property
    def fields(self) -> dict[str, float]:
        """The fields of the only point."""
        (point,) = self.points
        return point.fields

    @property
    def reason(self) -> str:
        """Why the only point was rejected: the reason and the text."""
        (rejection,) = self.rejections
        assert not self.points
        return f"{rejection[1]}: {rejection[2]}"


class Read(Protocol):
    """Decodes a body."""

    def __call__(
        self, body: bytes | str, *, precision: str = ..., window: Window = ..., limits: Limits = ..., lines: bool = ...
    ) -> Found:
        """Everything that was found in `body`; `lines` counts for JSON only."""


@pytest.fixture
def read_lines() -> Read:
    """Decode line protocol; times are nanoseconds unless told otherwise."""

    def read(
        body: bytes | str,
        *,
        precision: str = "ns",
        window: Window = ALL_TIMES,
        limits: Limits = ROOMY,
        lines: bool = True,
    ) -> Found:
        raw = body.encode() if isinstance(body, str) else body
        batch, cache = Batch(limits), SeriesCache(limits, 1_000_000)
        for _ in line.decode(raw, batch, cache, precision_ns=PRECISIONS_NS[precision], window=window):
            pass
        return found_in(batch)

    return read


@pytest.fixture
def read_json() -> Read:
    """Decode JSON; times are seconds unless told otherwise."""

    def read(
        body: bytes | str,
        *,
        precision: str = "s",
        window: Window = ALL_TIMES,
        limits: Limits = ROOMY,
        lines: bool = False,
    ) -> Found:
        raw = body.encode() if isinstance(body, str) else body
        batch, cache = Batch(limits), SeriesCache(limits, 1_000_000)
        options: dict[str, Any] = {"precision_ns": PRECISIONS_NS[precision], "window": window, "lines": lines}
        for _ in jsonpoints.decode(raw, batch, cache, **options):
            pass
        return found_in(batch)

    return read


def found_in(batch: Batch) -> Found:
    """The points and rejections of `batch`, in the order of their places."""
    points = []
    for rows in batch.rows:
        width = len(rows.fields)
        for n, series in enumerate(rows.series):
            fields = dict(zip(rows.fields, rows.values[n * width : (n + 1) * width], strict=True))
            points.append(Point(rows.places[n], series.measurement, orjson.loads(series.tags), rows.times[n], fields))
    rejections = [(one.place, one.reason, one.text) for one in batch.rejections]
    return Found(sorted(points, key=lambda point: point.place), rejections, batch)
