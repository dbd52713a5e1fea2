"""Requests: the parameters of a query string or a JSON body become one checked value. Pure.

Both forms have the same names and the same checks. In a query string a list is repeated, or comma-separated
for `fn` and `by`; in JSON a list is a list, or a text as in a query string. A fault is a `BadRequest` that
names the parameter, what is wrong with it and what is allowed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, Any, ClassVar, Literal, TypeVar, cast, get_args, get_origin

import orjson
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    InstanceOf,
    ValidationError,
    ValidationInfo,
)
from pydantic_core import ErrorDetails

from query.times import ALLOWED_STEPS, ALLOWED_TIMES, EARLIEST, Step, parse_step, parse_time, shortened, written
from service.errors import BadRequest

Function = Literal["avg", "min", "max", "sum", "count", "first", "last"]
Operator = Literal["=", "!=", "=~", "!~"]

MAX_METRIC_LENGTH = 127
"""A measurement and a field of 63 bytes each, and the dot between them."""

COMMA_SEPARATED = ("fn", "by")

MATCHER = re.compile(r"([^=!]+)(=~|!~|!=|=)(.*)", re.DOTALL)
ALLOWED_MATCHERS = "tag=value, tag!=value, tag=~regex, tag!~regex; a regex matches the whole value"

DEFAULT_RANGE = timedelta(hours=1)

FAULTS = {
    "missing": "required",
    "too_short": "at least one is needed",
    "string_too_long": "longer than any name can be",
    "string_type": "not a text",
    "tuple_type": "neither a text nor a list of texts",
}
"""pydantic's kinds of faults, for people who do not know its types."""

RequestT = TypeVar("RequestT", bound="Request")


@dataclass(frozen=True, slots=True)
class Matcher:
    """What a tag must be; a series without the tag has the empty text, as in Prometheus."""

    tag: str
    operator: Operator
    value: str

    @property
    def is_regex(self) -> bool:
        """Whether the value is a regular expression."""
        return self.operator in ("=~", "!~")


def _text(value: str) -> str:
    if not value:
        raise ValueError("a name is empty")
    return _without_nul(value)


def _without_nul(value: str) -> str:
    """PostgreSQL's text cannot hold a NUL: no name and no tag has one."""
    if "\0" in value:
        raise ValueError(f"{shortened(value)!r} has a NUL character")
    return value


def _metric(value: str) -> str:
    if "." not in value[1:-1]:
        raise ValueError(f"{shortened(value)!r} is not measurement.field")
    return _text(value)


def _one_or_more(value: object) -> object:
    return (value,) if isinstance(value, str) else value


def _split(value: object) -> object:
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


