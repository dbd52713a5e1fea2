"""The series that a process knows, by the hundred thousand."""

from __future__ import annotations

import gc
import sys

import pytest

from ingest.points import Series, Shape
from ingest.protocols.heads import series_of
from ingest.series import FORGOTTEN_AT_ONCE, SeriesCache
from tests.unit.ingest.conftest import ROOMY

COUNT = 20_000
UNHELD = 2
"""References to a series that only a variable holds: its own, and that of the question."""


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
    assert sys.getrefcount(first) > UNHELD
    learn(cache, COUNT)
    assert len(cache) < COUNT // 2
    assert cache.size_bytes <= 1_000_000
    assert sys.getrefcount(first) == UNHELD


def test_series_are_forgotten_a_few_at_a_time() -> None:
    """No step frees many series, neither when the cache is full nor when all are forgotten, and in the end all are."""
    cache = SeriesCache(ROOMY, 200_000)
    met: list[Series] = []
    held = 0
    for number in range(1_500):
        if number == 1_000:
            cache.clear()
            assert len(cache) == 0
        met.append(series_of(b"m,host=a%d" % number, cache))
        before, held = held, sum(sys.getrefcount(series) > UNHELD + 1 for series in met)
        assert held > before - 2 * FORGOTTEN_AT_ONCE
        assert cache.size_bytes <= 200_000
    assert held <= len(cache) + FORGOTTEN_AT_ONCE
