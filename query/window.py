"""The request of an aggregate: functions of metrics, over windows of time. Pure."""

from __future__ import annotations

from typing import Annotated, Literal, get_args

from pydantic import AfterValidator, BeforeValidator, Field, InstanceOf

from query.parameters import (
    ALLOWED_MATCHERS,
    Matchers,
    Moment,
    Request,
    Start,
    Text,
    as_written,
    one_or_more,
    split,
    text,
    unique,
)
from query.times import ALLOWED_STEPS, ALLOWED_TIMES, Step, parse_step, shortened

Function = Literal["avg", "min", "max", "sum", "count", "first", "last"]

MAX_METRIC_LENGTH = 127
"""A measurement and a field of 63 bytes each, and the dot between them."""


def _metric(value: str) -> str:
    if "." not in value[1:-1]:
        raise ValueError(f"{shortened(value)!r} is not measurement.field")
    return text(value)


class AggregateRequest(Request):
    """`/api/v1/aggregate`: functions of metrics of one measurement, over the points in [start, end).

    Windows begin at whole multiples of `step`, as `time_bucket` has them: the first may begin before `start`, and
    holds only the points that do not. `end` stands before `start` here since its value decides that of `start`.
    """

    comma_separated = frozenset({"fn", "by"})
    later = frozenset({"tz", "order", "limit"})

    metric: Annotated[
        tuple[Annotated[str, Field(max_length=MAX_METRIC_LENGTH), AfterValidator(_metric)], ...],
        BeforeValidator(one_or_more),
        AfterValidator(unique),
    ] = Field(min_length=1, description="measurement.field, as in cpu.usage_user; one or more, of one measurement")
    fn: Annotated[tuple[Function, ...], BeforeValidator(split), AfterValidator(unique)] = Field(
        ("avg",),
        min_length=1,
        description=f"{', '.join(get_args(Function))}; one or more "
        "(stddev, median, p0 to p100, rate, increase and delta are not available yet)",
    )
    by: Annotated[tuple[Text, ...], BeforeValidator(split), AfterValidator(unique)] = Field(
        (), description="tags to group by, comma-separated; absent means all series together"
    )
    end: Moment = Field(as_written("now"), description=ALLOWED_TIMES)
    start: Start = Field(as_written(None), description=ALLOWED_TIMES)
    step: Annotated[InstanceOf[Step], BeforeValidator(parse_step)] | None = Field(None, description=ALLOWED_STEPS)
    match: Matchers = Field((), description=ALLOWED_MATCHERS)
    fill: Literal["none"] = Field("none", description="none (null, previous, linear and numbers are not available yet)")
    resolution: Literal["auto", "raw"] = Field("auto", description="auto, raw")
