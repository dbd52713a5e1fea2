r"""InfluxDB's line protocol: `measurement,tag=value field=1.5,other=2i 1700000000000000000`.

The syntax is that of InfluxData's reference decoder (github.com/influxdata/line-protocol, lineprotocol/decoder.go,
and line-protocol.ebnf beside it):

- a measurement escapes comma and space with a backslash; tag keys, tag values and field keys also the equals
  sign; any other backslash stands for itself; none of them may hold a control character
- a value is a float (1, -1.5, .5, 1e9), an integer (1i, 64 bits), an unsigned integer (1u, 64 bits), a boolean
  (t, T, true, True, TRUE, f, ...) or a string in double quotes, which may hold anything, line ends too
- a line that begins with # is a comment; a line ends with \n or \r\n
- a time is an integer in the request's precision; absent, it is the time of the request

A line that breaks a rule is rejected by its number and the next line goes on. A string is no metric: its field
is skipped, and a line left with no number is rejected.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from ingest.names import Rejected
from ingest.points import Batch
from ingest.protocols import plain
from ingest.protocols.heads import CONTROL, HEAD, KEY, KEY_WORD, MEASUREMENT, TAG, series_of, shown, unescaped
from ingest.series import SeriesCache
from ingest.timestamps import Window

PIECE_BYTES = 128 * 1024
"""How much is read before the caller gets the chance to do something else: a millisecond's work, or ten."""

_NUMBER = rb"(?P<number>-?(?:\d++(?:\.\d*+)?|\.\d++)(?:[eE][+-]?\d++)?)(?P<suffix>[iu]?)"
_BOOLEAN = rb"(?P<boolean>[tTfF][a-zA-Z]*+)"
_STRING = rb'"(?:\\["\\]|[^"])*+"'
_END = rb"(?=[, \r\n]|\Z)"

FIELD = re.compile(rb"(?P<key>" + KEY_WORD + rb")=(?:" + _NUMBER + rb"|" + _BOOLEAN + rb"|" + _STRING + rb")" + _END)
STRING = re.compile(_STRING)
TIME = re.compile(rb" *+(?P<time>-?\d++)? *+(?:\r?\n|\r?\Z)")
COMMENT = re.compile(rb"#[^" + CONTROL + rb"]*+(?:\r?\n|\Z)")
BLANK = re.compile(rb" *+(?:\r?\n)?")
LINE_END = re.compile(rb"\n|\Z")

BOOLEANS = {
    **dict.fromkeys((b"t", b"T", b"true", b"True", b"TRUE"), 1.0),
    **dict.fromkeys((b"f", b"F", b"false", b"False", b"FALSE"), 0.0),
}
RANGES = {b"i": (-(2**63), 2**63 - 1), b"u": (0, 2**64 - 1)}


@dataclass(slots=True)
class _Cursor:
    """Where the decoder stands in the body."""

    at: int = 0
    line: int = 1


def decode(body: bytes, batch: Batch, cache: SeriesCache, *, precision_ns: int, window: Window) -> Iterator[None]:
    """Add every point of `body` to `batch`, and pause now and then: the caller iterates to the end.

    `precision_ns` is the unit of the times, in nanoseconds; `window` says which times are taken.
    """
    cursor = _Cursor()
    while cursor.at < len(body):
        stop = body.find(b"\n", cursor.at + PIECE_BYTES) + 1 or len(body)
        piece = body[cursor.at : stop]
        if count := plain.decode(piece, cursor.line, batch, cache, precision_ns, window):
            cursor.at, cursor.line = stop, cursor.line + count
        else:
            _decode_until(stop, body, cursor, batch, cache, precision_ns, window)
        yield


def _decode_until(
    stop: int,
    body: bytes,
    cursor: _Cursor,
    batch: Batch,
    cache: SeriesCache,
    precision_ns: int,
    window: Window,
) -> None:
    """Read line by line up to `stop`, the end of a line; or further, when that is inside a string."""
    for _ in _lines(stop, body, cursor, batch):
        start, line = cursor.at, cursor.line
        try:
            _point(body, cursor, batch, cache, precision_ns, window)
        except Rejected as rejected:
            batch.reject(line, rejected.reason, str(rejected))
            if cursor.at == start:  # it could not be read to its end: go on with the next line
                cursor.at = LINE_END.search(body, start).end()  # type: ignore[union-attr]
        cursor.line = line + body.count(b"\n", start, cursor.at)


def _lines(stop: int, body: bytes, cursor: _Cursor, batch: Batch) -> Iterator[None]:
    """Stop at the start of each line that should be a point; pass over blank lines and comments."""
    while True:
        while cursor.at < stop and (blank := BLANK.match(body, cursor.at)) and blank.end() > cursor.at:
            cursor.line += body.count(b"\n", cursor.at, blank.end())
            cursor.at = blank.end()
        if cursor.at >= stop:
            return
        if body.startswith(b"#", cursor.at):
            _comment(body, cursor, batch)
        else:
            yield


def _comment(body: bytes, cursor: _Cursor, batch: Batch) -> None:
    if comment := COMMENT.match(body, cursor.at):
        cursor.at = comment.end()
    else:
        batch.reject(cursor.line, "syntax", "a comment holds a control character")
        cursor.at = LINE_END.search(body, cursor.at).end()  # type: ignore[union-attr]
    cursor.line += 1


