"""The request for points themselves: those of one measurement for which conditions on their fields hold. Pure.

Points are sorted by time, and those of one moment by their series' id: so they are read in pages, `after` being the
time and the id of the last point seen. To sort many costs as much as to find them: who wants them all, in whatever
order, can do without.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Literal, cast

from pydantic import AfterValidator, BeforeValidator, Field, InstanceOf, ValidationInfo

from query.lists import LARGEST_ID, Paged
from query.parameters import (
    ALLOWED_MATCHERS,
    MAX_METRIC_LENGTH,
    Matchers,
    Metrics,
    Moment,
    Start,
    Text,
    as_written,
    number,
    one_or_more,
    split,
    text_like,
    unique,
)
from query.times import ALLOWED_TIMES, RFC3339, parse_time, shortened, written

Comparison = Literal[">", ">=", "<", "<=", "=", "!="]
Order = Literal["asc", "desc", "any"]

WHERE = re.compile(r"(.*[^<>!=\s])\s*(>=|<=|!=|>|<|=)\s*(\S+)", re.DOTALL)
MAX_CONDITION_LENGTH = MAX_METRIC_LENGTH + 100
"""To look for the operator takes as long as the square of it."""
ALLOWED_WHERE = "a metric, one of > >= < <= = !=, and a number: cpu.usage_user>90; repeatable, all must hold"

PLACE = re.compile(f"({RFC3339.pattern}),([0-9]{{1,10}})")
ALLOWED_PLACES = "next of the page before: 2026-11-22T08:00:00Z,17"


@dataclass(frozen=True, slots=True)
class Condition:
    """What a number of a point must be; a point without that number does not fulfil it."""

    metric: str
    operator: Comparison
    number: float

    def __str__(self) -> str:
        return f"{self.metric}{self.operator}{self.number!r}"


@dataclass(frozen=True, slots=True)
class Place:
    """A point's place among all."""

    time: datetime
    series: int

    def __str__(self) -> str:
        return f"{written(self.time)},{self.series}"


def _condition(value: object) -> Condition:
    match = WHERE.fullmatch(value) if isinstance(value, str) and len(value) <= MAX_CONDITION_LENGTH else None
    if match is None or "." not in match[1][1:-1] or "\0" in match[1]:
        raise ValueError(f"{shortened(str(value))!r} is not a condition")
    return Condition(match[1].strip(), cast(Comparison, match[2]), number(match[3]))


def _order(value: Order, info: ValidationInfo) -> Order:
    if value == "any" and info.data.get("limit") is not None:
        raise ValueError("points in any order are not read in pages, and limit asks for one")
    return value


def _place(value: object, info: ValidationInfo) -> Place:
    if info.data.get("order") == "any":
        raise ValueError("points in any order are not read in pages")
    match = PLACE.fullmatch(value) if isinstance(value, str) else None
    if match is None or int(match[2]) > LARGEST_ID:
        raise ValueError(f"{shortened(str(value))!r} is no place")
    return Place(parse_time(match[1], cast(dict[str, datetime], info.context)["now"]), int(match[2]))


def _measurement(value: str | None, info: ValidationInfo) -> str | None:
    """It may be left to the metrics to name it; where these have faults of their own, those are to be told."""
    if value is None and not any(info.data.get(name, True) for name in ("metric", "where")):
        raise ValueError("required unless metric or where name it")
    return value


class PointsRequest(Paged):
    """`/api/v1/points`: the points of one measurement in [start, end) that match and for which all conditions hold."""

    comma_separated = frozenset({"by"})

    metric: Metrics = Field(
        (), description="measurement.field; only these fields, of points that have one of them; absent means all"
    )
    where: Annotated[
        tuple[
            Annotated[InstanceOf[Condition], BeforeValidator(_condition), text_like(WHERE, "cpu.usage_user>90")], ...
        ],
        BeforeValidator(one_or_more),
        AfterValidator(unique),
    ] = Field((), description=ALLOWED_WHERE)
    measurement: Annotated[Text | None, AfterValidator(_measurement)] = as_written(
        None, description="a measurement's name; absent means that of metric and where"
    )
    by: Annotated[tuple[Text, ...], BeforeValidator(split), AfterValidator(unique)] = Field(
        ("host",), description="tags to tell of each point, comma-separated"
    )
    end: Moment = as_written("now", description=ALLOWED_TIMES)
    start: Start = as_written(None, description=ALLOWED_TIMES)
    match: Matchers = Field((), description=ALLOWED_MATCHERS)
    order: Annotated[Order, AfterValidator(_order)] = Field(
        "asc",
        description="asc: the oldest first; desc: the newest first; any: as they are found, without limit and after",
    )
    after: Annotated[InstanceOf[Place], BeforeValidator(_place), text_like(PLACE, "2026-11-22T08:00:00Z,17")] | None = (
        Field(None, description=f"{ALLOWED_PLACES}; absent means the first page")
    )
