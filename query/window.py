"""The request of an aggregate: functions of metrics, over windows of time. Pure."""

from __future__ import annotations

import re
from typing import Annotated, Literal, NamedTuple, cast
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BeforeValidator, Field, InstanceOf, ValidationInfo, WithJsonSchema

from query import functions
from query.parameters import (
    ALLOWED_COUNTS,
    ALLOWED_MATCHERS,
    Count,
    Matchers,
    Metrics,
    Moment,
    Request,
    Start,
    Text,
    as_written,
    number,
    split,
    text_like,
    unique,
)
from query.steps import ALLOWED_STEPS, ALLOWED_ZONES, STEP, Step, Windows, parse_step, parse_zone, windows
from query.times import ALLOWED_TIMES, shortened

ORDERING = re.compile(r"([a-z0-9.]+)\((.+)\)", re.DOTALL)

ZONE = WithJsonSchema({"type": "string", "examples": ["UTC", "Europe/Berlin"]})

FILLS = ("none", "null", "previous", "linear")
Fill = Literal["none", "null", "previous", "linear"] | float
"""What stands where a window has no number; a number stands for itself."""


def _fill(value: object, info: ValidationInfo) -> Fill:
    filled = cast(Fill, value) if value in FILLS else number(value)
    if filled != "none" and info.data.get("step") is None and "step" in info.data:
        raise ValueError(f"{shortened(repr(value))} fills windows, and there are none without a step; allowed: none")
    return filled


class Measure(NamedTuple):
    """A function of a metric."""

    metric: str
    fn: str


def _order_by(value: object, info: ValidationInfo) -> Measure:
    """The first pair of the request unless another is named."""
    metrics, fns = info.data.get("metric"), info.data.get("fn")
    if value is None or metrics is None or fns is None:  # then their own faults are told
        return Measure(*(names[0] if names else "" for names in (metrics, fns)))
    match = ORDERING.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError(f"{shortened(str(value))!r} is not fn(metric)")
    fn, metric = match.groups()
    if metric not in metrics or fn not in fns:
        raise ValueError(f"{shortened(str(value))!r} is not asked for; allowed: a fn and a metric of the request")
    return Measure(metric, fn)


class AggregateRequest(Request):
    """`/api/v1/aggregate`: functions of metrics of one measurement, over the points in [start, end).

    Windows begin at whole multiples of `step`, as `time_bucket` has them: the first may begin before `start`, and
    holds only the points that do not. `end` stands before `start` here since its value decides that of `start`.
    """

    comma_separated = frozenset({"fn", "by"})

    metric: Metrics = Field(
        min_length=1, description="measurement.field, as in cpu.usage_user; one or more, of one measurement"
    )
    fn: Annotated[
        tuple[Annotated[str, AfterValidator(functions.check), text_like(functions.NAME, "avg", "max", "p99")], ...],
        BeforeValidator(split),
        AfterValidator(unique),
    ] = Field(("avg",), min_length=1, description=f"{functions.ALLOWED_FUNCTIONS}; one or more")
    by: Annotated[tuple[Text, ...], BeforeValidator(split), AfterValidator(unique)] = Field(
        (),
        description="tags to group by, comma-separated, or in JSON a list, whose names may have commas; absent means "
        "all series together",
    )
    end: Moment = as_written("now", description=ALLOWED_TIMES)
    start: Start = as_written(None, description=ALLOWED_TIMES)
    step: Annotated[InstanceOf[Step], BeforeValidator(parse_step), text_like(STEP, "5m", "1h", "1mo")] | None = Field(
        None, description=ALLOWED_STEPS
    )
    tz: Annotated[InstanceOf[ZoneInfo], BeforeValidator(parse_zone), ZONE] | None = Field(
        None, description=f"{ALLOWED_ZONES}; windows of days and longer begin at its midnight"
    )
    match: Matchers = Field((), description=ALLOWED_MATCHERS)
    fill: Annotated[Fill, BeforeValidator(_fill)] = Field("none", description=f"{', '.join(FILLS)}, or a number")
    order: Literal["asc", "desc"] | None = Field(
        None, description="asc, desc: the order of series by their value over the whole range, those without one last"
    )
    order_by: Annotated[InstanceOf[Measure], BeforeValidator(_order_by), text_like(ORDERING, "avg(cpu.usage_user)")] = (
        as_written(
            None,
            description="fn(metric), one of those asked for: max(cpu.usage_user); the first unless given",
        )
    )
    limit: Count | None = Field(None, description=f"{ALLOWED_COUNTS}: how many series, from the top unless order=asc")
    resolution: Text = Field("auto", description="auto, raw, or a rollup by its width or name: 10m, 1h, cpu_10m")

    @property
    def windows(self) -> Windows | None:
        """The windows of the step; None for one over the whole range."""
        return None if self.step is None else windows(self.step, self.tz)

    @property
    def is_ranked(self) -> bool:
        """Whether the order of series matters; there is but one without tags to group by."""
        return bool(self.by) and (self.order is not None or self.limit is not None)

    @property
    def ranking(self) -> AggregateRequest | None:
        """The request for the one value of each curve by which they are ordered; None where the answer has it."""
        if not self.is_ranked or self.step is None:
            return None
        return self.model_copy(update={"fn": (self.order_by.fn,), "step": None, "fill": "none"})
