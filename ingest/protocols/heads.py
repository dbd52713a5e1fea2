r"""The head of a line of line protocol, `measurement,tag=value`, and the words it is made of.

A measurement escapes comma and space with a backslash; keys and tag values also the equals sign; any other
backslash stands for itself. Names hold no control character; a tag's value may, but for line ends.

No group that is repeated possessively may fail after its first byte: Python before 3.11.5 would go on from there.
"""

from __future__ import annotations

import re
from functools import lru_cache

from ingest.names import MAX_NAME_BYTES, Rejected
from ingest.points import Series
from ingest.series import SeriesCache

CONTROL = rb"\x00-\x1f\x7f"
MEASUREMENT_WORD = rb"(?:[^" + CONTROL + rb", \\]++|\\[, ]?)++"
KEY_WORD = rb"(?:[^" + CONTROL + rb",= \\]++|\\[,= ]?)++"
VALUE_WORD = rb"(?:[^\r\n,= \\]++|\\[,= ]?)++"

HEAD = re.compile(MEASUREMENT_WORD + rb"(?:," + KEY_WORD + rb"=" + VALUE_WORD + rb")*")
MEASUREMENT = re.compile(MEASUREMENT_WORD)
TAG = re.compile(rb",(" + KEY_WORD + rb")=(" + VALUE_WORD + rb")")
KEY = re.compile(KEY_WORD)

TRUE = (b"t", b"T", b"true", b"True", b"TRUE")
FALSE = (b"f", b"F", b"false", b"False", b"FALSE")

CACHED_BYTES = 2 * MAX_NAME_BYTES
"""The longest word that is remembered: a name, all of it escaped."""


def series_of(head: bytes, cache: SeriesCache) -> Series:
    """The series that `head`, which `HEAD` matches in full, names. Raises `Rejected` when it breaks a rule."""
    return cache.by_head.get(head) or cache.recall(head) or _new_series(head, cache)


def _new_series(head: bytes, cache: SeriesCache) -> Series:
    measurement = MEASUREMENT.match(head)
    assert measurement is not None, "HEAD begins with a measurement"
    tags: dict[str, str] = {}
    for raw_key, raw_value in TAG.findall(head, measurement.end()):
        key = unescaped(raw_key)
        if key in tags:
            raise Rejected("syntax", f"tag {shown(raw_key)} is given twice")
        tags[key] = unescaped(raw_value)
    series = cache.find(text(re.sub(rb"\\([, ])", rb"\1", measurement[0])), tags)
    cache.remember(head, series)
    return series


def unescaped(raw: bytes) -> str:
    """A key or a tag's value, without its escapes. Raises `Rejected` when it is not UTF-8."""
    return _remembered(raw) if len(raw) <= CACHED_BYTES else _unescaped(raw)


def _unescaped(raw: bytes) -> str:
    return text(re.sub(rb"\\([,= ])", rb"\1", raw) if b"\\" in raw else raw)


_remembered = lru_cache(maxsize=10_000)(_unescaped)


def text(raw: bytes) -> str:
    """`raw` as text. Raises `Rejected` when it is not UTF-8."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise Rejected("syntax", f"{shown(raw)} is not UTF-8") from None


def shown(raw: bytes) -> str:
    """A piece of a body for a message, bounded."""
    return repr(raw[:60].decode(errors="backslashreplace")) + ("..." if len(raw) > 60 else "")
