"""The shape of an answer: rows as the database gives them become what a client reads. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any

from query.planner import Plan

Row = tuple[Any, ...]


def aggregate(plan: Plan, rows: Sequence[Row]) -> dict[str, Any]:
    """The answer of an aggregate; `rows` are those of `statements.aggregate`, sorted by tags and window.

    `warnings` tell what an answer cannot hold, where there is such.

    With a step, a series has `points`: [time, number], or [time, number, ...] in the order that `columns`
    says. Without, it has one `value`, or `values` by metric and function. A number is null where its metric
    has no point; a tag that a series does not have is the empty text.
    """
    request = plan.request
    many = len(plan.values) > 1
    answer: dict[str, Any] = {
        "metric": request.metric,
        "fn": request.fn,
        "start": request.start,
        "end": request.end,
        "step": request.step.text if request.step else None,
        "source": plan.source,
    }
    if plan.warnings:
        answer["warnings"] = plan.warnings
    if request.step is not None and many:
        answer["columns"] = [{"metric": value.metric, "fn": value.fn} for value in plan.values]
    width = len(request.by)
    answer["series"] = [
        {"tags": dict(zip(request.by, tags, strict=True)), **_numbers(plan, [row[width:] for row in group])}
        for tags, group in groupby(rows, key=lambda row: row[:width])
    ]
    return answer


def _numbers(plan: Plan, rows: list[Row]) -> dict[str, Any]:
    if plan.request.step is not None:
        return {"points": rows}
    (numbers,) = rows
    if len(numbers) == 1:
        return {"value": numbers[0]}
    values: dict[str, dict[str, Any]] = {metric: {} for metric in plan.request.metric}
    for value, number in zip(plan.values, numbers, strict=True):
        values[value.metric][value.fn] = number
    return {"values": values}
