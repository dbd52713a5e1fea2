r"""InfluxDB's line protocol: `measurement,tag=value field=1.5,other=2i 1700000000000000000`.

The syntax is that of InfluxData's reference decoder (github.com/influxdata/line-protocol, lineprotocol/decoder.go,
and line-protocol.ebnf beside it):

- a measurement escapes comma and space with a backslash; tag keys, tag values and field keys also the equals
  sign; any other backslash stands for itself; names hold no control character, tag values no line end
- a value is a float (1, -1.5, .5, 1e9), an integer (1i, 64 bits), an unsigned integer (1u, 64 bits), a boolean
  (t, T, true, True, TRUE, f, ...) or a string in double quotes, which may hold anything, line ends too
- a line that begins with # is a comment; a line ends with \n or \r\n
- a time is an integer in the request's precision; absent, it is the time of the request
- all of it is UTF-8

A line that breaks a rule is rejected by its number and the next line goes on. A string is no metric: its field
is skipped, and a line left with no number is rejected.

The reader here can read any line. `plain` reads many at once, ten times faster, if all of them are plain. So it is
given each piece of a body: first whole, then without the lines that do not look plain, which are read here, and at
last in smaller pieces; only a small piece that it refuses even so is read here altogether.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Iterator, Sequence
from itertools import accumulate

import numpy as np

from ingest.names import MAX_NAME_BYTES, Rejected, listed, too_many_fields, too_many_tag_bytes
from ingest.points import Batch
from ingest.protocols import plain
from ingest.protocols.heads import (
    CACHED_BYTES,
    CONTROL,
    FALSE,
    HEAD,
    KEY,
    KEY_WORD,
    MEASUREMENT,
    TAG,
    TRUE,
    series_of,
    shown,
    text,
    unescaped,
)
from ingest.series import SeriesCache
from ingest.timestamps import Window

PIECES_BYTES = (128 * 1024, 8 * 1024)
"""The sizes of pieces in which plain lines are looked for."""
WORK_BETWEEN_PAUSES = 64 * 1024
"""How much is read exactly until the caller may do something else, in bytes: some milliseconds' work."""
LINE_WORK = 250
"""What a line costs at least, in bytes that it would cost as much to read."""
REMEMBERED_LINES, REMEMBERED_BYTES = 1000, 200
"""How many lines that cannot be read are remembered, and how long they are at most: rubbish repeats itself."""
MAX_FIELD_BYTES = 1024 * 1024
"""A longer string is not looked for the end of."""

_NUMBER = rb"(?P<number>-?(?:\d++(?:\.\d*+)?|\.\d++)(?:[eE][+-]?\d++)?)(?P<suffix>[iu]?)"
_BOOLEAN = rb"(?P<boolean>[tTfF][a-zA-Z]*+)"
_STRING = rb'(?P<string>"(?:[^"\\]++|\\["\\]?)*+")'
_END = rb"(?=[, \r\n]|\Z)"

FIELD = re.compile(rb"(?P<key>" + KEY_WORD + rb")=(?:" + _NUMBER + rb"|" + _BOOLEAN + rb"|" + _STRING + rb")" + _END)
STRING = re.compile(_STRING)
GAP = re.compile(rb" ++")
TIME = re.compile(rb"(?: ++(?P<time>-?\d++))? *+(?:\r?\n|\r?\Z)")
NO_POINTS = re.compile(rb"(?: *+(?:#[^" + CONTROL + rb"]*+)?(?:\r?\n|\r?\Z))+| ++")
"""Blank lines and comments; or the spaces that a line may begin with."""
WORD = re.compile(rb"[^, \r\n]*+")
REST = re.compile(rb"[^\r\n]*+")

BOOLEANS = {**dict.fromkeys(TRUE, 1.0), **dict.fromkeys(FALSE, 0.0)}
RANGES = {b"i": (-(2**63), 2**63 - 1), b"u": (0, 2**64 - 1)}
MAX_DIGITS = 1000
"""Of an integer or a time; Python refuses to read thousands."""


def decode(body: bytes, batch: Batch, cache: SeriesCache, *, precision_ns: int, window: Window) -> Iterator[None]:
    """Add every point of `body` to `batch`, and pause now and then and at the end: the caller iterates.

    `precision_ns` is the unit of the times, in nanoseconds; `window` says which times are taken.
    """
    reader = _Reader(body, batch, cache, precision_ns, window)
    yield from reader.read_pieces(len(body), PIECES_BYTES)


