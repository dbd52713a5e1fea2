"""Reading a request's body: within bounds of size and time, and out of its encoding."""

from __future__ import annotations

import asyncio
import gzip
import io
import zlib
from collections.abc import Callable
from dataclasses import dataclass

import zstandard
from aiohttp import web

from ingest.budget import Hold
from service.errors import BadRequest, RequestTimeout, TooLarge, Unsupported

OFF_LOOP_BYTES = 64 * 1024
"""A longer body is decompressed in a thread: 64 KiB may become megabytes, which take the loop's time."""


@dataclass(frozen=True, slots=True)
class BodyLimits:
    """The bounds of one body."""

    max_bytes: int
    """Decompressed."""
    timeout_seconds: float
    """From the head to the last byte."""


def _gunzip(body: bytes, max_bytes: int) -> bytes:
    with gzip.GzipFile(fileobj=io.BytesIO(body)) as file:
        return file.read(max_bytes)


def _inflate(body: bytes, max_bytes: int) -> bytes:
    stream = zlib.decompressobj()
    plain = stream.decompress(body, max_bytes)
    if not stream.eof and len(plain) < max_bytes:
        raise EOFError("the stream ends before its end marker")
    return plain


def _unzstd(body: bytes, max_bytes: int) -> bytes:
    with zstandard.ZstdDecompressor().stream_reader(body, read_across_frames=True) as reader:
        return reader.read(max_bytes)


DECODINGS: dict[str, Callable[[bytes, int], bytes]] = {
    "gzip": _gunzip,
    "x-gzip": _gunzip,
    "deflate": _inflate,
    "zstd": _unzstd,
}
"""Each gives at most so many bytes of what it decodes, however much there is."""


async def read_body(request: web.Request, limits: BodyLimits, hold: Hold) -> bytes:
    """The request's body, plain, charged to `hold`.

    Raises `Unsupported` for an encoding not read here, `TooLarge` past the bound, `RequestTimeout` for a body
    that does not arrive, `BadRequest` for one that is not what its encoding says, `Unavailable` when too much
    is waiting already.
    """
    encoding = request.headers.get("Content-Encoding", "identity").strip().lower() or "identity"
    if encoding != "identity" and encoding not in DECODINGS:
        raise Unsupported(
            f"Content-Encoding {encoding[:60]!r} is not read here, allowed are identity, {', '.join(DECODINGS)}"
        )
    if (request.content_length or 0) > limits.max_bytes:
        raise _too_large(limits)
    raw = await _receive(request, limits, hold)
    if encoding == "identity":
        return raw
    try:
        if len(raw) > OFF_LOOP_BYTES:
            plain = await asyncio.to_thread(DECODINGS[encoding], raw, limits.max_bytes + 1)
        else:
            plain = DECODINGS[encoding](raw, limits.max_bytes + 1)
    except (OSError, EOFError, zlib.error, zstandard.ZstdError) as error:
        raise BadRequest(f"the body is not valid {encoding}: {error}") from None
    if len(plain) > limits.max_bytes:
        raise _too_large(limits)
    hold.add(len(plain))
    return plain


async def _receive(request: web.Request, limits: BodyLimits, hold: Hold) -> bytes:
    chunks: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(limits.timeout_seconds):
            async for chunk in request.content.iter_any():
                size += len(chunk)
                if size > limits.max_bytes:
                    raise _too_large(limits)
                hold.add(len(chunk))
                chunks.append(chunk)
    except TimeoutError:
        raise RequestTimeout(
            f"the body did not arrive within {limits.timeout_seconds:g} s (INGEST_BODY_TIMEOUT_SECONDS)"
        ) from None
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def _too_large(limits: BodyLimits) -> TooLarge:
    return TooLarge(
        f"the body is larger than {limits.max_bytes} bytes, decompressed (INGEST_MAX_BODY_BYTES); "
        "send it in smaller requests",
        limit="INGEST_MAX_BODY_BYTES",
    )
