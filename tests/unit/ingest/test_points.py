"""Points gathered by shape, and what is remembered of those that were not taken."""

from __future__ import annotations

import pytest

from ingest.names import Limits, Rejected
from ingest.points import LISTED_NAMES, LISTED_REJECTIONS, Batch, Series, Shape
from ingest.series import MAX_SHAPE_WORDS, MEAN_BYTES, SeriesCache

LIMITS = Limits(max_fields=3, max_tags=2, max_tag_bytes=100)
CPU = Series("cpu", (("host", "a"),))


def test_points_of_one_shape_share_their_rows() -> None:
    """A measurement and its fields make a shape; each point adds to its columns."""
    batch = Batch(LIMITS)
    batch.add(CPU, 5, {"x": 1.0, "y": 2.0}, 1)
    batch.add(CPU, 6, {"x": 3.0, "y": 4.0}, 2)
    batch.add(CPU, 7, {"x": 5.0}, 3)
    wide, narrow = batch.rows
    assert (wide.fields, list(wide.times), list(wide.values), list(wide.places)) == (
        ("x", "y"),
        [5, 6],
        [1.0, 2.0, 3.0, 4.0],
        [1, 2],
    )
    assert (narrow.fields, list(narrow.values)) == (("x",), [5.0])
    assert batch.accepted_count == 3


def test_rows_can_be_dropped() -> None:
    """The rows that are kept keep their values, and an emptied shape is none."""
    batch = Batch(LIMITS)
    for n in range(3):
        batch.add(CPU, n, {"x": float(n), "y": -float(n)}, n)
    rows = batch.rows[0]
    rows.keep([True, False, True])
    assert (list(rows.times), list(rows.values), list(rows.places)) == ([0, 2], [0.0, -0.0, 2.0, -2.0], [0, 2])
    rows.keep([False, False])
    assert (batch.rows, batch.accepted_count) == ([], 0)


def test_too_many_fields_add_nothing() -> None:
    """A point past the bound leaves the batch as it was."""
    batch = Batch(LIMITS)
    with pytest.raises(Rejected):
        batch.add(CPU, 0, dict.fromkeys("abcd", 1.0), 1)
    assert (batch.rows, batch.size_bytes) == ([], 0)


def test_all_rejections_are_counted_and_some_are_listed() -> None:
    """The list is bounded, the counts by reason are not."""
    batch = Batch(LIMITS)
    for n in range(1000):
        batch.reject(n, "time" if n % 2 else "syntax", "why")
    assert (batch.rejected_count, batch.rejected) == (1000, {"syntax": 500, "time": 500})
    assert len(batch.rejections) == LISTED_REJECTIONS


def test_all_skipped_fields_are_counted_and_some_are_named() -> None:
    """Names are listed once, the first few, short and fit for a header."""
    batch = Batch(LIMITS)
    for name in ("a", "a", "x" * 100_000, "\ud800", *map(str, range(100))):
        batch.skip_field(name)
    assert batch.skipped_count == 104
    assert len(batch.skipped) == LISTED_NAMES
    assert list(batch.skipped)[:3] == ["a", "x" * 63 + "...", "\\ud800"]


def test_the_size_of_a_batch_grows_with_its_points() -> None:
    """Every point, value and shape is charged, whichever way it was added."""
    one_by_one, by_column = Batch(LIMITS), Batch(LIMITS)
    sizes = [one_by_one.size_bytes]
    for n in range(3):
        one_by_one.add(CPU, n, {"x": 1.0, "y": 2.0}, n)
        sizes.append(one_by_one.size_bytes)
    (added,) = one_by_one.rows
    rows = by_column.shape("cpu", ("x", "y"))
    by_column.add_column(rows, added.series, added.times, added.values, added.places)
    assert sizes == sorted(set(sizes))
    assert by_column.size_bytes == one_by_one.size_bytes


def test_a_series_is_found_again() -> None:
    """The same measurement and tags are the same series, in whatever order the tags come."""
    cache = SeriesCache(LIMITS, 10)
    series = cache.find("cpu", {"b": "2", "a": "1"})
    assert series.tags == (("a", "1"), ("b", "2"))
    assert cache.find("cpu", {"a": "1", "b": "2"}) is series
    assert cache.find("mem", {"a": "1", "b": "2"}) is not series
    assert len(cache) == 2


def test_what_breaks_a_rule_is_not_remembered() -> None:
    """A series is checked before it is kept."""
    cache = SeriesCache(LIMITS, 10)
    for measurement, tags in (("", {}), ("cpu", {"k": "\0"}), ("cpu", dict.fromkeys("abc", "v"))):
        with pytest.raises(Rejected):
            cache.find(measurement, tags)
    assert len(cache) == 0


def test_the_cache_is_bounded() -> None:
    """Full, it starts anew, and so do the heads that lead to its series."""
    cache = SeriesCache(LIMITS, 3)
    for n in range(10):
        cache.remember(b"cpu,host=%d" % n, cache.find("cpu", {"host": str(n)}))
        assert len(cache) <= 3
        assert len(cache.by_head) <= 3
    for n in range(100):
        cache.remember(b"\\cpu,host=%d" % n, CPU)
        assert 0 < len(cache.by_head) <= 6


def test_the_cache_is_bounded_in_bytes() -> None:
    """Long names take the room of several series, in tags and in heads."""
    roomy = Limits(max_fields=3, max_tags=2, max_tag_bytes=10_000)
    by_tags, by_head = SeriesCache(roomy, 10), SeriesCache(roomy, 10)
    for n in range(20):
        by_tags.find("cpu", {"host": f"{n:05000}"})
        by_head.remember(b"cpu,host=%05000d" % n, CPU)
        assert 0 < len(by_tags) <= MEAN_BYTES * 10 // 5000
        assert 0 < len(by_head.by_head) <= MEAN_BYTES * 10 // 5000


def test_shapes_are_bounded_in_words() -> None:
    """However many fields they have, only so many names are kept; a shape that is kept is the only one of its kind."""
    cache = SeriesCache(LIMITS, 10)
    words = tuple(b"f%d=" % n for n in range(MAX_SHAPE_WORDS // 3))
    first = cache.add_shape(Shape("m0", words, ()))
    assert cache.add_shape(Shape("m0", words, ())) is first
    for n in range(1, 10):
        cache.add_shape(Shape(f"m{n}", words, ()))
        assert 0 < len(cache.shapes) <= 3