class _Reader:
    """Reads a body line by line: `at` is where it stands, in the line of the number `line`."""

    def __init__(self, body: bytes, batch: Batch, cache: SeriesCache, precision_ns: int, window: Window) -> None:
        self.body = body
        self.at = 0
        self.line = 1
        self._paused_at, self._paused_line = 0, 1
        self._faults: dict[bytes, tuple[str, str]] = {}
        """Lines that cannot be read, whatever follows them, and why."""
        self._batch = batch
        self._cache = cache
        self._precision_ns = precision_ns
        self._window = window

    def read_pieces(self, stop: int, sizes: Sequence[int]) -> Iterator[None]:
        """Read up to `stop`, the end of a line, or further: in pieces of the first of `sizes` in bytes, or smaller.

        Pauses after each piece, and within those that are not plain.
        """
        if not sizes:
            yield from self._read_exactly(stop)
        while self.at < stop:
            end = self.body.find(b"\n", self.at + sizes[0], stop) + 1 or stop
            if end - self.at > 2 * sizes[0]:
                yield from self._read_exactly(end)
            elif not (yield from self._read_plain(end)) and not (yield from self._read_mixed(end)):
                yield from self.read_pieces(end, sizes[1:])
            yield

    def _read_plain(self, stop: int) -> Generator[None, None, bool]:
        """Read up to `stop` if all lines are plain; else do nothing and say so."""
        points = yield from self._plain_points(self.body[self.at : stop])
        if points is None:
            return False
        points.add_to(self._batch, np.arange(self.line, self.line + len(points)))
        self.at, self.line = stop, self.line + len(points)
        return True

    def _plain_points(self, piece: bytes) -> Generator[None, None, plain.Points | None]:
        return plain.read(piece, self._batch, self._cache, self._precision_ns, self._window)

    def _read_mixed(self, stop: int) -> Generator[None, None, bool]:
        """Read up to `stop` or further, what looks plain at once and the rest exactly; or do nothing and say so."""
        lines = self.body[self.at : stop].removesuffix(b"\n").split(b"\n")
        yield
        if self._pass_over(lines, stop):
            return True
        found = yield from plain.sort(lines, self._cache.limits.max_fields)
        yield
        plainly = [n for n, part in enumerate(found.parts) if part is not None]
        if not plainly:
            yield from self._read_exactly(stop)
            return True
        if len(plainly) == len(lines) and not found.skipped:
            return False
        points = yield from self._plain_points(b"\n".join(filter(None, found.parts)))
        if points is None:
            return False
        numbers = np.array(plainly) + self.line
        end_line = yield from self._read_others(lines, found, stop)
        points.add_to(self._batch, numbers[numbers < end_line])
        yield from self._read_exactly(stop)
        return True

    def _pass_over(self, lines: list[bytes], stop: int) -> bool:
        """Pass over `lines`, which end at `stop`, if none is a point and no more is to be told of them; or do nothing.

        Without a space in it, a line is blank, a comment or faulty.
        """
        piece = self.body[self.at : stop]
        if piece.translate(None, plain.NOT_TELLING).strip(b"\n") or piece.startswith(b"#") or b"\n#" in piece:
            return False
        faulty = len(lines) - lines.count(b"")
        if faulty and (self._batch.lists_more or max(map(len, lines)) + 2 > self._cache.limits.max_head_bytes):
            return False
        self._batch.count_rejected("syntax", faulty)
        self.at, self.line = stop, self.line + piece.count(b"\n")
        return True

    def _read_others(self, lines: list[bytes], found: plain.Sorted, stop: int) -> Generator[None, None, int]:
        """Read those of `lines`, which end at `stop`, that `found` leaves, and note the strings that it left out.

        Returns the number of the line up to which they are done: past the last, or past one with a string that goes
        on in the next, since what looks like a line there is none.
        """
        first = self.line
        starts = [*accumulate(map(len, lines), lambda start, length: start + length + 1, initial=self.at)]
        starts[-1] = stop
        others = (n for n, part in enumerate(found.parts) if part is None or n in found.skipped)
        for n in others:
            for name in found.skipped.get(n, ()):
                self._batch.skip_field(name)
            if n not in found.skipped:
                self.at, self.line = starts[n], first + n
                while self.at < starts[n + 1]:
                    self._read_next(starts[n + 1])
                if self.at > starts[n + 1]:
                    return first + n + 1
            if self._is_due():
                yield
        self.at, self.line = stop, first + len(lines)
        return self.line

    def _read_exactly(self, stop: int) -> Iterator[None]:
        """Read up to `stop`, the end of a line; or further, when that is inside a string. Pauses now and then."""
        while self.at < stop:
            self._read_next(stop)
            if self._is_due():
                yield

    def _is_due(self) -> bool:
        """Whether so much has been read since the last pause that there should be another one."""
        work = self.at - self._paused_at + LINE_WORK * (self.line - self._paused_line)
        if work < WORK_BETWEEN_PAUSES:
            return False
        self._paused_at, self._paused_line = self.at, self.line
        return True

    def _read_next(self, stop: int) -> None:
        """Read the next line, or blank lines and comments up to `stop`."""
        start = self.at
        if nothing := NO_POINTS.match(self.body, start, stop):
            self.at = nothing.end()
        else:
            self._read_line()
        self.line += self.body.count(b"\n", start, self.at)

    def _read_line(self) -> None:
        end = self.body.find(b"\n", self.at, self.at + REMEMBERED_BYTES)
        line = self.body[self.at : end] if end > 0 else b""
        fault = self._faults.get(line)
        if fault is not None:
            self.at = end + 1
        else:
            try:
                self._read_point()
                return
            except Rejected as rejected:
                fault = rejected.reason, str(rejected)
            self.at = self.body.find(b"\n", self.at) + 1 or len(self.body)
            # Where there is a quote, what follows the line may matter too.
            if line and self.at == end + 1 and b'"' not in line and len(self._faults) < REMEMBERED_LINES:
                self._faults[line] = fault
        self._batch.reject(self.line, *fault)

    def _read_point(self) -> None:
        """Read one line and add its point. On `Rejected`, `at` is how far the line was understood."""
        if self.body.startswith(b"#", self.at):
            raise Rejected("syntax", "a comment holds a control character")
        limit = self.at + self._cache.limits.max_head_bytes
        head = HEAD.match(self.body, self.at, limit)
        gap = GAP.match(self.body, head.end()) if head and head.end() < limit else None
        if head is None or gap is None:
            raise self._head_fault(limit)
        self.at = gap.end()
        try:
            fields, skipped = self._read_fields()
        except Rejected:
            self._pass_strings()
            raise
        tail = TIME.match(self.body, self.at)
        if tail is None:
            raise self._time_fault()
        time = self._time(tail["time"])
        series = series_of(head[0], self._cache)
        if not fields:
            raise Rejected("no_number", f"no field is a number: {listed(skipped)} hold strings")
        self._batch.add(series, time, fields, self.line)
        for name in skipped:
            self._batch.skip_field(name)
        self.at = tail.end()

    def _read_fields(self) -> tuple[dict[str, float], list[str]]:
        """Read the fields: the numbers, and the names of strings."""
        fields: dict[str, float] = {}
        skipped: list[str] = []
        for _ in range(self._cache.limits.max_fields):
            match = FIELD.match(self.body, self.at, self.at + MAX_FIELD_BYTES)
            if match is None:
                raise self._field_fault()
            self.at = match.end()
            name = _name(match["key"])
            value = _value(match)
            if value is None:
                skipped.append(name)
            else:
                fields[name] = value
            if not self.body.startswith(b",", self.at):
                return fields, skipped
            self.at += 1
        raise too_many_fields(self._cache.limits)

    def _pass_strings(self) -> None:
        """Go behind the last string of a line of which no more is read: what looks like lines in it is none.

        A quote that nothing closes begins no string.
        """
        end = self._line_end()
        for _ in range(self._cache.limits.max_fields):
            quote = self.body.find(b'="', self.at, end) + 1
            if not quote:
                break
            string = STRING.match(self.body, quote, quote + MAX_FIELD_BYTES)
            self.at = string.end() if string else quote
            if self.at > end:
                end = self._line_end()

    def _line_end(self) -> int:
        end = self.body.find(b"\n", self.at)
        return end if end >= 0 else len(self.body)

    def _time(self, digits: bytes | None) -> int:
        """The point's time in microseconds."""
        if digits is None:
            return self._window.default(self._precision_ns)
        if len(digits) > MAX_DIGITS or not -(2**63) <= (nanoseconds := int(digits) * self._precision_ns) < 2**63:
            raise Rejected("time", f"time {shown(digits)} is out of range; is the precision right?")
        return self._window.check(nanoseconds // 1000)

    def _head_fault(self, limit: int) -> Rejected:
        """Say what keeps the head from being read; it has to end before `limit`."""
        measurement = MEASUREMENT.match(self.body, self.at, limit)
        if measurement is None:
            return self._expected("a measurement", self.at)
        at = measurement.end()
        while tag := TAG.match(self.body, at, limit):
            at = tag.end()
        key = KEY.match(self.body, at + 1, limit)
        end = key.end() if key else at
        if len(self.body) > limit and end + 1 >= limit:
            return too_many_tag_bytes(self._cache.limits)
        if not self.body.startswith(b",", at):
            return self._expected("a comma and a tag, or a space and a field", at)
        if key is None:
            return self._expected("a tag's key after the comma", at + 1)
        if not self.body.startswith(b"=", end):
            return self._expected(f"= after tag {shown(key[0])}", end)
        return self._expected(f"a value after tag {shown(key[0])}", end + 1)

    def _field_fault(self) -> Rejected:
        """Say what keeps `FIELD` from matching, and go behind it when it is a string."""
        key = KEY.match(self.body, self.at)
        if key is None:
            return self._expected("a field's key", self.at)
        at = key.end() + 1
        if not self.body.startswith(b"=", at - 1):
            return self._expected(f"= after field {shown(key[0])}", at - 1)
        if string := STRING.match(self.body, at, at + MAX_FIELD_BYTES):
            self.at = string.end()
            return self._expected(f"a comma, a space or the end of the line after field {shown(key[0])}", self.at)
        if self.body.startswith(b'"', at):
            bound = f" within {MAX_FIELD_BYTES} bytes" if len(self.body) > at + MAX_FIELD_BYTES else ""
            return Rejected("syntax", f"field {shown(key[0])}: the string has no closing quote{bound}")
        word = WORD.match(self.body, at)
        found = shown(word[0]) if word and word[0] else self._here(at)
        return Rejected("syntax", f"field {shown(key[0])}: {found} is no number, boolean or quoted string")

    def _time_fault(self) -> Rejected:
        rest = REST.match(self.body, self.at)
        found = shown(rest[0].strip(b" ")) if rest and rest[0].strip(b" ") else self._here(self.at)
        return Rejected("syntax", f"expected a time in digits and the end of the line after the fields, found {found}")

    def _expected(self, what: str, at: int) -> Rejected:
        return Rejected("syntax", f"expected {what}, found {self._here(at)}")

    def _here(self, at: int) -> str:
        return shown(self.body[at : at + 1]) if at < len(self.body) else "the end of the body"


def _name(key: bytes) -> str:
    if len(key) > CACHED_BYTES:
        raise Rejected("name", f"field {shown(key)}: {len(key)} bytes, at most {MAX_NAME_BYTES} are allowed")
    return unescaped(key)


def _value(field: re.Match[bytes]) -> float | None:
    """The field's number; None for a string."""
    if (number := field["number"]) is not None:
        if field["suffix"]:
            return _integer(field["key"], number, field["suffix"])
        value = float(number)
        if value - value != 0:  # infinite: more than a double holds
            raise Rejected("syntax", f"field {shown(field['key'])}: {shown(number)} is out of a double's range")
        return value
    if (word := field["boolean"]) is not None:
        if word not in BOOLEANS:
            allowed = "t, T, true, True, TRUE, f, F, false, False, FALSE"
            raise Rejected("syntax", f"field {shown(field['key'])}: {shown(word)} is no boolean ({allowed})")
        return BOOLEANS[word]
    text(field["string"])
    return None


def _integer(key: bytes, digits: bytes, suffix: bytes) -> float:
    low, high = RANGES[suffix]
    unsigned = digits.removeprefix(b"-") if low else digits
    if not unsigned.isdigit() or len(digits) > MAX_DIGITS or not low <= int(digits) <= high:
        raise Rejected("syntax", f"field {shown(key)}: {shown(digits + suffix)} is no integer from {low} to {high}")
    return float(int(digits))
