from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest

from query.fill import filled, filled_batches, whole_series
from query.tables import BATCH_ROWS, Batches, Row
from query.window import Fill

MINUTE = timedelta(minutes=1)
STARTS = [datetime(2026, 11, 22, tzinfo=UTC) + minutes * MINUTE for minutes in range(6)]


def columns(rows: list[tuple[Any, ...]], fill: Fill) -> list[list[Any]]:
    """The numbers by column, of one series without tags."""
    found = list(filled(rows, 0, STARTS, fill))
    assert [row[0] for row in found] == STARTS
    return [list(column) for column in zip(*(row[1:] for row in found), strict=True)]


@pytest.mark.parametrize(
    ("fill", "numbers"),
    [
        ("null", [None, 1.0, None, None, 4.0, None]),
        ("previous", [None, 1.0, 1.0, 1.0, 4.0, 4.0]),
        ("linear", [None, 1.0, 2.0, 3.0, 4.0, None]),
        (0.0, [0.0, 1.0, 0.0, 0.0, 4.0, 0.0]),
    ],
)
def test_windows_without_points(fill: Fill, numbers: list[Any]) -> None:
    """Every window has a row; what comes before the first number and after the last is no line."""
    assert columns([(STARTS[1], 1.0), (STARTS[4], 4.0)], fill) == [numbers]


def test_each_column_is_filled_by_itself() -> None:
    """A number that is missing beside another is filled as one whose window has no point."""
    rows = [(STARTS[0], 1.0, 7.0), (STARTS[2], None, 9.0), (STARTS[4], 3.0, None)]
    assert columns(rows, "linear") == [[1.0, 1.5, 2.0, 2.5, 3.0, None], [7.0, 8.0, 9.0, None, None, None]]
    assert columns(rows, "previous") == [[1.0, 1.0, 1.0, 1.0, 3.0, 3.0], [7.0, 7.0, 9.0, 9.0, 9.0, 9.0]]


def test_lines_follow_the_time_between_windows() -> None:
    """Windows of a calendar are not equally long, and the line is one of time."""
    starts = [datetime(2026, month, 1, tzinfo=UTC) for month in (1, 2, 3)]
    (row,) = list(filled([(starts[0], 0.0), (starts[2], 59.0)], 0, starts, "linear"))[1:2]
    assert row == (starts[1], pytest.approx(31.0))


def test_series_do_not_touch_each_other() -> None:
    """What a series has is not carried into the next, and each has all windows."""
    rows = [("a", "x", STARTS[0], 1.0), ("b", "x", STARTS[5], 2.0)]
    found = list(filled(rows, 2, STARTS, "previous"))
    assert [row[:2] for row in found] == [("a", "x")] * 6 + [("b", "x")] * 6
    assert [row[3] for row in found] == [1.0] * 6 + [None] * 5 + [2.0]


def test_no_series_are_none() -> None:
    """An answer without series has nothing to fill."""
    assert list(filled([], 1, STARTS, "null")) == []


def test_large_numbers_are_joined_by_lines() -> None:
    """No step of the computation leaves double precision."""
    assert columns([(STARTS[0], 1.7e308), (STARTS[2], -1.7e308)], "linear")[0][:3] == [1.7e308, 0.0, -1.7e308]


async def in_batches(rows: list[Row], size: int) -> Batches:
    """The rows, so many at a time, and an empty batch at the end."""
    for place in range(0, len(rows), size):
        yield rows[place : place + size]
    yield []


@pytest.mark.parametrize("size", [1, 2, 3, 5, 100])
async def test_batches_do_not_matter(size: int) -> None:
    """However rows come, no series is parted, and what is filled is the same."""
    rows: list[Row] = [
        (tag, start, float(number))
        for tag in "abbc"
        for number, start in enumerate(STARTS)
        if (number, tag) != (1, "b")
    ]
    rows = [row for place, row in enumerate(rows) if row not in rows[:place]]
    series = [batch async for batch in whole_series(in_batches(rows, size), 1)]
    assert [row for batch in series for row in batch] == rows
    assert all(left[-1][0] != right[0][0] for left, right in pairwise(series))
    found = [row async for batch in filled_batches(in_batches(rows, size), 1, STARTS, "linear") for row in batch]
    assert found == list(filled(rows, 1, STARTS, "linear"))


async def test_filled_batches_are_bounded() -> None:
    """Many windows of few points come in batches of the usual size."""
    starts = [STARTS[0] + minutes * MINUTE for minutes in range(2 * BATCH_ROWS + 1)]
    rows: list[Row] = [("a", starts[0], 1.0), ("b", starts[0], 1.0)]
    batches = [batch async for batch in filled_batches(in_batches(rows, 10), 1, starts, "null")]
    assert sum(map(len, batches)) == 2 * len(starts)
    assert max(map(len, batches)) == BATCH_ROWS
