"""Line protocol at speed: whole columns of plain lines at a time.

Agents write lines that are alike: the same fields in the same order, numbers, no escapes, few strings. Such lines
are not read byte by byte, but taken apart by a few passes over all of them, each a loop inside the interpreter or
a library: split at spaces, look the heads up, split the fields at commas, compare their names with those that each
line's series had last time, and parse all numbers as one JSON array.

That is done only where the result is sure to be what `line` would find, point by point. Where it is not,
`read` says so, and `line` reads those lines in its own way. `sort` tells which lines are worth trying, and takes the
strings out of those that are plain but for them.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Generator, Sequence
from dataclasses import dataclass

import numpy as np
import orjson
from numpy.typing import NDArray

from ingest.names import Rejected
from ingest.points import Batch, Series, Shape
from ingest.protocols.heads import CONTROL, FALSE, HEAD, KEY, TRUE, series_of, text, unescaped
from ingest.series import SeriesCache
from ingest.timestamps import Window

UNUSUAL = (b"\\", b'"', b"\r", b"\t", b"\v", b"\f")
"""Where one of these is, a line need not end at a line end, nor a word at a space."""

STRING_FIELD = re.compile(rb",([^" + CONTROL + rb'",= \\]{1,63})="[^"\\]*"(?=,|\Z)')
"""A field that is a string without escapes, if what comes before it are fields too."""

LINES_BETWEEN_PAUSES = 500
NEW_BETWEEN_PAUSES = 100
"""Series that were not known: 10 to 30 microseconds each."""
WORDS_BETWEEN_PAUSES = 2_000
"""Names of fields that are taken out of lines one by one, a microsecond each."""

MAX_SHAPES = 200
"""How many shapes there may be in a piece: columns of a line or two are no gain."""

TIMED, UNTIMED = 3, 2
"""Words of a line with a time, and of one without."""
INT64_US = 2**63 // 1000
"""The last time that InfluxDB knows, in microseconds: nanoseconds in 64 bits."""
INT64 = 2.0**63
"""Integers of 64 bits are smaller than this; whoever is not is looked at by `line`."""

NOT_SEPARATORS = bytes(set(range(256)) - set(b" \n"))
NOT_TELLING = bytes(set(NOT_SEPARATORS) - set(b"".join(UNUSUAL)))
"""What is left of a line without these bytes tells whether it looks plain."""
DIGITS_AND_SIGNS = b"0123456789-+"
OF_NUMBERS = b"0123456789-+."
NUMBERS_LETTERS = b",.eEi"
BOOLEANS = {**dict.fromkeys(TRUE, b"1"), **dict.fromkeys(FALSE, b"0")}
NOT_OF_NUMBERS = bytes(set(range(256)) - set(OF_NUMBERS + b"=,"))

Places = NDArray[np.intp]
Parsed = tuple[Shape, Places, "array[float]"]
"""Lines of one shape: which they are, counted from 0, and their numbers, a line's after another's."""


@dataclass(frozen=True, slots=True)
class Points:
    """What plain lines hold, read but not yet added to a batch."""

    series: list[Series]
    """One for each line."""
    times: NDArray[np.int64]
    groups: list[Parsed]

    def __len__(self) -> int:
        return len(self.series)

    def add_to(self, batch: Batch, numbers: NDArray[np.int64]) -> None:
        """Add the points to `batch`, of which `numbers` says which lines they are; the points past its end are left."""
        for shape, places, values in self.groups:
            taken = places[: np.searchsorted(places, len(numbers))]
            rows = batch.shape(shape.measurement, shape.fields)
            batch.add_column(
                rows,
                [self.series[n] for n in taken] if len(taken) < len(self) else self.series,
                array("q", self.times[taken].tobytes()),
                _in_order(values[: len(taken) * len(shape.fields)], shape.fields, rows.fields),
                array("q", numbers[taken].tobytes()),
            )


def _in_order(values: array[float], fields: tuple[str, ...], wanted: tuple[str, ...]) -> array[float]:
    """The values of `fields`, a line's after another's, in the order of the same fields that is `wanted`."""
    if fields == wanted:
        return values
    order = [*map({name: n for n, name in enumerate(fields)}.__getitem__, wanted)]
    return array("d", np.frombuffer(values).reshape(-1, len(fields))[:, order].tobytes())


def read(
    piece: bytes, batch: Batch, cache: SeriesCache, precision_ns: int, window: Window
) -> Generator[None, None, Points | None]:
    """The points of `piece`, whole lines, all of which `batch` can take; None if it is not for this decoder.

    Pauses while it learns what is new to `cache`.
    """
    try:
        width, words = _words(piece)
        series = yield from _series(words[0::width], cache)
        if width == TIMED:
            times = _times(words[2::TIMED], precision_ns, window)
        else:
            times = np.full(len(series), window.default(precision_ns), np.int64)
        groups = yield from _groups(series, words[1::width], cache)
        for shape, _, _ in groups:
            batch.shape(shape.measurement, shape.fields)
    except (Rejected, _NotPlain):
        return None
    return Points(series, times, groups)


@dataclass(slots=True)
class Sorted:
    """Lines, those that are worth reading here told from the others."""

    parts: list[bytes | None]
    """What may be read here of each line: all of it, or what is left without its strings; or None."""
    skipped: dict[int, list[str]]
    """The names of the fields that were strings, by the line's place in `parts`."""


