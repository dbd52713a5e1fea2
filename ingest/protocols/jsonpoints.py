"""Points as JSON: one object, an array of them, or one a line (NDJSON).

The full form names its parts, `{"measurement": "cpu", "time": ..., "tags": {...}, "fields": {...}}`; the flat form
is any other object, where strings are tags and numbers are fields: `{"host": "web-1", "cpu_usage": 12.5}`. In both,
`measurement` is `metrics` when absent and `time` is RFC 3339 or a number in the request's precision, now when
absent. Booleans are 1 and 0; null is as good as absent; a field that is not a number is skipped.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Any

import orjson

from ingest.names import Rejected
from ingest.points import Batch
from ingest.series import SeriesCache
from ingest.timestamps import Window, parse_rfc3339
from service.errors import BadRequest

DEFAULT_MEASUREMENT = "metrics"
MEMBERS = ("measurement", "time", "tags", "fields")
POINTS_BETWEEN_PAUSES = 500

Parsed = tuple[int, Any]
"""A place in the body, and what stands there: a JSON value, or the `Rejected` that says why there is none."""


def decode(
    body: bytes, batch: Batch, cache: SeriesCache, *, precision_ns: int, window: Window, lines: bool
) -> Iterator[None]:
    """Add every point of `body` to `batch`, and pause now and then: the caller iterates to the end.

    `lines` says that the client declared NDJSON; undeclared, it is recognised. Raises `BadRequest` when the body
    as a whole is not JSON.
    """
    for count, (place, element) in enumerate(_elements(body, batch, lines), start=1):
        try:
            _add(element, place, batch, cache, precision_ns, window)
        except Rejected as rejected:
            batch.reject(place, rejected.reason, str(rejected))
        if count % POINTS_BETWEEN_PAUSES == 0:
            yield


def _elements(body: bytes, batch: Batch, lines: bool) -> Iterator[Parsed]:
    if not lines:
        try:
            document = _parse(body)
        except ValueError as error:
            lines = _looks_like_lines(body)
            if not lines:
                raise BadRequest(f"the body is not JSON: {error}") from None
        else:
            batch.place_name = "index"
            return iter(enumerate(document if isinstance(document, list) else [document]))
    batch.place_name = "line"
    return _by_line(body)


def _looks_like_lines(body: bytes) -> bool:
    """Whether some line is a whole JSON object, though the body is not: then each line stands for itself."""
    return any(_is_object(line) for line in body.splitlines() if line.startswith(b"{"))


def _is_object(line: bytes) -> bool:
    try:
        return isinstance(_parse(line), dict)
    except ValueError:
        return False


def _by_line(body: bytes) -> Iterator[Parsed]:
    for number, line in enumerate(body.split(b"\n"), start=1):
        if not line or line.isspace():
            continue
        try:
            yield number, _parse(line)
        except ValueError as error:
            yield number, Rejected("syntax", f"not JSON: {error}")


def _parse(text: bytes) -> Any:
    """Parse JSON, and the NaN and Infinity that some encoders write although JSON has none.

    Raises ValueError; its text says where.
    """
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        if b"NaN" not in text and b"Infinity" not in text:
            raise
        try:
            return json.loads(text)
        except (ValueError, RecursionError):
            raise error from None


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
        raise Rejected("no_number", f"no field is a number{f': {_some(skipped)}' if skipped else ''}")
    batch.add(cache.find(measurement, tags), time, fields, place)
    for name in skipped:
        batch.skip_field(name)


def _full(element: dict[str, Any]) -> tuple[dict[str, str], dict[str, float], list[str]]:
    for member in element:
        if member not in MEMBERS:
            raise Rejected("syntax", f"unknown member {member[:60]!r}; a point has {', '.join(MEMBERS)}")
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
        return orjson.dumps(value).decode()
    raise Rejected("syntax", f"the value of tag {key[:60]!r} is a string, not {_kind(value)}")


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


def _some(names: list[str]) -> str:
    shown = ", ".join(name[:60] for name in names[:5])
    return shown + (", ..." if len(names) > 5 else "") + (" is none" if len(names) == 1 else " are none")
