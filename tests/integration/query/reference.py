"""An independent computation of aggregates, in plain Python, over points in memory."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

ORIGIN = datetime(2000, 1, 3, tzinfo=UTC)
"""A Monday: TimescaleDB counts windows without months from there."""

HOST_TAGS = ("host", "hostname", "host.name", "instance")

Row = tuple[tuple[str, ...], datetime | None, tuple[float | None, ...]]
"""The `by` tags, the window's start, and the numbers by metric and function."""

Sample = tuple[datetime, int, float]
"""A point's time, its series' rank in order of creation, its value."""


@dataclass(frozen=True)
class Point:
    """One point; the series are created in the order in which their first points stand in a list."""

    tags: tuple[tuple[str, str], ...]
    time: datetime
    fields: dict[str, float]

    def tag(self, name: str) -> str:
        """A tag's value, empty when there is none; `host` is the first of the tags that may name it."""
        tags = dict(self.tags)
        if name == "host":
            return next((tags[one] for one in HOST_TAGS if one in tags), "")
        return tags.get(name, "")


@dataclass(frozen=True)
class Ask:
    """An aggregate over the fields of one measurement."""

    fields: tuple[str, ...]
    fns: tuple[str, ...]
    start: datetime
    end: datetime
    by: tuple[str, ...] = ()
    step: str | None = None
    match: tuple[tuple[str, str, str], ...] = ()

    def parameters(self, measurement: str) -> dict[str, Any]:
        """The same as parameters of a request."""
        given = {
            "metric": [f"{measurement}.{field}" for field in self.fields],
            "fn": ",".join(self.fns),
            "by": ",".join(self.by),
            "start": self.start.isoformat(),
            "end": self.end.isoformat(),
            "match": ["".join(matcher) for matcher in self.match],
        }
        return given if self.step is None else {**given, "step": self.step}


def expected(points: Sequence[Point], ask: Ask) -> list[Row]:
    """What the answer must hold, sorted."""
    ranks = {tags: rank for rank, tags in enumerate(dict.fromkeys(point.tags for point in points))}
    groups: dict[tuple[tuple[str, ...], datetime | None], list[Point]] = {}
    for point in points:
        is_chosen = ask.start <= point.time < ask.end and all(holds(point, *matcher) for matcher in ask.match)
        if is_chosen and any(field in point.fields for field in ask.fields):
            key = (tuple(point.tag(name) for name in ask.by), window(point.time, ask.step))
            groups.setdefault(key, []).append(point)
    rows = []
    for (tags, start), members in groups.items():
        numbers = []
        for field in ask.fields:
            samples = [(one.time, ranks[one.tags], one.fields[field]) for one in members if field in one.fields]
            numbers += [FUNCTIONS[fn](samples) if samples else (0 if fn == "count" else None) for fn in ask.fns]
        rows.append((tags, start, tuple(numbers)))
    return sorted(rows, key=lambda row: (row[0], row[1] or ORIGIN))


def window(time: datetime, step: str | None) -> datetime | None:
    """The start of the window that holds `time`."""
    if step is None:
        return None
    seconds = int(step[:-1]) * {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}[step[-1]]
    length = timedelta(seconds=seconds)
    return ORIGIN + (time - ORIGIN) // length * length


def holds(point: Point, tag: str, operator: str, operand: str) -> bool:
    """Whether a point's tag is as Prometheus' matchers want it."""
    value = point.tag(tag)
    if operator in ("=", "!="):
        return (value == operand) is (operator == "=")
    return (re.fullmatch(operand, value) is not None) is (operator == "=~")


FUNCTIONS: dict[str, Callable[[list[Sample]], float]] = {
    "avg": lambda samples: math.fsum(value for _, _, value in samples) / len(samples),
    "min": lambda samples: min(value for _, _, value in samples),
    "max": lambda samples: max(value for _, _, value in samples),
    "sum": lambda samples: math.fsum(value for _, _, value in samples),
    "count": len,
    "first": lambda samples: min(samples, key=lambda sample: (sample[0], sample[1]))[2],
    "last": lambda samples: max(samples, key=lambda sample: (sample[0], -sample[1]))[2],
}


def rows_of(answer: Any) -> list[Row]:
    """The rows that an answer holds, whichever of its shapes it has."""
    rows: list[Row] = []
    for series in answer["series"]:
        tags = tuple(series["tags"].values())
        if "points" in series:
            rows += [(tags, datetime.fromisoformat(point[0]), tuple(point[1:])) for point in series["points"]]
        elif "value" in series:
            rows.append((tags, None, (series["value"],)))
        else:
            values = series["values"]
            rows.append((tags, None, tuple(values[metric][fn] for metric in answer["metric"] for fn in answer["fn"])))
    return rows


def assert_same(answer: Any, wanted: list[Row]) -> None:
    """The answer has the same rows in the same order, and the same numbers but for the last digits of a sum."""
    rows = rows_of(answer)
    assert [row[:2] for row in rows] == [row[:2] for row in wanted], answer
    for row, other in zip(rows, wanted, strict=True):
        for number, right in zip(row[2], other[2], strict=True):
            if number is None or right is None:
                assert number is right, (row, other)
            else:
                assert math.isclose(number, right, rel_tol=1e-9, abs_tol=1e-6), (row, other)
