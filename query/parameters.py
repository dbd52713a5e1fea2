"""The form of requests: the parameters of a query string or a JSON body become one checked value. Pure.

Both forms have the same names and the same checks. In a query string a list is repeated, or comma-separated
where its parameter says so; in JSON a list is a list, or a text as in a query string. A fault is a `BadRequest`
that names the parameter, what is wrong with it and what is allowed.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from itertools import islice
from typing import Annotated, Any, ClassVar, Literal, TypeVar, cast, get_origin
from urllib.parse import unquote_to_bytes

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
    WithJsonSchema,
)
from pydantic_core import ErrorDetails

from query.position import ALLOWED_POSITIONS, WRITTEN, Position, parse_position
from query.times import EARLIEST, TIMES, parse_time, shortened, written
from service.errors import BadRequest

Operator = Literal["=", "!=", "=~", "!~"]

MAX_METRIC_LENGTH = 127
"""A measurement and a field of 63 bytes each, and the dot between them."""

MOST_ITEMS = 1000
"""Of a list in a request: before each of them is looked at. The settings' bounds are lower."""

NO_NUL = r"^[^\x00]*$"
METRIC = re.compile(r"[^\x00]+\.[^\x00]+")
MATCHER = re.compile(r"((?:[^=!]|!(?![=~]))+)(=~|!~|!=|=)(.*)", re.DOTALL)
ALLOWED_MATCHERS = (
    "tag=value, tag!=value, tag=~regex, tag!~regex; the tag ends at the first operator, a regex matches the whole value"
)

FORMAT = "format"
"""The parameter that every request has beside its own: how it is answered is no part of what is asked."""

DEFAULT_RANGE = timedelta(hours=1)

MOST_FAULTS = 10
"""How many parameters at fault are told: a body may have tens of thousands."""

ALLOWED_COUNTS = "a whole number above 0"
MOST_DIGITS = 18
"""Of a whole number in a request: what is longer is past every bound, and past PostgreSQL's bigint."""

NUMBER = re.compile(r"[-+]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]{1,3})?")

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

    def __str__(self) -> str:
        return f"{self.tag}{self.operator}{self.value}"


def text(value: str) -> str:
    """A name: not empty, and without what no name can have."""
    if not value:
        raise ValueError("a name is empty")
    return _without_nul(value)


def _without_nul(value: str) -> str:
    """PostgreSQL's text cannot hold a NUL: no name and no tag has one."""
    if "\0" in value:
        raise ValueError(f"{shortened(value)!r} has a NUL character")
    return value


def number(value: object) -> float:
    """A finite number, or a text that writes one. Raises `ValueError` for anything else."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if is_number or (isinstance(value, str) and NUMBER.fullmatch(value)):
        found = float(cast(str, value))
        if math.isfinite(found):
            return found
    raise ValueError(f"{shortened(repr(value))} is not known")


def whole(value: object) -> int:
    """A whole number that is not negative, or a text that writes one. Raises `ValueError` for anything else."""
    text = str(value)
    if isinstance(value, bool) or not (text.isascii() and text.isdigit() and len(text) <= MOST_DIGITS):
        raise ValueError(f"{shortened(text)!r} is not a whole number")
    return int(text)


def _positive(value: int) -> int:
    if value < 1:
        raise ValueError(f"{value} is not above 0")
    return value


def _metric(value: str) -> str:
    if "." not in value[1:-1]:
        raise ValueError(f"{shortened(value)!r} is not measurement.field")
    return text(value)


def one_or_more(value: object) -> object:
    """A text stands for a list of one. Raises `ValueError` for too long a list."""
    return (value,) if isinstance(value, str) else _few(value)


def split(value: object) -> object:
    """A text stands for the list whose commas it has. Raises `ValueError` for too long a list."""
    parts = tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value
    return _few(parts)


def _few(value: object) -> object:
    if isinstance(value, list | tuple) and len(value) > MOST_ITEMS:
        raise ValueError(f"{len(value)} given; allowed: at most {MOST_ITEMS}")
    return value


def unique(values: tuple[Any, ...]) -> tuple[Any, ...]:
    """Each value once, where it came first."""
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


def text_like(pattern: re.Pattern[str], *examples: str) -> WithJsonSchema:
    """What stands in the API's description for a value that is written as text."""
    return WithJsonSchema({"type": "string", "pattern": f"^(?:{pattern.pattern})$", "examples": list(examples)})


def as_written(default: object, **about: Any) -> Any:
    """A field with a default in the form of a request, which the field's own checks turn into its value."""
    return Field(default, validate_default=True, **about)


Count = Annotated[int, BeforeValidator(whole), AfterValidator(_positive), Field(json_schema_extra={"minimum": 1})]
Text = Annotated[str, Field(json_schema_extra={"minLength": 1, "pattern": NO_NUL}), AfterValidator(text)]
Metrics = Annotated[
    tuple[
        Annotated[
            str,
            Field(max_length=MAX_METRIC_LENGTH),
            AfterValidator(_metric),
            text_like(METRIC, "cpu.usage_user"),
        ],
        ...,
    ],
    BeforeValidator(one_or_more),
    AfterValidator(unique),
]
TIME = text_like(TIMES, "-1h", "2026-11-22T08:00:00Z", "1795334400")
Moment = Annotated[InstanceOf[datetime], BeforeValidator(_moment), TIME]
Start = Annotated[InstanceOf[datetime], BeforeValidator(_start), TIME]
"""The start of a range whose `end` stands before it in its request."""
Matchers = Annotated[
    tuple[
        Annotated[
            InstanceOf[Matcher],
            BeforeValidator(_matcher),
            text_like(MATCHER, "host=web-1", "host=~web-.*", "os!=linux"),
        ],
        ...,
    ],
    BeforeValidator(one_or_more),
    AfterValidator(unique),
]


