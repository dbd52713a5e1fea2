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

import codecs
import json
import math
import re
from collections.abc import Collection, Iterator
from itertools import islice
from typing import Any

import orjson

from ingest.names import Rejected, listed, shown
from ingest.points import Batch
from ingest.series import SeriesCache
from ingest.timestamps import Window, parse_rfc3339
from service.errors import BadRequest

DEFAULT_MEASUREMENT = "metrics"
MEMBERS = ("measurement", "time", "tags", "fields")

WORK_BETWEEN_PAUSES = 128 * 1024
"""In bytes of the body: a millisecond's work or two."""
POINT_WORK = 400
"""What a point costs at least, in bytes that it would cost as much to read."""
MAX_POINT_BYTES = 1024 * 1024
"""The longest element or line that is parsed: no point within the other bounds is near it. So is white space."""
FIRST_TRY_BYTES = 4096
RUN_BYTES = 64 * 1024
"""How much of an array is parsed at once, if it can be."""
LINES_LOOKED_AT = 100
"""How many lines are tried before a body is found to be no NDJSON."""
REMEMBERED_LINES, REMEMBERED_BYTES = 1000, 200
"""How many lines that are no JSON are remembered, and how long they are at most: rubbish repeats itself."""

PARSER = json.JSONDecoder()
SPACE = re.compile(rb"[ \t\r\n]*")
NO_SPACE = re.compile(rb"\S")
LINE = re.compile(rb"\S[^\n]*")

NUMBERS = {int, float}
STRINGS = {str}

Parsed = tuple[int, Any, int]
"""A place in the body, what stands there (a JSON value, or the `Rejected` that says why there is none), and how many
bytes were read for it."""


def decode(
    body: bytes, batch: Batch, cache: SeriesCache, *, precision_ns: int, window: Window, lines: bool
) -> Iterator[None]:
    """Add every point of `body` to `batch`, and pause now and then and at the end: the caller iterates.

    `lines` says that the client declared NDJSON; undeclared, it is recognised. Raises `BadRequest` when the body
    as a whole is not JSON.
    """
    work = 0
    for place, element, size in _elements(body, batch, lines):
        if isinstance(element, dict):
            try:
                _add(element, place, batch, cache, precision_ns, window)
            except Rejected as rejected:
                batch.reject(place, rejected.reason, str(rejected))
        elif isinstance(element, Rejected):
            batch.reject(place, element.reason, str(element))
        else:
            batch.reject(place, "syntax", f"a point is an object, not {_kind(element)}")
        work += POINT_WORK + size
        if work > WORK_BETWEEN_PAUSES:
            work = 0
            yield
    yield


def _elements(body: bytes, batch: Batch, lines: bool) -> Iterator[Parsed]:
    first = NO_SPACE.search(body)
    if lines or first is None:
        return _by_line(body)
    if first[0] == b"[":
        batch.place_name = "index"
        return _array(body, first.end())
    if (line := LINE.match(body, first.start())) and _is_object(line):
        return _by_line(body)
    try:
        element = _alone(body)
    except Rejected as rejected:
        if any(map(_is_object, islice(LINE.finditer(body), LINES_LOOKED_AT))):
            return _by_line(body)
        raise BadRequest(f"the body is {rejected}") from None
    batch.place_name = "index"
    return iter([(0, element, len(body))])


def _is_object(line: re.Match[bytes]) -> bool:
    if not line.string.startswith(b"{", line.start()):
        return False
    try:
        return isinstance(_alone(_bounded(line)), dict)
    except Rejected:
        return False


def _bounded(line: re.Match[bytes]) -> bytes:
    """The line, or so much of it that it is seen to be too long."""
    return line.string[line.start() : min(line.end(), line.start() + MAX_POINT_BYTES + 1)]


