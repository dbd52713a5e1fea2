"""Points as JSON: one object, an array of them, or one a line (NDJSON).

The full form names its parts, `{"measurement": "cpu", "time": ..., "tags": {...}, "fields": {...}}`; the flat form
is any other object, where strings are tags and numbers are fields: `{"host": "web-1", "cpu_usage": 12.5}`. In both,
`measurement` is `metrics` when absent and `time` is RFC 3339 or a number in the request's precision, now when
absent. Booleans are 1 and 0; null is as good as absent; a field that is not a number is skipped, and so are NaN and
Infinity, which some encoders write although JSON has neither. Of a member given twice, the last counts.

Arrays are read element by element and lines one by one: a long body parsed at once would hold everybody else up,
and take many times its size in memory. So the points of an array up to a fault are taken, and all lines but the
faulty.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from itertools import count, islice
from typing import Any

import orjson

from ingest.names import Rejected, listed, shown
from ingest.points import Batch
from ingest.series import SeriesCache
from ingest.timestamps import Window, parse_rfc3339
from service.errors import BadRequest

DEFAULT_MEASUREMENT = "metrics"
MEMBERS = ("measurement", "time", "tags", "fields")

POINTS_BETWEEN_PAUSES = 100
MAX_POINT_CHARACTERS = 1024 * 1024
"""The longest element or line that is parsed: no point within the other bounds is near it."""
FIRST_TRY_CHARACTERS = 4096
LINES_LOOKED_AT = 100
"""How many lines are tried before a body is found to be no NDJSON."""

PARSER = json.JSONDecoder()
SPACE = re.compile(r"[ \t\r\n]*")
LINE = re.compile(rb"[^\s][^\n]*")
EMPTY_ARRAY = re.compile(r"[ \t\r\n]*\[[ \t\r\n]*\][ \t\r\n]*")

Parsed = tuple[int, Any]
"""A place in the body, and what stands there: a JSON value, or the `Rejected` that says why there is none."""


def decode(
    body: bytes, batch: Batch, cache: SeriesCache, *, precision_ns: int, window: Window, lines: bool
) -> Iterator[None]:
    """Add every point of `body` to `batch`, and pause now and then and at the end: the caller iterates.

    `lines` says that the client declared NDJSON; undeclared, it is recognised. Raises `BadRequest` when the body
    as a whole is not JSON.
    """
    for done, (place, element) in enumerate(_elements(body, batch, lines), start=1):
        try:
            _add(element, place, batch, cache, precision_ns, window)
        except Rejected as rejected:
            batch.reject(place, rejected.reason, str(rejected))
        if done % POINTS_BETWEEN_PAUSES == 0:
            yield
    yield


def _elements(body: bytes, batch: Batch, lines: bool) -> Iterator[Parsed]:
    first = LINE.search(body)
    if first is None or lines or _is_object(first[0]):
        return _by_line(body)
    try:
        elements = _array(_text(body)) if first[0].startswith(b"[") else iter([(0, _alone(body))])
    except Rejected as rejected:
        if any(_is_object(line[0]) for line in islice(LINE.finditer(body), LINES_LOOKED_AT)):
            return _by_line(body)
        raise BadRequest(f"the body is {rejected}") from None
    batch.place_name = "index"
    return elements


def _is_object(line: bytes) -> bool:
    try:
        return line.startswith(b"{") and isinstance(_alone(line), dict)
    except Rejected:
        return False


def _by_line(body: bytes) -> Iterator[Parsed]:
    number, end = 1, 0
    for line in LINE.finditer(body):
        number += body.count(b"\n", end, line.start())
        end = line.start()
        try:
            yield number, _alone(line[0])
        except Rejected as rejected:
            yield number, rejected


def _array(text: str) -> Iterator[Parsed]:
    """Each element of the array that `text` begins with; after them a `Rejected` if it does not end as one."""
    if EMPTY_ARRAY.fullmatch(text):
        return
    at = text.index("[") + 1
    for place in count():
        try:
            value, at = _value(text, _skip_space(text, at))
        except Rejected as rejected:
            yield place, rejected
            return
        yield place, value
        at = _skip_space(text, at)
        if not text.startswith(",", at):
            break
        at += 1
    if not text.startswith("]", at):
        yield place + 1, Rejected("syntax", f"not JSON: expected a comma or ] at character {at + 1}")
    elif (at := _skip_space(text, at + 1)) < len(text):
        yield place + 1, Rejected("syntax", f"not JSON: expected the end after the array, at character {at + 1}")


def _alone(raw: bytes) -> Any:
    """The one value that `raw` holds. Raises `Rejected`."""
    if len(raw) > MAX_POINT_CHARACTERS:
        raise Rejected("syntax", f"longer than {MAX_POINT_CHARACTERS} bytes, which no point is")
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError:
        pass  # there may be a NaN in it, which orjson does not read
    text = _text(raw)
    value, end = _value(text, _skip_space(text, 0))
    if (end := _skip_space(text, end)) < len(text):
        raise Rejected("syntax", f"not JSON: expected the end at character {end + 1}")
    return value


def _value(text: str, at: int) -> tuple[Any, int]:
    """The value that begins at `at`, and where it ends. Raises `Rejected`.

    It is looked for in a short piece first, and then in longer ones: what follows it is not to be copied each time.
    """
    size = FIRST_TRY_CHARACTERS
    while size <= MAX_POINT_CHARACTERS:
        is_rest = at + size >= len(text)
        try:
            value, length = PARSER.raw_decode(text[at : at + size])
        except (ValueError, RecursionError) as error:
            if is_rest:
                raise _not_json(error, at) from None
        else:
            if length < size or is_rest:  # a number that ends where the piece ends may go on
                return value, at + length
        size *= 16
    raise Rejected("syntax", f"not JSON, or longer than {MAX_POINT_CHARACTERS} characters, from character {at + 1} on")


def _not_json(error: ValueError | RecursionError, at: int) -> Rejected:
    if isinstance(error, json.JSONDecodeError):
        return Rejected("syntax", f"not JSON: {error.msg}, at character {at + error.pos + 1}")
    what = "it is nested too deeply" if isinstance(error, RecursionError) else "a number has too many digits"
    return Rejected("syntax", f"not JSON that is read here: {what}")


def _text(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        raise Rejected("syntax", f"not UTF-8, at byte {error.start + 1}") from None


def _skip_space(text: str, at: int) -> int:
    space = SPACE.match(text, at)
    return space.end() if space else at


def _add(element: Any, place: int, batch: Batch, cache: SeriesCache, precision_ns: int, window: Window) -> None:
    if isinstance(element, Rejected):
        raise element
    if not isinstance(element, dict):
        raise Rejected("syntax", f"a point is an object, not {_kind(element)}")
    full = any(isinstance(element.get(part), (dict, list)) for part in ("tags", "fields"))
    tags, fields, skipped = _full(element) if full else _flat(element)
    measurement = element.get("measurement")
    if measurement is None:
        measurement = DEFAULT_MEASUREMENT
    elif not isinstance(measurement, str):
        raise Rejected("syntax", f"measurement is a string, not {_kind(measurement)}")
    time = _time(element.get("time"), precision_ns, window)
    if not fields:
        raise Rejected("no_number", f"no field is a number{f': {listed(skipped)}' if skipped else ''}")
    batch.add(cache.find(measurement, tags), time, fields, place)
    for name in skipped:
        batch.skip_field(name)


def _full(element: dict[str, Any]) -> tuple[dict[str, str], dict[str, float], list[str]]:
    for member in element:
        if member not in MEMBERS:
            raise Rejected("syntax", f"unknown member {shown(member)!r}; a point has {', '.join(MEMBERS)}")
    tags = {}
    for key, value in _object(element, "tags").items():
        if not key:
            raise Rejected("syntax", "a tag's key is empty")
        if (text := _tag_value(key, value)) != "":
            tags[key] = text
    fields: dict[str, float] = {}
    skipped: list[str] = []
    for name, value in _object(element, "fields").items():
        _take(name, value, fields, skipped)
    return tags, fields, skipped


def _flat(element: dict[str, Any]) -> tuple[dict[str, str], dict[str, float], list[str]]:
    tags: dict[str, str] = {}
    fields: dict[str, float] = {}
    skipped: list[str] = []
    for name, value in element.items():
        if name in ("time", "measurement"):
            continue
        if not isinstance(value, str):
            _take(name, value, fields, skipped)
        elif value and name:
            tags[name] = value
    return tags, fields, skipped


def _take(name: str, value: Any, fields: dict[str, float], skipped: list[str]) -> None:
    """Put a number into `fields`; note the name of anything else, but for null, in `skipped`."""
    if isinstance(value, (int, float)):
        number = _finite(value)
        if number is not None:
            fields[name] = number
            return
    if value is not None:
        skipped.append(name)


def _finite(value: int | float) -> float | None:
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def _object(element: dict[str, Any], part: str) -> dict[str, Any]:
    value = element.get(part)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise Rejected("syntax", f"{part} is an object, not {_kind(value)}")
    return value


def _tag_value(key: str, value: Any) -> str:
    """A tag's text; numbers and booleans are written as JSON writes them, null is the empty text."""
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, (bool, int, float)):
        return json.dumps(value)
    raise Rejected("syntax", f"the value of tag {shown(key)!r} is a string, not {_kind(value)}")


def _time(value: Any, precision_ns: int, window: Window) -> int:
    if value is None:
        return window.now
    if isinstance(value, str):
        return window.check(parse_rfc3339(value))
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise Rejected("time", f"time is RFC 3339 or a number, not {_kind(value)}")
    if not abs(value) < 1e20:  # also true of NaN
        raise Rejected("time", f"time {str(value)[:40]} is out of range")
    exact = value * precision_ns // 1000 if isinstance(value, int) else round(value * (precision_ns / 1000))
    return window.check(exact)


_KINDS: list[tuple[type, str]] = [
    (bool, "a boolean"),
    (int, "a number"),
    (float, "a number"),
    (str, "a string"),
    (list, "an array"),
    (dict, "an object"),
]


def _kind(value: Any) -> str:
    return next((name for kind, name in _KINDS if isinstance(value, kind)), "null")
