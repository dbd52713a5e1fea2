"""The shape of an aggregate's answer: rows as the database gives them become a table and a JSON document. Pure.

Rows are those of `statements.aggregate`: the `by` tags, the window's start if there is a step, the plan's numbers;
sorted, so that those of a series stand together.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any

import orjson

from query.planner import Plan
from query.tables import OPTIONS, Column, Kind, Row, digest_of, distinct, tags_of, texts


def columns(plan: Plan) -> tuple[Column, ...]:
    """The columns of the flat formats: tags, `time` with a step, then `fn(metric)` for each number."""
    request = plan.request
    time = [] if request.step is None else [Column("time", "time")]
    numbers = [Column(f"{value.fn}({value.metric})", _kind(plan, value.fn)) for value in plan.values]
    names = distinct([*(column.name for column in (*time, *numbers)), *request.by])
    return (*texts(*names[len(time) + len(numbers) :]), *time, *numbers)


def tag(plan: Plan, document: AggregateDocument, rows: str) -> str:
    """What tells an answer from others, `rows` being what tells its rows, before windows are filled."""
    return digest_of(document.begin(), repr(plan.request.fill).encode(), rows.encode())


def _kind(plan: Plan, fn: str) -> Kind:
    is_whole = fn == "count" and plan.request.fill in ("none", "null", "previous")
    return "integer" if is_whole else "number"


class AggregateDocument:
    """The JSON of an aggregate.

    `warnings` tell what an answer cannot hold, where there is such.

    With a step, a series has `points`: [time, number], or [time, number, ...] in the order that `columns`
    says. Without, it has one `value`, or `values` by metric and function. A number is null where its metric
    has no point; a tag that a series does not have is the empty text.
    """

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._numbers_of_a_point = plan.values
        self._width = len(plan.request.by)
        self._tags_of = tags_of(self._width)
        self._series: Row | None = None
        """The tags of the series that is being written."""

    def begin(self) -> bytes:
        """All but the series."""
        plan, request = self._plan, self._plan.request
        head: dict[str, Any] = {
            "metric": request.metric,
            "fn": request.fn,
            "start": request.start,
            "end": request.end,
            "step": request.step.text if request.step else None,
            "source": plan.source,
        }
        if plan.warnings:
            head["warnings"] = plan.warnings
        if request.step is not None and len(plan.values) > 1:
            head["columns"] = [{"metric": value.metric, "fn": value.fn} for value in plan.values]
        return orjson.dumps({**head, "series": []}, option=OPTIONS).removesuffix(b"]}")

    def rows(self, batch: Sequence[Row]) -> bytes:
        """The series of these rows; the last of them is left open, since more of its rows may follow."""
        write = self._values if self._plan.request.step is None else self._points
        if self._width == 0:
            return write(batch) if batch else b""
        return b"".join([write(list(series)) for _, series in groupby(batch, self._tags_of)])

    def end(self) -> bytes:
        """The end of the last series, and of the document."""
        is_open = self._series is not None and self._plan.request.step is not None
        return (b"]}" if is_open else b"") + b"]}\n"

    def _points(self, rows: Sequence[Row]) -> bytes:
        tags = rows[0][: self._width]
        points = orjson.dumps([row[self._width :] for row in rows] if tags else rows, option=OPTIONS)[1:-1]
        if tags == self._series:
            return b"," + points
        before = b"" if self._series is None else b"]},"
        return before + self._begun(tags) + b',"points":[' + points

    def _values(self, rows: Sequence[Row]) -> bytes:
        (row,) = rows
        before = b"" if self._series is None else b","
        told = orjson.dumps(self._numbers(row[self._width :]), option=OPTIONS)
        return before + self._begun(row[: self._width]) + b"," + told[1:]

    def _begun(self, tags: Row) -> bytes:
        self._series = tags
        return orjson.dumps({"tags": dict(zip(self._plan.request.by, tags, strict=True))}, option=OPTIONS)[:-1]

    def _numbers(self, numbers: Row) -> dict[str, Any]:
        if len(numbers) == 1:
            return {"value": numbers[0]}
        values: dict[str, dict[str, Any]] = {metric: {} for metric in self._plan.request.metric}
        for value, number in zip(self._numbers_of_a_point, numbers, strict=True):
            values[value.metric][value.fn] = number
        return {"values": values}