def _by_line(body: bytes) -> Iterator[Parsed]:
    faults: dict[bytes, tuple[str, str]] = {}
    number, end = 1, 0
    for line in LINE.finditer(body):
        number += body.count(b"\n", end, line.start())
        end = line.start()
        text = _bounded(line)
        if fault := faults.get(text):
            element: Any = Rejected(*fault)
        else:
            try:
                element = _alone(text)
            except Rejected as rejected:
                element = rejected
                if len(faults) < REMEMBERED_LINES and len(text) <= REMEMBERED_BYTES:
                    faults[text] = rejected.reason, str(rejected)
        yield number, element, line.end() - end


def _array(body: bytes, at: int) -> Iterator[Parsed]:
    """Each element of the array, which begins before `at`; after them a `Rejected` if it does not end as one."""
    place, start = 0, at
    try:
        for elements, end in _runs(body, at):
            size = (end - start) // len(elements)
            start = end
            for element in elements:
                yield place, element, size
                place += 1
    except Rejected as rejected:
        yield place, rejected, len(body) - start


def _runs(body: bytes, at: int) -> Iterator[tuple[list[Any], int]]:
    """The elements of an array, as many at once as can be, and where these end. Raises `Rejected` at a fault.

    What lies between the beginning of an element and the end of an object is parsed at once, if it is whole elements:
    then brackets around it make it JSON. If not, its elements are parsed one by one.
    """
    one_by_one_until = 0
    is_empty = body.startswith(b"]", _skip_space(body, at))
    while not is_empty:
        at = _skip_space(body, at)
        elements: list[Any] = []
        if at >= one_by_one_until:
            end = body.rfind(b"},", at, at + RUN_BYTES) + 1
            one_by_one_until = end or at + RUN_BYTES
            elements = _run(body[at:end])
        if not elements:
            element, end = _value(body, at)
            elements = [element]
        yield elements, end
        at = _skip_space(body, end)
        if not body.startswith(b",", at):
            break
        at += 1
    at = _skip_space(body, at)
    if not body.startswith(b"]", at):
        raise Rejected("syntax", f"not JSON: expected a comma or ] at byte {at + 1}")
    if (at := _skip_space(body, at + 1)) < len(body):
        raise Rejected("syntax", f"not JSON: expected the end after the array, at byte {at + 1}")


def _run(raw: bytes) -> list[Any]:
    """The elements that `raw` is, with commas between them; none if it is not that."""
    try:
        found: list[Any] = orjson.loads(b"[%b]" % raw)
    except orjson.JSONDecodeError:
        return []
    return found


def _alone(raw: bytes) -> Any:
    """The one value that `raw` holds. Raises `Rejected`."""
    if len(raw) > MAX_POINT_BYTES:
        raise Rejected("syntax", f"longer than {MAX_POINT_BYTES} bytes, which no point is")
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError:
        pass  # there may be a NaN in it, which orjson does not read
    _text(raw, 0, is_rest=True)
    value, end = _value(raw, _skip_space(raw, 0))
    if (end := _skip_space(raw, end)) < len(raw):
        raise Rejected("syntax", f"not JSON: expected the end at byte {end + 1}")
    return value


def _value(body: bytes, at: int) -> tuple[Any, int]:
    """The value that begins at `at`, and where it ends. Raises `Rejected`.

    It is looked for in a short piece first, and then in longer ones: what follows it is not to be copied each time.
    """
    size = FIRST_TRY_BYTES
    while size <= MAX_POINT_BYTES:
        is_rest = at + size >= len(body)
        text = _text(body[at : at + size], at, is_rest=is_rest)
        try:
            value, length = PARSER.raw_decode(text)
        except (ValueError, RecursionError) as error:
            if is_rest:
                raise _not_json(error, at) from None
        else:
            if length < len(text) or is_rest:  # a number that ends where the piece ends may go on
                return value, at + len(text[:length].encode())
        size *= 16
    raise Rejected("syntax", f"not JSON, or longer than {MAX_POINT_BYTES} bytes, from byte {at + 1} on")


