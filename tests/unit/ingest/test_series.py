"""The series that a process knows, by the hundred thousand."""

from __future__ import annotations

import gc
import sys

import pytest

from ingest.points import Shape
from ingest.protocols.heads import series_of
from ingest.series import SeriesCache
from tests.unit.ingest.conftest import ROOMY

COUNT = 20_000


@pytest.fixture
def cache() -> SeriesCache:
    """With room for all."""
    return SeriesCache(ROOMY, 1 << 40)


def learn(cache: SeriesCache, count: int) -> None:
    """Meet so many series, half in line protocol and half in JSON, and give them what the catalog and decoders do."""
    shape = cache.add_shape(Shape("m", (b"x=",), ("x",)))
    for number in range(0, count, 2):
        lines, points = series_of(b"m,host=a%d" % number, cache), cache.find("m", {"host": f"b{number}"})
        for series in (lines, points):
            series.id = number + 1000
            series.shape = shape


def looked_at() -> int:
    """How many objects a full collection of garbage looks at, and how many these refer to."""
    gc.collect()
    objects = gc.get_objects()
    return len(objects) + sum(len(one) for one in objects if type(one) in (dict, list, set, tuple))


def test_the_collector_does_not_look_at_known_series(cache: SeriesCache) -> None:
    """However many series are known, a full collection of garbage has no more to look at: neither them nor tables."""
    learn(cache, 100)
    before = looked_at()
    learn(cache, COUNT)
    assert len(cache) == COUNT
    assert looked_at() < before + COUNT // 10


def test_what_is_forgotten_is_held_by_nobody() -> None:
    """A series that the cache has no room for any more is freed without the collector, which does not see it."""
    cache = SeriesCache(ROOMY, 1_000_000)
    first = series_of(b"m,host=a0", cache)
    assert sys.getrefcount(first) > 2
    learn(cache, COUNT)
    assert len(cache) < COUNT // 2
    assert sys.getrefcount(first) == 2  # the variable's, and the argument's