def _position(value: object) -> Position:
    return parse_position(value)


Positions = Annotated[
    tuple[
        Annotated[InstanceOf[Position], BeforeValidator(_position), text_like(WRITTEN, "1-0/16B3748")],
        ...,
    ],
    BeforeValidator(one_or_more),
    AfterValidator(unique),
]


class Request(BaseModel):
    """The base of every request: frozen, and an unknown parameter is a fault."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    comma_separated: ClassVar[frozenset[str]] = frozenset()
    """Lists that a text may hold with commas between."""

    consistency: Literal["fresh", "strong"] = Field(
        "fresh",
        description="fresh (the replica, if there is one that is fresh enough), strong (the primary)",
    )
    position: Positions = Field(
        (),
        description=f"{ALLOWED_POSITIONS}: the answer has what was committed by then; repeatable, all must hold; also "
        "the request's header of that name",
    )


def check_encoding(url: str) -> None:
    """Raise `BadRequest` for a URL of which a part would be taken for another, or not at all.

    That is what is percent-encoded and no text; and what stands after a #, which no client sends unless it forgot to
    encode it.
    """
    if "#" in url:
        raise BadRequest("a # in a URL ends its parameters; allowed: %23 in its place")
    if not _is_text(url):
        path, _, query = url.partition("?")
        wrong = next(part for part in (path, *query.split("&")) if not _is_text(part))
        raise BadRequest(f"{shortened(wrong)!r} is not UTF-8; allowed: percent-encoded UTF-8")


def _is_text(written: str) -> bool:
    try:
        unquote_to_bytes(written).decode()
    except UnicodeError:
        return False
    return True


def from_query(model: type[Request], pairs: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """The parameters of a query string. Raises `BadRequest` when one that takes one value has several."""
    given: dict[str, list[str]] = {}
    for name, value in pairs:
        given.setdefault(name, []).append(value)
    data: dict[str, Any] = {}
    ways = _ways(model)
    for name, values in given.items():
        way = ways.get(name, "repeated")  # what is unknown is told to be so, however often it is given
        if way == "with commas":
            data[name] = ",".join(values)
        elif way == "repeated":
            data[name] = values
        elif len(values) == 1:
            data[name] = values[0]
        else:
            raise BadRequest(f"{shortened(name)}: given {len(values)} times, allowed is once", parameter=name)
    return data


@cache
def _ways(model: type[Request]) -> dict[str, Literal["once", "repeated", "with commas"]]:
    """How each parameter is given."""
    ways: dict[str, Literal["once", "repeated", "with commas"]] = {FORMAT: "once"}
    for name, field in model.model_fields.items():
        is_list = get_origin(field.annotation) is tuple
        ways[name] = "with commas" if name in model.comma_separated else "repeated" if is_list else "once"
    return ways


def from_json(body: bytes) -> dict[str, Any]:
    """The parameters of a JSON body; one that is null counts as absent. Raises `BadRequest` for other bodies."""
    try:
        data = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise BadRequest(f"the body is not JSON: {error}; allowed: an object of parameters") from None
    if not isinstance(data, dict):
        raise BadRequest("the body is not a JSON object; allowed: an object of parameters")
    return {name: value for name, value in data.items() if value is not None}


def with_header(data: dict[str, Any], lines: Sequence[str]) -> dict[str, Any]:
    """The same parameters with the positions that a request's headers add, which may have several, comma-separated."""
    given = data.get("position", ())
    added = [part for line in lines for part in line.split(",") if part.strip()]
    if not added or not isinstance(given, str | list | tuple):
        return data
    return {**data, "position": [*([given] if isinstance(given, str) else given), *added]}


def parse(model: type[RequestT], data: Mapping[str, Any], now: datetime) -> RequestT:
    """The checked request. Raises `BadRequest` that names every parameter with a fault; `now` is in UTC."""
    try:
        return model.model_validate(data, context={"now": now})
    except ValidationError as error:
        faults: dict[str, ErrorDetails] = {}
        for fault in error.errors(include_url=False):
            faults.setdefault(str(fault["loc"][0]), fault)
        told = [_explain(model, fault) for fault in islice(faults.values(), MOST_FAULTS)]
        if len(faults) > MOST_FAULTS:
            told.append(f"and {len(faults) - MOST_FAULTS} more")
        raise BadRequest("; ".join(told), parameter=shortened(next(iter(faults)))) from None


def _explain(model: type[Request], fault: ErrorDetails) -> str:
    name = shortened(str(fault["loc"][0]))
    if fault["type"] == "extra_forbidden":
        own = [one for one in model.model_fields if one not in Request.model_fields]
        return f"{name}: there is no such parameter; allowed: {', '.join([*own, FORMAT, *Request.model_fields])}"
    if fault["type"] == "value_error":
        text = str(fault["ctx"]["error"])
    elif fault["type"] == "literal_error":
        text = f"{shortened(repr(fault['input']))} is not known"
    else:
        text = FAULTS.get(fault["type"], fault["msg"])
    if "; allowed: " in text:
        return f"{name}: {text}"
    return f"{name}: {text}; allowed: {model.model_fields[name].description}"