def _not_json(error: ValueError | RecursionError, at: int) -> Rejected:
    if isinstance(error, json.JSONDecodeError):
        return Rejected("syntax", f"not JSON: {error.msg}, at byte {at + len(error.doc[: error.pos].encode()) + 1}")
    what = "it is nested too deeply" if isinstance(error, RecursionError) else "a number has too many digits"
    return Rejected("syntax", f"not JSON that is read here: {what}")


def _text(piece: bytes, at: int, *, is_rest: bool) -> str:
    """A piece of the body, which begins at `at`; unless it is the rest, a character that it cuts in two is left out."""
    try:
        return codecs.utf_8_decode(piece, "strict", is_rest)[0]
    except UnicodeDecodeError as error:
        raise Rejected("syntax", f"not UTF-8, at byte {at + error.start + 1}") from None


def _skip_space(body: bytes, at: int) -> int:
    space = SPACE.match(body, at, at + MAX_POINT_BYTES)
    return space.end() if space else at


def _add(
    element: dict[str, Any], place: int, batch: Batch, cache: SeriesCache, precision_ns: int, window: Window
) -> None:
    measurement, time = element.pop("measurement", None), element.pop("time", None)
    is_full = isinstance(element.get("tags"), (dict, list)) or isinstance(element.get("fields"), (dict, list))
    tags, members = _full(element) if is_full else _flat(element)
    fields, skipped = (members, []) if _are_numbers(members.values()) else _numbers(members)
    if measurement is None:
        measurement = DEFAULT_MEASUREMENT
    elif not isinstance(measurement, str):
        raise Rejected("syntax", f"measurement is a string, not {_kind(measurement)}")
    moment = _time(time, precision_ns, window)
    if not fields:
        raise Rejected("no_number", f"no field is a number{f': {listed(skipped)}' if skipped else ''}")
    batch.add(cache.find(measurement, tags), moment, fields, place)
    for name in skipped:
        batch.skip_field(name)


def _full(element: dict[str, Any]) -> tuple[dict[str, str], dict[str, Any]]:
    """The tags, and the members that are fields."""
    for member in element:
        if member not in ("tags", "fields"):
            raise Rejected("syntax", f"unknown member {shown(member)!r}; a point has {', '.join(MEMBERS)}")
    tags = _object(element, "tags")
    if "" in tags:
        raise Rejected("syntax", "a tag's key is empty")
    if not STRINGS.issuperset(map(type, tags.values())):
        tags = {key: _tag_value(key, value) for key, value in tags.items()}
    return _without_empty(tags), _object(element, "fields")


def _flat(element: dict[str, Any]) -> tuple[dict[str, str], dict[str, Any]]:
    """The same of a point in the flat form, without its measurement and time."""
    tags: dict[str, str] = {}
    members: dict[str, Any] = {}
    for name, value in element.items():
        (tags if isinstance(value, str) else members)[name] = value
    tags.pop("", None)
    return _without_empty(tags), members


def _without_empty(tags: dict[str, str]) -> dict[str, str]:
    """The tags that have a value: an empty one is as good as none."""
    return {key: value for key, value in tags.items() if value} if "" in tags.values() else tags


def _are_numbers(values: Collection[Any]) -> bool:
    """Whether all are numbers that a double holds, at a glance: a sum with one that is not finite is not."""
    try:
        return NUMBERS.issuperset(map(type, values)) and math.isfinite(sum(map(abs, values)))
    except OverflowError:
        return False


def _numbers(members: dict[str, Any]) -> tuple[dict[str, float], list[str]]:
    """The members that are numbers, and the names of the others but for null."""
    fields: dict[str, float] = {}
    skipped: list[str] = []
    for name, value in members.items():
        number = _finite(value) if isinstance(value, (int, float)) else None
        if number is not None:
            fields[name] = number
        elif value is not None:
            skipped.append(name)
    return fields, skipped


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


_KINDS = {
    bool: "a boolean",
    int: "a number",
    float: "a number",
    str: "a string",
    list: "an array",
    dict: "an object",
}


def _kind(value: Any) -> str:
    return _KINDS.get(type(value), "null")
