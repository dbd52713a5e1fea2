"""Windows without points, and numbers that are missing: what stands in their place. Pure.

Each series gets a row for every window of the range, also before its first point and after its last.

    null       nothing, said as null
    previous   the last number before, null before the first
    linear     on the straight line between the numbers before and after, by the windows' starts; null outside of them
    a number   that number
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import aclosing
from datetime import datetime
from itertools import groupby, islice, pairwise
from typing import Any

from query.tables import BATCH_ROWS, Batches, Row
from query.window import Fill


def filled(rows: Iterable[Row], tags: int, starts: Sequence[datetime], fill: Fill) -> Iterator[Row]:
    """The rows with all windows of `starts`; `rows` are so many tags, the start of a window and numbers. Those of a
    series stand together.

    No more than one series is held at a time.
    """
    for series, found in groupby(rows, key=lambda row: row[:tags]):
        by_start = {row[tags]: row[tags + 1 :] for row in found}
        columns = len(next(iter(by_start.values())))
        absent = (None,) * columns
        numbers = [by_start.get(start, absent) for start in starts]
        completed = [_completed([row[column] for row in numbers], starts, fill) for column in range(columns)]
        for start, *values in zip(starts, *completed, strict=True):
            yield (*series, start, *values)


async def filled_batches(batches: Batches, tags: int, starts: Sequence[datetime], fill: Fill) -> Batches:
    """The same for rows that come in batches, which are no larger than they were."""
    async with aclosing(batches):
        async for series in whole_series(batches, tags):
            rows = filled(series, tags, starts, fill)
            while batch := list(islice(rows, BATCH_ROWS)):
                yield batch


async def whole_series(batches: Batches, tags: int) -> Batches:
    """The rows in other batches, none of which ends within a series."""
    held: list[Row] = []
    async for batch in batches:
        first, last = batch[:1], batch[-1:]
        if held and first and held[-1][:tags] != first[0][:tags]:
            yield held
            held = []
        if first and first[0][:tags] != last[0][:tags]:
            place = len(batch)
            while batch[place - 1][:tags] == last[0][:tags]:
                place -= 1
            yield held + batch[:place]
            held, batch = [], batch[place:]
        held += batch
    if held:
        yield held


def _completed(numbers: list[Any], starts: Sequence[datetime], fill: Fill) -> list[Any]:
    """The numbers of one column, those that are None replaced."""
    if fill == "previous":
        return _carried(numbers)
    if fill == "linear":
        return _interpolated(numbers, starts)
    if isinstance(fill, float):
        return [fill if number is None else number for number in numbers]
    return numbers


def _carried(numbers: list[Any]) -> list[Any]:
    carried = []
    last = None
    for number in numbers:
        last = last if number is None else number
        carried.append(last)
    return carried


def _interpolated(numbers: list[Any], starts: Sequence[datetime]) -> list[Any]:
    line = list(numbers)
    known = [place for place, number in enumerate(numbers) if number is not None]
    for left, right in pairwise(known):
        for place in range(left + 1, right):
            share = (starts[place] - starts[left]) / (starts[right] - starts[left])
            line[place] = numbers[left] * (1 - share) + numbers[right] * share
    return line
