"""The format of an entry: a group of requests in one file. Pure.

A first line, readable, then one zstd frame that states its size and ends with its checksum (RFC 8878):

    tidemark spool 1 {"requests":2,"points":10000,"received_us":1800000000123456,"first_us":..,"last_us":..}\\n

`received_us` is that of the request received first, `first_us` and `last_us` are the times of the earliest point and of
the latest. In the frame, each request is a line of JSON, then its body:

    {"protocol":"influx","precision_ns":1,"received_us":..,"first_us":..,"last_us":..,"points":5000,"bytes":1498000}\\n

`tail -n +2 FILE | zstd -d` shows it to a person. A change to what is written here is a new version, and the readers of
older ones stay.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

import orjson
import zstandard

from ingest.spool.errors import CorruptEntry, UnknownVersion

LEVEL = 1
"""Of zstd. Bodies are text that repeats itself: the fastest level leaves about a tenth of it."""
HEAD_BYTES = 300
"""More than any request's head has."""
FIRST_LINE_BYTES = 300
"""More than any first line has."""
FIRST_LINE = re.compile(rb"tidemark spool ([0-9]{1,9}) (\{.*\})\n")


@dataclass(frozen=True, slots=True)
class Request:
    """A request as it was received: what decoding it again needs."""

    protocol: str
    """Names its decoder."""
    precision_ns: int
    """Nanoseconds in the unit of its times."""
    received_us: int
    """Unix time of its receipt: that of points without one, and the middle of the window of allowed times."""
    first_us: int
    last_us: int
    """The times of the earliest and the latest of its points, from the Unix epoch."""
    points: int
    """How many were accepted when it was first decoded."""
    body: bytes
    """Decompressed."""

    @property
    def size_bytes(self) -> int:
        """What it takes of an entry, at most, before that is compressed."""
        return len(self.body) + HEAD_BYTES


@dataclass(frozen=True, slots=True)
class Summary:
    """What the first line says of an entry."""

    requests: int
    points: int
    received_us: int
    first_us: int
    last_us: int

    @classmethod
    def of(cls, requests: Sequence[Request]) -> Summary:
        """What it says of these, one at least."""
        return cls(
            len(requests),
            sum(request.points for request in requests),
            min(request.received_us for request in requests),
            min(request.first_us for request in requests),
            max(request.last_us for request in requests),
        )


@dataclass(frozen=True, slots=True)
class _Head:
    """The line before a request's body."""

    protocol: str
    precision_ns: int
    received_us: int
    first_us: int
    last_us: int
    points: int
    bytes: int


def pack(requests: Sequence[Request]) -> bytes:
    """The entry's file for these requests, one at least."""
    pieces: list[bytes] = []
    for one in requests:
        told = (one.protocol, one.precision_ns, one.received_us, one.first_us, one.last_us, one.points)
        head = _Head(*told, len(one.body))
        pieces += (orjson.dumps(asdict(head)), b"\n", one.body)
    frame = zstandard.ZstdCompressor(level=LEVEL, write_checksum=True, write_content_size=True)
    first = b"tidemark spool 1 %b\n" % orjson.dumps(asdict(Summary.of(requests)))
    return first + frame.compress(b"".join(pieces))


def unpack(entry: bytes, max_bytes: int) -> list[Request]:
    """The requests in an entry's file, which has at most `max_bytes` when it is decompressed.

    Raises `CorruptEntry` unless it is what `pack` made, `UnknownVersion` for one that only later code can read.
    """
    version, first, start = _first_line(entry)
    reader = READERS.get(version)
    if reader is None:
        raise UnknownVersion(
            f"it is of version {version}, which this code does not know (it reads {', '.join(map(str, READERS))})"
        )
    summary = _summary(first)
    requests = reader(memoryview(entry)[start:], max_bytes)
    if not requests or Summary.of(requests) != summary:
        raise CorruptEntry("its first line does not tell what it holds")
    return requests


def peek(beginning: bytes) -> Summary | None:
    """What the first line says, unchecked, from the first `FIRST_LINE_BYTES`; None when this code cannot read it."""
    try:
        version, summary, _ = _first_line(beginning)
        return _summary(summary) if version in READERS else None
    except CorruptEntry:
        return None


def _first_line(entry: bytes) -> tuple[int, bytes, int]:
    """The version, the summary as JSON, and where the rest starts."""
    match = FIRST_LINE.match(entry, 0, FIRST_LINE_BYTES)
    if match is None:
        raise CorruptEntry("it does not begin as an entry does")
    return int(match[1]), match[2], match.end()


def _summary(text: bytes) -> Summary:
    try:
        summary = Summary(**orjson.loads(text))
    except (ValueError, TypeError):
        raise CorruptEntry("its first line is damaged") from None
    _check(summary.requests, summary.points, summary.received_us, times=(summary.first_us, summary.last_us))
    return summary


def _check(*counts: object, times: Sequence[object]) -> None:
    integers = all(type(number) is int for number in (*counts, *times))
    if not integers or not all(isinstance(count, int) and count >= 0 for count in counts):
        raise CorruptEntry("a number in it is none")


def _read_version_1(frame: memoryview, max_bytes: int) -> list[Request]:
    content = _decompressed(frame, max_bytes)
    requests: list[Request] = []
    at = 0
    while at < len(content):
        end = content.find(b"\n", at)
        if end < 0:
            raise CorruptEntry(f"the head of request {len(requests) + 1} has no end")
        head = _head(content[at:end], len(requests) + 1)
        at = end + 1 + head.bytes
        if at > len(content):
            raise CorruptEntry(f"the body of request {len(requests) + 1} is not all there")
        body = content[end + 1 : at]
        told = (head.protocol, head.precision_ns, head.received_us, head.first_us, head.last_us, head.points)
        requests.append(Request(*told, body))
    return requests


def _head(line: bytes, number: int) -> _Head:
    try:
        head = _Head(**orjson.loads(line))
    except (ValueError, TypeError):
        raise CorruptEntry(f"the head of request {number} is damaged") from None
    if type(head.protocol) is not str:
        raise CorruptEntry(f"the protocol of request {number} is no text")
    _check(head.precision_ns, head.received_us, head.points, head.bytes, times=(head.first_us, head.last_us))
    return head


def _decompressed(frame: memoryview, max_bytes: int) -> bytes:
    """The content of a frame. Its size is looked at first, since that much memory is taken for it."""
    try:
        told = zstandard.get_frame_parameters(frame)
        if not told.has_checksum or told.content_size == zstandard.CONTENTSIZE_UNKNOWN:
            raise CorruptEntry("its frame lacks its size or its checksum")
        if told.content_size > max_bytes:
            raise CorruptEntry(f"it says that it holds {told.content_size} bytes, more than the {max_bytes} allowed")
        return zstandard.ZstdDecompressor().decompress(frame, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise CorruptEntry(f"its frame is damaged: {error}") from None


READERS: dict[int, Callable[[memoryview, int], list[Request]]] = {1: _read_version_1}
"""By version: what follows the first line, and the most bytes that it may have decompressed."""
