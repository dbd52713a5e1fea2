"""Line protocol at speed: whole columns of plain lines at a time.

Agents write lines that are alike: the same fields in the same order, numbers, no escapes, no strings. Such lines
are not read byte by byte, but taken apart by a few passes over all of them, each a loop inside the interpreter or
a library: split at spaces, look the heads up, split the fields at commas, compare their names with those that each
line's series had last time, and parse all numbers as one JSON array.

That is done only where the result is sure to be what `line` would find, point by point. Where it is not,
`decode` changes nothing and says so, and `line` reads those lines in its own way.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import repeat

import numpy as np
import orjson

from ingest.names import Rejected
from ingest.points import Batch, Series, Shape
from ingest.protocols.heads import HEAD, KEY, series_of, text
from ingest.series import SeriesCache
from ingest.timestamps import Window

UNUSUAL = (b"\\", b'"', b"\r", b"\t", b"\v", b"\f")
"""Where one of these is, a line need not end at a line end, nor a word at a space."""

INT64_US = 2**63 // 1000
"""The last time that InfluxDB knows, in microseconds: nanoseconds in 64 bits."""
Parsed = tuple[Shape, Sequence[int], list[float]]
"""Lines of one shape: which they are, counted from 0, and their numbers, a line's after another's."""


def decode(piece: bytes, first_line: int, batch: Batch, cache: SeriesCache, precision_ns: int, window: Window) -> int:
    """Add the points of `piece`, whole lines, to `batch`: how many there were, or 0 if it is not for this decoder."""
    if any(byte in piece for byte in UNUSUAL):
        return 0
    lines = piece.split(b"\n")
    if not lines[-1]:
        lines.pop()
    widths = set(map(bytes.count, lines, repeat(b" ")))
    if widths not in ({1}, {2}):
        return 0
    width = widths.pop() + 1
    words = b" ".join(lines).split(b" ")
    try:
        series = _series(words[0::width], cache)
        times = _times(words[2::3], precision_ns, window) if width == 3 else None
        groups = _groups(series, words[1::width], cache)
        rows = [batch.shape(shape.measurement, shape.fields) for shape, _, _ in groups]
    except (Rejected, _NotPlain):
        return 0
    if times is None:
        times = [window.default(precision_ns)] * len(lines)
    for one, (_, places, values) in zip(rows, groups, strict=True):
        one.series.extend([series[n] for n in places])
        one.times.extend([times[n] for n in places])
        one.values.extend(values)
        one.places.extend([first_line + n for n in places])
    return len(lines)


class _NotPlain(Exception):
    """These lines need a closer look."""


def _series(heads: list[bytes], cache: SeriesCache) -> list[Series]:
    found = list(map(cache.by_head.get, heads))
    if None in found:
        return [one or _new_series(head, cache) for one, head in zip(found, heads, strict=True)]
    return found  # type: ignore[return-value]


def _new_series(head: bytes, cache: SeriesCache) -> Series:
    if head.startswith(b"#") or not HEAD.fullmatch(head):
        raise _NotPlain
    return series_of(head, cache)


def _times(words: list[bytes], precision_ns: int, window: Window) -> list[int]:
    """The lines' times in microseconds, all of them inside the window."""
    joined = b",".join(words)
    if joined.translate(None, b"0123456789,") or max(map(len, words)) > 19:
        raise _NotPlain
    stamps = np.array(_json_array(joined, len(words)), np.uint64)
    # As floats, which cannot overflow, for the bounds; exactly, once it is known to be near now.
    microseconds = stamps * (precision_ns / 1000)
    if microseconds.min() < window.earliest + 1 or microseconds.max() > min(window.latest, INT64_US) - 1:
        raise _NotPlain
    exact = (
        stamps * np.uint64(precision_ns // 1000) if precision_ns >= 1000 else stamps // np.uint64(1000 // precision_ns)
    )
    return exact.tolist()  # type: ignore[no-any-return]


def _groups(series: list[Series], fields: list[bytes], cache: SeriesCache) -> list[Parsed]:
    """The lines by shape, as their series had it last time; where one has changed, by their own names."""
    shapes = [one.shape for one in series]
    try:
        if len(set(shapes)) == 1 and shapes[0] is not None:
            return [(shapes[0], range(len(fields)), _numbers(shapes[0].words, fields))]
        return _by_shape(shapes, fields)
    except _NotPlain:
        for n, one in enumerate(series):
            shapes[n] = one.shape = _shape(one.measurement, fields[n], cache)
        return _by_shape(shapes, fields)


def _by_shape(shapes: Sequence[Shape | None], fields: list[bytes]) -> list[Parsed]:
    places: dict[Shape, list[int]] = {}
    for n, shape in enumerate(shapes):
        if shape is None:
            raise _NotPlain
        places.setdefault(shape, []).append(n)
    return [(shape, which, _numbers(shape.words, [fields[n] for n in which])) for shape, which in places.items()]


def _shape(measurement: str, fields: bytes, cache: SeriesCache) -> Shape:
    words = tuple(fields.replace(b"=", b"=,").split(b",")[0::2])
    shape = cache.shapes.get((measurement, words))
    if shape is None:
        names = [word[:-1] for word in words]
        if len(set(names)) < len(names) or not all(map(KEY.fullmatch, names)):
            raise _NotPlain
        shape = cache.add_shape(Shape(measurement, words, tuple(map(text, names))))
    return shape


def _numbers(names: tuple[bytes, ...], fields: list[bytes]) -> list[float]:
    """The values of lines that all have these names, each with its equals sign."""
    words = b",".join(fields).replace(b"=", b"=,").split(b",")
    if words[0::2] != list(names) * len(fields):
        raise _NotPlain
    joined = b",".join(words[1::2])
    kinds = joined.translate(None, b"0123456789-+")
    if kinds.translate(None, b",.eEi"):
        raise _NotPlain  # a boolean, an unsigned integer, or no number
    integers = kinds.count(b"i")
    if integers:
        _check_integers(joined, kinds, integers)
        joined = joined.translate(None, b"i")
    numbers = _json_array(joined, len(names) * len(fields))
    if integers and not -(2**63) < min(numbers) <= max(numbers) < 2**63:
        raise _NotPlain
    if (b"e" in kinds or b"E" in kinds) and any(map(math.isinf, numbers)):
        raise _NotPlain
    return numbers


def _check_integers(joined: bytes, kinds: bytes, count: int) -> None:
    """Every `i` must end a word that has neither point nor exponent."""
    if joined.count(b"i,") + joined.endswith(b"i") != count or any(mix in kinds for mix in (b".i", b"ei", b"Ei")):
        raise _NotPlain


def _json_array(joined: bytes, count: int) -> list[float]:
    """So many numbers in JSON's syntax, which is part of line protocol's."""
    try:
        numbers: list[float] = orjson.loads(b"[%b]" % joined)
    except orjson.JSONDecodeError:
        raise _NotPlain from None
    if len(numbers) != count:  # an empty word is no number
        raise _NotPlain
    return numbers