def _point(body: bytes, cursor: _Cursor, batch: Batch, cache: SeriesCache, precision_ns: int, window: Window) -> None:
    """Read one line and add its point. On `Rejected`, the cursor is behind the line if that could be read."""
    head = HEAD.match(body, cursor.at)
    if head is None or not body.startswith(b" ", head.end()):
        raise _head_fault(body, cursor.at)
    at, fields, skipped = _fields(body, head.end())
    tail = TIME.match(body, at)
    if tail is None:
        raise _time_fault(body, at)
    cursor.at = tail.end()
    time = _time(tail["time"], precision_ns, window)
    series = series_of(head[0], cache)
    if not fields:
        raise Rejected("no_number", f"no field is a number: {', '.join(skipped)} hold strings")
    batch.add(series, time, fields, cursor.line)
    for name in skipped:
        batch.skip_field(name)


def _fields(body: bytes, at: int) -> tuple[int, dict[str, float], list[str]]:
    """Read the fields from `at`, a space: the place after them, the numbers, the names of strings."""
    fields: dict[str, float] = {}
    skipped: list[str] = []
    while body.startswith(b" ", at):
        at += 1
    while True:
        match = FIELD.match(body, at)
        if match is None:
            raise _field_fault(body, at)
        name = unescaped(match["key"])
        value = _value(name, match)
        if value is None:
            skipped.append(name)
        else:
            fields[name] = value
        at = match.end()
        if not body.startswith(b",", at):
            return at, fields, skipped
        at += 1


def _value(name: str, match: re.Match[bytes]) -> float | None:
    """The field's number; None for a string."""
    if (number := match["number"]) is not None:
        if match["suffix"]:
            return _integer(name, number, match["suffix"])
        value = float(number)
        if value - value != 0:  # infinite: more than a double holds
            raise Rejected("syntax", f"field {name!r}: {shown(number)} is out of a double's range")
        return value
    if (word := match["boolean"]) is not None:
        if word not in BOOLEANS:
            raise Rejected("syntax", f"field {name!r}: {shown(word)} is no boolean (t, T, true, True, TRUE, f, ...)")
        return BOOLEANS[word]
    return None


def _integer(name: str, digits: bytes, suffix: bytes) -> float:
    low, high = RANGES[suffix]
    if not digits.lstrip(b"-").isdigit() or len(digits) > 5000 or not low <= int(digits) <= high:
        raise Rejected("syntax", f"field {name!r}: {shown(digits + suffix)} is no integer from {low} to {high}")
    return float(int(digits))


def _time(digits: bytes | None, precision_ns: int, window: Window) -> int:
    """The point's time in microseconds; without one, now, as coarse as the precision."""
    if digits is None:
        return window.default(precision_ns)
    if len(digits) > 20 or not -(2**63) <= (nanoseconds := int(digits) * precision_ns) < 2**63:
        raise Rejected("time", f"time {shown(digits)} is out of range; is the precision right?")
    return window.check(nanoseconds // 1000)


def _head_fault(body: bytes, at: int) -> Rejected:
    """Say what keeps `HEAD` from matching at `at`."""
    measurement = MEASUREMENT.match(body, at)
    if measurement is None:
        return Rejected("syntax", f"expected a measurement, found {_here(body, at)}")
    at = measurement.end()
    while tag := TAG.match(body, at):
        at = tag.end()
    if not body.startswith(b",", at):
        return Rejected("syntax", f"expected a comma and a tag, or a space and a field, found {_here(body, at)}")
    key = KEY.match(body, at + 1)
    if key is None:
        return Rejected("syntax", f"expected a tag's key after the comma, found {_here(body, at + 1)}")
    if not body.startswith(b"=", key.end()):
        return Rejected("syntax", f"expected = after tag {shown(key[0])}, found {_here(body, key.end())}")
    return Rejected("syntax", f"expected a value after tag {shown(key[0])}, found {_here(body, key.end() + 1)}")


def _field_fault(body: bytes, at: int) -> Rejected:
    """Say what keeps `FIELD` from matching at `at`."""
    key = KEY.match(body, at)
    if key is None:
        return Rejected("syntax", f"expected a field's key, found {_here(body, at)}")
    if not body.startswith(b"=", key.end()):
        return Rejected("syntax", f"expected = after field {shown(key[0])}, found {_here(body, key.end())}")
    at = key.end() + 1
    if body.startswith(b'"', at):
        string = STRING.match(body, at)
        if string is None:
            return Rejected("syntax", f"field {shown(key[0])}: the string has no closing quote")
        return Rejected("syntax", f"field {shown(key[0])}: found {_here(body, string.end())} after the string")
    value = re.compile(rb"[^, \r\n]*").match(body, at)
    found = shown(value[0]) if value and value[0] else _here(body, at)
    return Rejected("syntax", f"field {shown(key[0])}: {found} is no number, boolean or quoted string")


def _time_fault(body: bytes, at: int) -> Rejected:
    rest = re.compile(rb"[^\r\n]*").match(body, at)
    found = shown(rest[0].strip(b" ")) if rest and rest[0].strip(b" ") else _here(body, at)
    return Rejected("syntax", f"expected a time in digits and the end of the line after the fields, found {found}")


def _here(body: bytes, at: int) -> str:
    return shown(body[at : at + 1]) if at < len(body) else "the end of the body"