def sort(lines: list[bytes], max_fields: int) -> Generator[None, None, Sorted]:
    """Sort `lines`, which are without their ends, by what they look like; `read` has the last word. Pauses at times."""
    kinds = b"\n".join(lines).translate(None, NOT_TELLING).split(b"\n")
    usual = max(b"  ", b" ", key=kinds.count)  # all with a time, or all without
    found = Sorted([], {})
    for n, (line, kind) in enumerate(zip(lines, kinds, strict=True), start=1):
        part: bytes | None = None
        if line.startswith(b"#"):
            pass
        elif kind == usual:
            part = line
        elif usual == b"  " and b'"' in kind and (without := _without_strings(line, max_fields)):
            part, found.skipped[n - 1] = without
        found.parts.append(part)
        if n % LINES_BETWEEN_PAUSES == 0:
            yield
    return found


def _without_strings(line: bytes, max_fields: int) -> tuple[bytes, list[str]] | None:
    """A line with a time without its fields that are strings, and their names; None where they are not sure to be that.

    Every quote is to belong to a string between two commas or spaces, every space to a string but those before the
    fields and the time; and there is no escape.
    """
    head, _, rest = line.partition(b" ")
    fields, _, time = rest.rpartition(b" ")
    between = STRING_FIELD.split(b",%b" % fields)
    names = between[1::2]
    left = b"".join(between[0::2])
    if not left or not time.isdigit() or (head + left).translate(None, NOT_TELLING):
        return None
    if left.count(b",") + len(names) > max_fields:
        return None
    try:
        line.decode()
        return b"%b %b %b" % (head, left[1:], time), list(map(unescaped, names))
    except UnicodeDecodeError:
        return None


class _NotPlain(Exception):
    """These lines need a closer look."""


class _OtherFields(_NotPlain):
    """A series has other fields than it had last time."""


def _words(piece: bytes) -> tuple[int, list[bytes]]:
    """How many words every line has, and the words of all lines: head, fields and maybe time."""
    if any(byte in piece for byte in UNUSUAL):
        raise _NotPlain
    separators = piece.translate(None, NOT_SEPARATORS) + (b"" if piece.endswith(b"\n") else b"\n")
    for width, pattern in ((TIMED, b"  \n"), (UNTIMED, b" \n")):
        lines = len(separators) // width
        if separators == pattern * lines:
            words = piece.split()
            if len(words) == width * lines:  # else some word is empty
                return width, words
    raise _NotPlain


def _series(heads: list[bytes], cache: SeriesCache) -> Generator[None, None, list[Series]]:
    found = list(map(cache.by_head.get, heads))
    new = [n for n, one in enumerate(found) if one is None] if None in found else []
    for done, n in enumerate(new, start=1):
        found[n] = _new_series(heads[n], cache)
        if done % NEW_BETWEEN_PAUSES == 0:
            yield
    return found  # type: ignore[return-value]


def _new_series(head: bytes, cache: SeriesCache) -> Series:
    if head.startswith(b"#") or not HEAD.fullmatch(head):
        raise _NotPlain
    return series_of(head, cache)


