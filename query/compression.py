"""Compressing answers as `Accept-Encoding` asks, piece by piece. Pure."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Protocol

import zstandard

from query.negotiation import by_quality

LEAST_BYTES = 1024
"""An answer below it is sent as it is: a packet is a packet."""

GZIP_LEVEL = 5
ZSTD_LEVEL = 3
"""Where both are at some hundred megabytes a second or not far from it; higher levels cost more than they save."""
GZIP_WINDOW = 16 + zlib.MAX_WBITS


class Compressor(Protocol):
    """Takes pieces of an answer, and gives pieces of what is sent."""

    def compress(self, data: bytes | bytearray, /) -> bytes:
        """What can be sent after one more piece."""

    def flush(self) -> bytes:
        """The rest."""


CODINGS: dict[str, Callable[[], Compressor]] = {
    "zstd": lambda: zstandard.ZstdCompressor(level=ZSTD_LEVEL).compressobj(),
    "gzip": lambda: zlib.compressobj(level=GZIP_LEVEL, wbits=GZIP_WINDOW),
}
"""The best first."""
OFFERED = (*CODINGS, "identity")


def compressed(whole: bytes, coding: str) -> bytes:
    """All of an answer in a coding."""
    compressor = CODINGS[coding]()
    return compressor.compress(whole) + compressor.flush()


def choose(accept_encoding: str | None) -> str | None:
    """The coding that the client likes best; None for none."""
    liked = by_quality(accept_encoding or "", OFFERED)
    return liked[0] if liked and liked[0] != "identity" else None
