"""Points gathered by shape, and what is remembered of those that were not taken."""

from __future__ import annotations

import pytest

from ingest.names import Limits, Rejected
from ingest.points import LISTED_NAMES, LISTED_REJECTIONS, Batch, Series, Shape
from ingest.series import MAX_SHAPE_WORDS, SeriesCache

LIMITS = Limits(max_fields=3, max_tags=2, max_tag_bytes=100, max_shapes=1000)
CPU = Series("cpu", '{"host":"a"}')


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
    cache = SeriesCache(LIMITS, 10_000)
    series = cache.find("cpu", {"b": "2", "a": "1"})
    assert series.tags == '{"a":"1","b":"2"}'
    assert cache.find("cpu", {"a": "1", "b": "2"}) is series
    assert cache.find("mem", {"a": "1", "b": "2"}) is not series
    assert len(cache) == 2


def test_what_breaks_a_rule_is_not_remembered() -> None:
    """A series is checked before it is kept."""
    cache = SeriesCache(LIMITS, 10_000)
    for measurement, tags in (("", {}), ("cpu", {"k": "\0"}), ("cpu", dict.fromkeys("abc", "v"))):
        with pytest.raises(Rejected):
            cache.find(measurement, tags)
    assert len(cache) == 0


def test_the_cache_is_bounded_in_bytes() -> None:
    """However many series there are, and however long their tags, they hold no more than that."""
    roomy = Limits(max_fields=3, max_tags=2, max_tag_bytes=10_000, max_shapes=1000)
    for length in (1, 100, 5_000):
        cache = SeriesCache(roomy, 50_000)
        for n in range(1_000):
            head = b"cpu,host=%0*d" % (length, n)
            cache.remember(head, cache.find("cpu", {"host": head.decode()[9:]}))
            assert cache.size_bytes <= 50_000
            assert cache.by_head[head] is cache.find("cpu", {"host": head.decode()[9:]})
        assert 2 <= len(cache) < 50_000 // length


def test_one_that_is_larger_than_the_cache_is_known_all_the_same() -> None:
    """A bound that is too small for anything costs look-ups, and breaks nothing."""
    cache = SeriesCache(LIMITS, 1)
    for n in (1, 2, 1):
        series = cache.find("cpu", {"host": str(n)})
        cache.remember(b"cpu,host=%d" % n, series)
        assert cache.by_head[b"cpu,host=%d" % n] is series


def test_series_in_use_stay_known() -> None:
    """What is asked for again and again is not forgotten for others that come once; heads and tags find the same."""
    cache = SeriesCache(LIMITS, 20_000)
    in_use = [cache.find("cpu", {"host": str(n)}) for n in range(5)]
    for n, series in enumerate(in_use):
        cache.remember(b"cpu,host=%d" % n, series)
    for other in range(1_000):
        cache.find("cpu", {"host": f"other{other}"})
        for n, series in enumerate(in_use):
            head = b"cpu,host=%d" % n
            assert (cache.by_head.get(head) or cache.recall(head)) is series
            assert cache.find("cpu", {"host": str(n)}) is series
    assert cache.recall(b"cpu,host=other") is None


def test_a_cache_that_is_cleared_knows_nothing() -> None:
    """Neither generation finds anything, what they had goes with what is met next, and a series can be found anew."""
    cache = SeriesCache(LIMITS, 2_000)
    known = [cache.find("cpu", {"host": str(n)}) for n in range(8)]
    cache.remember(b"cpu,host=7", known[7])
    cache.clear()
    assert (len(cache), cache.by_head) == (0, {})
    assert cache.recall(b"cpu,host=7") is None
    renewed = [cache.renewed(series) for series in known]
    assert [(one.measurement, one.tags) for one in renewed] == [(one.measurement, one.tags) for one in known]
    assert not set(renewed) & set(known)
    fresh = SeriesCache(LIMITS, 2_000)
    for series in known:
        fresh.renewed(series)
    assert cache.size_bytes == fresh.size_bytes


def test_shapes_are_bounded_in_words() -> None:
    """However many fields they have, only so many names are kept; a shape that is kept is the only one of its kind."""
    cache = SeriesCache(LIMITS, 10_000)
    words = tuple(b"f%d=" % n for n in range(MAX_SHAPE_WORDS // 3))
    first = cache.add_shape(Shape("m0", words, ()))
    assert cache.add_shape(Shape("m0", words, ())) is first
    for n in range(1, 10):
        cache.add_shape(Shape(f"m{n}", words, ()))
        assert 0 < len(cache.shapes) <= 3