def _unique(values: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(dict.fromkeys(values))


def _moment(value: object, info: ValidationInfo) -> datetime:
    assert info.context is not None, "parse hands in the present"
    return parse_time(value, info.context["now"])


def _start(value: object, info: ValidationInfo) -> object:
    """Absent, it is an hour before `end`; when `end` has a fault of its own, that is the one to tell."""
    end = info.data.get("end")
    if value is None:
        return EARLIEST if end is None else end - DEFAULT_RANGE
    start = _moment(value, info)
    if end is not None and start >= end:
        raise ValueError(f"{written(start)} is not before end, {written(end)}; allowed: an earlier time")
    return start


def _matcher(value: object) -> Matcher:
    match = MATCHER.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError(f"{shortened(str(value))!r} is not a matcher; allowed: {ALLOWED_MATCHERS}")
    tag, operator, operand = match.groups()
    return Matcher(_without_nul(tag), cast(Operator, operator), _without_nul(operand))


def _as_written(default: object) -> Any:
    """A default in the form of a request, which the field's own checks turn into its value."""
    return default


Text = Annotated[str, AfterValidator(_text)]
Moment = Annotated[InstanceOf[datetime], BeforeValidator(_moment)]
Matchers = Annotated[
    tuple[Annotated[InstanceOf[Matcher], BeforeValidator(_matcher)], ...],
    BeforeValidator(_one_or_more),
    AfterValidator(_unique),
]


class Request(BaseModel):
    """The base of every request: frozen, and an unknown parameter is a fault."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)
    later: ClassVar[frozenset[str]] = frozenset()
    """Parameters that the API has a place for, and this version does not know yet."""


class AggregateRequest(Request):
    """`/api/v1/aggregate`: functions of metrics of one measurement, over the points in [start, end).

    Windows begin at whole multiples of `step`, as `time_bucket` has them: the first may begin before `start`, and
    holds only the points that do not. `end` stands before `start` here since its value decides that of `start`.
    """

    later = frozenset({"tz", "order", "limit"})

    metric: Annotated[
        tuple[Annotated[str, Field(max_length=MAX_METRIC_LENGTH), AfterValidator(_metric)], ...],
        BeforeValidator(_one_or_more),
        AfterValidator(_unique),
    ] = Field(min_length=1, description="measurement.field, as in cpu.usage_user; one or more, of one measurement")
    fn: Annotated[tuple[Function, ...], BeforeValidator(_split), AfterValidator(_unique)] = Field(
        ("avg",),
        min_length=1,
        description=f"{', '.join(get_args(Function))}; one or more "
        "(stddev, median, p0 to p100, rate, increase and delta are not available yet)",
    )
    by: Annotated[tuple[Text, ...], BeforeValidator(_split), AfterValidator(_unique)] = Field(
        (), description="tags to group by, comma-separated; absent means all series together"
    )
    end: Moment = Field(_as_written("now"), description=ALLOWED_TIMES)
    start: Annotated[InstanceOf[datetime], BeforeValidator(_start)] = Field(
        _as_written(None), description=ALLOWED_TIMES
    )
    step: Annotated[InstanceOf[Step], BeforeValidator(parse_step)] | None = Field(None, description=ALLOWED_STEPS)
    match: Matchers = Field((), description=ALLOWED_MATCHERS)
    fill: Literal["none"] = Field("none", description="none (null, previous, linear and numbers are not available yet)")
    resolution: Literal["auto", "raw"] = Field("auto", description="auto, raw")


class HostsRequest(Request):
    """`/api/v1/hosts`: the hosts that match, and when each was last seen since `since`."""

    since: Moment = Field(_as_written("-24h"), description=ALLOWED_TIMES)
    match: Matchers = Field((), description=ALLOWED_MATCHERS)


class MeasurementsRequest(Request):
    """`/api/v1/measurements` has no parameters."""


class FieldsRequest(Request):
    """`/api/v1/fields`: those of one measurement, or of all."""

    measurement: Text | None = Field(None, description="a measurement's name; absent means all")


def from_query(model: type[Request], pairs: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """The parameters of a query string. Raises `BadRequest` when one that takes one value has several."""
    given: dict[str, list[str]] = {}
    for name, value in pairs:
        given.setdefault(name, []).append(value)
    data: dict[str, Any] = {}
    for name, values in given.items():
        field = model.model_fields.get(name)
        if name in COMMA_SEPARATED:
            data[name] = ",".join(values)
        elif field is not None and get_origin(field.annotation) is tuple:
            data[name] = values
        elif len(values) == 1:
            data[name] = values[0]
        else:
            raise BadRequest(f"{shortened(name)}: given {len(values)} times, allowed is once", parameter=name)
    return data


def from_json(body: bytes) -> dict[str, Any]:
    """The parameters of a JSON body; one that is null counts as absent. Raises `BadRequest` for other bodies."""
    try:
        data = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise BadRequest(f"the body is not JSON: {error}; allowed: an object of parameters") from None
    if not isinstance(data, dict):
        raise BadRequest("the body is not a JSON object; allowed: an object of parameters")
    return {name: value for name, value in data.items() if value is not None}


def parse(model: type[RequestT], data: Mapping[str, Any], now: datetime) -> RequestT:
    """The checked request. Raises `BadRequest` that names every parameter with a fault; `now` is in UTC."""
    try:
        return model.model_validate(data, context={"now": now})
    except ValidationError as error:
        faults: dict[str, str] = {}
        for fault in error.errors(include_url=False):
            faults.setdefault(shortened(str(fault["loc"][0])), _explain(model, fault))
        raise BadRequest("; ".join(faults.values()), parameter=next(iter(faults))) from None


def _explain(model: type[Request], fault: ErrorDetails) -> str:
    name = shortened(str(fault["loc"][0]))
    if fault["type"] == "extra_forbidden":
        if name in model.later:
            return f"{name}: not available yet"
        return f"{name}: there is no such parameter; allowed: {', '.join(model.model_fields) or 'none'}"
    if fault["type"] == "value_error":
        text = str(fault["ctx"]["error"])
    elif fault["type"] == "literal_error":
        text = f"{shortened(repr(fault['input']))} is not known"
    else:
        text = FAULTS.get(fault["type"], fault["msg"])
    if "; allowed: " in text:
        return f"{name}: {text}"
    return f"{name}: {text}; allowed: {model.model_fields[name].description}"