def _times(words: list[bytes], precision_ns: int, window: Window) -> NDArray[np.int64]:
    """The lines' times in microseconds, all of them inside the window."""
    joined = b",".join(words)
    if joined.translate(None, b"0123456789,") or max(map(len, words)) > 19:
        raise _NotPlain
    try:
        stamps = np.array(orjson.loads(b"[%b]" % joined), np.uint64)
    except (orjson.JSONDecodeError, OverflowError):
        raise _NotPlain from None
    if len(stamps) != len(words):  # one was empty
        raise _NotPlain
    # As floats, which cannot overflow, for the bounds; exactly, once it is known to be near now.
    microseconds = stamps * (precision_ns / 1000)
    if microseconds.min() < window.earliest + 1 or microseconds.max() > min(window.latest, INT64_US) - 1:
        raise _NotPlain
    if precision_ns < 1000:
        return (stamps // np.uint64(1000 // precision_ns)).astype(np.int64)
    return (stamps * np.uint64(precision_ns // 1000)).astype(np.int64)


def _groups(series: list[Series], fields: list[bytes], cache: SeriesCache) -> Generator[None, None, list[Parsed]]:
    """The lines by shape, as their series had it last time; where one has changed, by their own names."""
    shapes = [one.shape for one in series]
    try:
        if len(set(shapes)) == 1 and shapes[0] is not None:
            return [(shapes[0], np.arange(len(fields)), _numbers(shapes[0], fields))]
        return _by_shape(shapes, fields)
    except _OtherFields:
        count = 0
        for n, one in enumerate(series):
            words = _names(fields[n])
            if one.shape is not None and words != one.shape.words:
                ordered = sorted(words)
                if ordered == sorted(one.shape.words):  # Telegraf writes them in another order each time
                    words, fields[n] = tuple(ordered), b",".join(sorted(fields[n].split(b",")))
            shapes[n] = one.shape = _shape(one.measurement, words, cache)
            count += len(words)
            if count > WORDS_BETWEEN_PAUSES:
                count = 0
                yield
        return _by_shape(shapes, fields)


def _names(fields: bytes) -> tuple[bytes, ...]:
    """The names of a line's fields, each with its equals sign."""
    return tuple(fields.replace(b"=", b"=,").split(b",")[0::2])


def _by_shape(shapes: Sequence[Shape | None], fields: list[bytes]) -> list[Parsed]:
    places: dict[Shape, list[int]] = {}
    for n, shape in enumerate(shapes):
        if shape is None:
            raise _OtherFields
        places.setdefault(shape, []).append(n)
    if len(places) > MAX_SHAPES:
        raise _NotPlain
    return [(shape, np.array(which), _numbers(shape, [fields[n] for n in which])) for shape, which in places.items()]


def _shape(measurement: str, words: tuple[bytes, ...], cache: SeriesCache) -> Shape:
    shape = cache.shapes.get((measurement, words))
    if shape is None:
        names = [word[:-1] for word in words]
        is_field = all(word.endswith(b"=") for word in words)
        if not is_field or len(set(names)) < len(names) or not all(map(KEY.fullmatch, names)):
            raise _NotPlain
        shape = cache.add_shape(Shape(measurement, words, tuple(map(text, names))))
    return shape


def _numbers(shape: Shape, fields: list[bytes]) -> array[float]:
    """The values of lines that all have this shape."""
    text = b",".join([*fields, b""])
    count = len(shape.words) * len(fields)
    joined = _by_pattern(shape, text, len(fields)) or _by_words(shape, text, len(fields))
    try:
        numbers = array("d", orjson.loads(joined))  # JSON's numbers are part of line protocol's
    except (orjson.JSONDecodeError, TypeError):
        raise _NotPlain from None
    # A word may have been empty, an integer longer than 64 bits, a float longer than a double.
    if len(numbers) != count or not np.abs(np.frombuffer(numbers)).max() < INT64:
        raise _NotPlain
    return numbers


def _by_pattern(shape: Shape, text: bytes, lines: int) -> bytes | None:
    """The numbers as a JSON array, if the lines' letters are just those that `shape` had before.

    Without digits, signs and points, a line of fields is its names, commas and equals signs, and an `i` for each
    integer. When that is as expected, no name has a digit (all before an equals sign is gone with the letters),
    every `i` stands before a comma and none after a point, the rest is numbers.
    """
    letters = text.translate(None, DIGITS_AND_SIGNS)
    if b"." in letters:
        if b".i" in letters:
            return None
        letters = letters.translate(None, b".")
    if not shape.pattern or letters != shape.pattern * lines:
        return None
    values = text.translate(None, NOT_OF_NUMBERS)
    if values.count(b",=") != len(shape.words) * lines - 1 or not values.startswith(b"="):
        return None
    if text.count(b"i,") != shape.pattern.count(b"i,") * lines:
        return None
    return b"[%b]" % values.translate(None, b"=")[:-1]


def _by_words(shape: Shape, text: bytes, lines: int) -> bytes:
    """The numbers as a JSON array, each name compared; learns the pattern of the first line."""
    words = text.replace(b"=", b"=,").split(b",")
    words.pop()
    if words[0::2] != list(shape.words) * lines:
        raise _OtherFields
    joined = b",".join(words[1::2])
    kinds = joined.translate(None, DIGITS_AND_SIGNS)
    if kinds.translate(None, NUMBERS_LETTERS):
        joined = b",".join([BOOLEANS.get(word, word) for word in words[1::2]])
        kinds = joined.translate(None, DIGITS_AND_SIGNS)
        if kinds.translate(None, NUMBERS_LETTERS):
            raise _NotPlain  # an unsigned integer, or no number
    integers = kinds.count(b"i")
    if joined.count(b"i,") + joined.endswith(b"i") != integers or b".i" in kinds or b"ei" in kinds or b"Ei" in kinds:
        raise _NotPlain  # an i that does not end an integer
    _learn_pattern(shape, words)
    return b"[%b]" % joined.translate(None, b"i")


def _learn_pattern(shape: Shape, words: list[bytes]) -> None:
    """Remember what a line of this shape looks like, if its names can be told from its numbers."""
    line = words[: 2 * len(shape.words)]
    letters = b"".join(line[1::2]).translate(None, OF_NUMBERS + b"i")  # of exponents and booleans
    if not letters and not any(set(OF_NUMBERS) & set(name) for name in shape.words):
        pairs = zip(line[0::2], line[1::2], strict=True)
        shape.pattern = b"".join(name + value + b"," for name, value in pairs).translate(None, OF_NUMBERS)
