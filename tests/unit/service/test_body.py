"""Bodies out of their encodings."""

from __future__ import annotations

import gzip
import zlib
from typing import Any

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from service.body import DECODINGS, MAX_PARTS
from service.errors import TooLarge

PLAIN = b"cpu,host=a usage=1.5\n" * 1000


def bare_deflate(plain: bytes) -> bytes:
    """Deflate without zlib's header, as some clients send it."""
    stream = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return stream.compress(plain) + stream.flush()


ENCODED = [
    ("gzip", gzip.compress(PLAIN)),
    ("x-gzip", gzip.compress(PLAIN)),
    ("gzip", gzip.compress(PLAIN[:1000]) + gzip.compress(PLAIN[1000:])),
    ("gzip", gzip.compress(PLAIN) + bytes(64)),
    ("deflate", zlib.compress(PLAIN)),
    ("deflate", bare_deflate(PLAIN)),
    ("zstd", zstandard.compress(PLAIN)),
    ("zstd", zstandard.compress(PLAIN[:1000]) + zstandard.compress(PLAIN[1000:])),
    ("zstd", b"\x50\x2a\x4d\x18\x04\0\0\0skip" + zstandard.compress(PLAIN)),
    ("zstd", zstandard.ZstdCompressor(write_content_size=False).compress(PLAIN)),
]
FAULTS = (EOFError, zlib.error, zstandard.ZstdError)


@pytest.mark.parametrize(("encoding", "body"), ENCODED)
def test_what_was_encoded_comes_out(encoding: str, body: bytes) -> None:
    """Also of several members or frames, with padding, and of bare deflate."""
    assert DECODINGS[encoding](body, len(PLAIN) + 1) == PLAIN


@pytest.mark.parametrize(("encoding", "body"), [(name, body) for name, body in ENCODED if not body.endswith(bytes(64))])
def test_a_body_cut_short_is_told(encoding: str, body: bytes) -> None:
    """A body that ends too early is no body, wherever it was cut: half a number may be another number."""
    for end in (1, len(body) - 5, len(body) - 1):
        with pytest.raises(FAULTS):
            DECODINGS[encoding](body[:end], len(PLAIN) + 1)


@pytest.mark.parametrize(("encoding", "body"), ENCODED)
def test_garbage_behind_a_body_is_told(encoding: str, body: bytes) -> None:
    """What follows the end must be another member or frame."""
    with pytest.raises(FAULTS):
        DECODINGS[encoding](body + b"garbage", len(PLAIN) + 1)


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "zstd"])
def test_a_bomb_is_opened_up_to_the_bound(encoding: str) -> None:
    """A small body that stands for 64 MiB gives no more than was asked for."""
    zeros = bytes(2**20)
    stream: Any = {
        "gzip": zlib.compressobj(wbits=31),
        "deflate": zlib.compressobj(),
        "zstd": zstandard.ZstdCompressor().compressobj(),
    }[encoding]
    bomb = b"".join([*(stream.compress(zeros) for _ in range(64)), stream.flush()])
    assert len(bomb) < 100_000
    assert DECODINGS[encoding](bomb, 1000) == bytes(1000)


@pytest.mark.parametrize(
    ("encoding", "empty"),
    [("gzip", gzip.compress(b"", mtime=0)), ("zstd", zstandard.compress(b"")), ("zstd", b"\x50\x2a\x4d\x18\0\0\0\0")],
    ids=["member", "frame", "skippable frame"],
)
def test_the_parts_of_a_body_are_bounded(encoding: str, empty: bytes) -> None:
    """Millions of parts with nothing in them, which fit into a body, are too much work to open."""
    assert DECODINGS[encoding](empty * MAX_PARTS, 1000) == b""
    with pytest.raises(TooLarge, match=r"more than 10000 gzip members or zstd frames; send it in fewer"):
        DECODINGS[encoding](empty * (MAX_PARTS + 1), 1000)


def test_a_zstd_frame_cannot_ask_for_much_memory() -> None:
    """A window past 8 MiB, RFC 9659's bound for HTTP, is refused."""
    parameters = zstandard.ZstdCompressionParameters(window_log=27)
    frame = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    with pytest.raises(zstandard.ZstdError, match="too much memory"):
        DECODINGS["zstd"](frame.compress(PLAIN) + frame.flush(), 100)


@given(st.sampled_from(sorted(DECODINGS)), st.binary(min_size=1, max_size=100))
def test_random_bytes_are_told(encoding: str, body: bytes) -> None:
    """Bytes that are no body raise what stands for a bad body, and nothing else."""
    try:
        DECODINGS[encoding](body, 1000)
    except FAULTS as fault:
        told = str(fault)
    else:
        told = "plain"
    assert told
