"""Reading a request's body: within bounds of size and time, and out of its encoding."""

from __future__ import annotations

import asyncio
import io
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

import zstandard
from aiohttp import web

from service.errors import BadRequest, RequestTimeout, TooLarge, Unsupported
from service.settings import MEBIBYTES

OFF_LOOP_BYTES = 16 * 1024
"""A longer body is decompressed in a thread: 16 KiB may become 16 MiB, which take the loop's time."""

DECOMPRESSORS = ThreadPoolExecutor(max_workers=2, thread_name_prefix="decompress")
"""Few, since what each makes is charged only when it is done."""

ZSTD_WINDOW_BYTES = 8 * MEBIBYTES
"""The memory that a sender of zstd may ask for; RFC 9659 sets this bound for HTTP."""
ZSTD_STEP_BYTES, GZIP_STEP_BYTES = 256, 8 * 1024
"""How much is decompressed between two looks at the bound: it becomes 8 MiB at most."""
MAX_PARTS = 10_000
"""Of a body that is joined of gzip members or zstd frames: an empty one costs microseconds, and has but a few bytes."""


@dataclass(frozen=True, slots=True)
class BodyLimits:
    """The bounds of one body."""

    max_bytes: int
    """As it arrives, and decompressed."""
    timeout_seconds: float
    """From the head to the last byte."""
    settings: str
    """What the names of the settings that say so begin with: `INGEST` or `QUERY`."""
    remedy: str
    """What to do about a body that is too large."""


class Charged(Protocol):
    """What counts the bytes of a body as they come to be held, and may refuse them."""

    def add(self, count: int) -> None:
        """Count `count` bytes more."""


class _Part(Protocol):
    """A gzip member or a zstd frame, while it is decompressed."""

    @property
    def eof(self) -> bool:
        """Whether its end has been reached."""

    @property
    def unused_data(self) -> bytes:
        """What of the last piece comes after that."""

    def decompress(self, data: bytes, /) -> bytes:
        """What the next piece stands for."""


def _joined(body: bytes, max_bytes: int, begin: Callable[[], _Part], step_bytes: int, padding: bytes = b"") -> bytes:
    """What the parts of `body` stand for, one after the other; between them there may be `padding`."""
    plain = bytearray()
    part, parts, at = begin(), 1, 0
    while at < len(body) and len(plain) < max_bytes:
        piece = body[at : at + step_bytes]
        at += len(piece)
        if part.eof:
            piece = piece.lstrip(padding)
            if not piece:
                continue
            part, parts = begin(), parts + 1
            if parts > MAX_PARTS:
                raise TooLarge(f"the body has more than {MAX_PARTS} gzip members or zstd frames; send it in fewer")
        plain += part.decompress(piece)
        at -= len(part.unused_data)
    if len(plain) < max_bytes and not part.eof:
        raise EOFError("it ends before its end marker")
    return bytes(memoryview(plain)[:max_bytes])


def _gunzip(body: bytes, max_bytes: int) -> bytes:
    return _joined(body, max_bytes, lambda: zlib.decompressobj(zlib.MAX_WBITS | 16), GZIP_STEP_BYTES, b"\0")


def _inflate(body: bytes, max_bytes: int) -> bytes:
    # The name stands for zlib's format (RFC 9110); some clients send bare deflate all the same.
    is_zlib = len(body) > 1 and body[0] & 15 == zlib.DEFLATED and int.from_bytes(body[:2]) % 31 == 0
    stream = zlib.decompressobj(zlib.MAX_WBITS if is_zlib else -zlib.MAX_WBITS)
    plain = stream.decompress(body, max_bytes)
    if len(plain) < max_bytes:
        if not stream.eof:
            raise EOFError("it ends before its end marker")
        if stream.unused_data:
            raise zlib.error("more follows its end marker")
    return plain


def _unzstd(body: bytes, max_bytes: int) -> bytes:
    decompressor = zstandard.ZstdDecompressor(max_window_size=ZSTD_WINDOW_BYTES)
    return _joined(body, max_bytes, decompressor.decompressobj, ZSTD_STEP_BYTES)


DECODINGS: dict[str, Callable[[bytes, int], bytes]] = {
    "gzip": _gunzip,
    "x-gzip": _gunzip,
    "deflate": _inflate,
    "zstd": _unzstd,
}
"""Each gives at most so many bytes of what it decodes, however much there is."""


async def read_body(request: web.Request, limits: BodyLimits, hold: Charged | None = None) -> bytes:
    """The request's body, plain, charged to `hold` where there is one. The server must leave bodies encoded.

    Raises `Unsupported` for an encoding not read here, `TooLarge` past a bound, `RequestTimeout` for a body
    that does not arrive, `BadRequest` for one that is not what its encoding says, and what `hold` raises.
    """
    encoding = ", ".join(request.headers.getall("Content-Encoding", [])).strip().lower() or "identity"
    if encoding != "identity" and encoding not in DECODINGS:
        raise Unsupported(
            f"Content-Encoding {encoding[:60]!r} is not read here, allowed are identity, {', '.join(DECODINGS)}"
        )
    if (request.content_length or 0) > limits.max_bytes:
        raise _too_large(limits)
    raw = await _receive(request, limits, hold)
    if encoding == "identity" or not raw:
        return raw
    try:
        if len(raw) > OFF_LOOP_BYTES:
            loop = asyncio.get_running_loop()
            plain = await loop.run_in_executor(DECOMPRESSORS, DECODINGS[encoding], raw, limits.max_bytes + 1)
        else:
            plain = DECODINGS[encoding](raw, limits.max_bytes + 1)
    except (EOFError, zlib.error, zstandard.ZstdError) as error:
        raise BadRequest(f"the body is not valid {encoding}: {error}") from None
    if len(plain) > limits.max_bytes:
        raise _too_large(limits)
    if hold is not None:
        hold.add(len(plain))
    return plain


async def _receive(request: web.Request, limits: BodyLimits, hold: Charged | None) -> bytes:
    # Not a list of what arrives: a sender may make that byte by byte. And its value is no copy.
    body = io.BytesIO()
    try:
        async with asyncio.timeout(limits.timeout_seconds):
            async for chunk in request.content.iter_any():
                if body.tell() + len(chunk) > limits.max_bytes:
                    raise _too_large(limits)
                if hold is not None:
                    hold.add(len(chunk))
                body.write(chunk)
    except TimeoutError:
        setting = f"{limits.settings}_BODY_TIMEOUT_SECONDS"
        raise RequestTimeout(f"the body did not arrive within {limits.timeout_seconds:g} s ({setting})") from None
    return body.getvalue()


def _too_large(limits: BodyLimits) -> TooLarge:
    setting = f"{limits.settings}_MAX_BODY_BYTES"
    return TooLarge(
        f"the body is larger than {limits.max_bytes} bytes, decompressed ({setting}); {limits.remedy}", limit=setting
    )
