from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.copy import Columns, gather
from ingest.merge import unique

Point = tuple[str, int, int, dict[str, float]]
"""Measurement, series id, time, fields."""
Stored = dict[tuple[str, int, int], dict[str, float]]

points = st.tuples(
    st.sampled_from(["m", "n"]),
    st.integers(1, 3),
    st.integers(-2, 2),
    st.dictionaries(st.sampled_from("fgh"), st.floats(allow_nan=False, allow_infinity=False), min_size=1),
)


def columns_of(request: list[Point]) -> list[Columns]:
    """The request's points by shape, as the writer hands them on."""
    shapes: dict[tuple[str, tuple[str, ...]], list[tuple[int, Point]]] = {}
    for place, point in enumerate(request):
        shapes.setdefault((point[0], tuple(sorted(point[3]))), []).append((place, point))
    return [
        Columns(
            measurement,
            fields,
            np.array([point[1] for _, point in rows], np.int32),
            np.array([point[2] for _, point in rows], np.int64),
            np.array([[point[3][name] for name in fields] for _, point in rows], np.float64),
            np.array([place for place, _ in rows], np.int64),
        )
        for (measurement, fields), rows in shapes.items()
    ]


def one_by_one(requests: list[list[Point]]) -> Stored:
    """What a store has that is given one point after the other, and keeps each field's last value."""
    stored: Stored = {}
    for request in requests:
        for measurement, series, time, fields in request:
            stored.setdefault((measurement, series, time), {}).update(fields)
    return stored


def stored_by(shapes: list[Columns]) -> Stored:
    """What a store has that is given `shapes`; fails on a point that is there twice."""
    stored: Stored = {}
    for columns in shapes:
        for series, time, values in zip(columns.ids, columns.times, columns.values.tolist(), strict=True):
            key = (columns.measurement, int(series), int(time))
            assert key not in stored
            stored[key] = dict(zip(columns.fields, values, strict=True))
    return stored


@settings(deadline=None)
@given(st.lists(st.lists(points, max_size=8), max_size=4))
def test_unique_points_are_what_one_by_one_would_leave(requests: list[list[Point]]) -> None:
    """Every field has its last value, every series and time is there once, each shape sorted by key."""
    shapes = unique(gather([columns_of(request) for request in requests]))
    assert stored_by(shapes) == one_by_one(requests)
    for columns in shapes:
        keys = list(zip(columns.ids.tolist(), columns.times.tolist(), strict=True))
        assert keys == sorted(keys)
    assert [columns.measurement for columns in shapes] == sorted(columns.measurement for columns in shapes)


@settings(deadline=None)
@given(st.lists(st.lists(points, max_size=8), max_size=4))
def test_gathering_loses_and_adds_nothing(requests: list[list[Point]]) -> None:
    """All points of all requests are there, in places that say which came later."""
    gathered = gather([columns_of(request) for request in requests])
    found = sorted(
        (int(place), columns.measurement, int(series), int(time), dict(zip(columns.fields, values, strict=True)))
        for columns in gathered
        for place, series, time, values in zip(
            columns.places, columns.ids, columns.times, columns.values.tolist(), strict=True
        )
    )
    assert [point[1:] for point in found] == [point for request in requests for point in request]
