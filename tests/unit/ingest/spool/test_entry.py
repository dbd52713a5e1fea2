from __future__ import annotations

import io
import shutil
import subprocess

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from ingest.spool.entry import FIRST_LINE_BYTES, HEAD_BYTES, Request, Summary, pack, peek, unpack
from ingest.spool.errors import CorruptEntry, UnknownVersion, UnreadableEntry

MAX_BYTES = 1 << 20
COUNTS = st.integers(0, 2**53)
TIMES = st.integers(-(2**62), 2**62)
REQUESTS = st.builds(
    Request, st.text(max_size=20), COUNTS, COUNTS, TIMES, TIMES, st.integers(0, 10**6), st.binary(max_size=300)
)

SMALL = [
    Request("influx", 1, 1_800_000_000_000_000, -5, 5, 2, b"cpu a=1\ncpu b=2"),
    Request("json", 10**9, 7, 1, 2, 1, b"{}"),
]


@given(st.lists(REQUESTS, min_size=1, max_size=8))
def test_what_is_packed_is_unpacked(requests: list[Request]) -> None:
    """Whatever the requests hold, newlines and empty bodies too, they come back the same and in their order."""
    entry = pack(requests)
    assert unpack(entry, MAX_BYTES) == requests
    assert peek(entry[:FIRST_LINE_BYTES]) == Summary.of(requests)


@given(st.sampled_from(("influx", "prometheus-remote-write-2")), *(st.integers(0, 2**63 - 1) for _ in range(3)))
def test_a_head_has_at_most_the_bytes_it_is_counted_with(
    protocol: str, precision_ns: int, received_us: int, points: int
) -> None:
    """The largest numbers there are fit into what `size_bytes` reckons for a head, and into the first line."""
    request = Request(protocol, precision_ns, received_us, -points, points, points, b"")
    assert request.size_bytes == HEAD_BYTES
    assert len(pack([request]).partition(b"\n")[0]) < FIRST_LINE_BYTES
    assert unpack(pack([request]), HEAD_BYTES) == [request]


def test_an_entry_cut_anywhere_is_corrupt() -> None:
    """An entry that ends too early is never read, whatever is left of it."""
    entry = pack(SMALL)
    for length in range(len(entry)):
        with pytest.raises(CorruptEntry):
            unpack(entry[:length], MAX_BYTES)


def test_an_entry_with_more_behind_it_is_corrupt() -> None:
    """Neither junk nor another frame may follow."""
    entry = pack(SMALL)
    for more in (b"\0", entry, entry.partition(b"\n")[2]):
        with pytest.raises(CorruptEntry):
            unpack(entry + more, MAX_BYTES)


@pytest.mark.parametrize("bits", [*(1 << bit for bit in range(8)), 0xFF])
def test_no_flipped_byte_changes_what_is_read(bits: int) -> None:
    """Flip any byte: the entry is refused, or the very same requests are read; never others."""
    entry = pack(SMALL)
    refused = 0
    for at in range(len(entry)):
        flipped = bytearray(entry)
        flipped[at] ^= bits
        try:
            assert unpack(bytes(flipped), MAX_BYTES) == SMALL
        except UnreadableEntry:
            refused += 1
    assert refused >= len(entry) - 5  # a few bits of a frame mean nothing, such as a reserved one of its head


def frame(content: bytes, *, checksum: bool = True, size: bool = True) -> bytes:
    """An entry of this content, under a first line that fits `SMALL`."""
    packer = zstandard.ZstdCompressor(write_checksum=checksum, write_content_size=size)
    return pack(SMALL).partition(b"\n")[0] + b"\n" + packer.compress(content)


HEAD = b'{"protocol":"influx","precision_ns":1,"received_us":1,"first_us":1,"last_us":1,"points":1,"bytes":2}\n'


@pytest.mark.parametrize(
    ("entry", "what"),
    [
        (b"", "does not begin"),
        (b"tidemark spool one {}\n", "does not begin"),
        (b"tidemark spool 1 {}\n", "first line is damaged"),
        (pack(SMALL).replace(b'"points":3', b'"points":-1'), "a number in it is none"),
        (pack(SMALL).replace(b'"points":3', b'"points":4'), "does not tell what it holds"),
        (pack(SMALL).replace(b'"points":3', b'"parts":3'), "first line is damaged"),
        (frame(b""), "does not tell what it holds"),
        (frame(HEAD + b"ab", checksum=False), "lacks its size or its checksum"),
        (frame(HEAD + b"ab", size=False), "lacks its size or its checksum"),
        (frame(HEAD + b"ab"), "does not tell what it holds"),
        (frame(HEAD[:-1]), "the head of request 1 has no end"),
        (frame(HEAD + b"a"), "the body of request 1 is not all there"),
        (frame(HEAD + b"ab" + b"x\n"), "the head of request 2 is damaged"),
        (frame(b"[]\n"), "the head of request 1 is damaged"),
        (frame(HEAD.replace(b"1,", b"1.5,")), "a number in it is none"),
        (frame(HEAD.replace(b"1,", b"true,")), "a number in it is none"),
        (frame(HEAD.replace(b'"influx"', b"5")), "the protocol of request 1 is no text"),
        (frame(HEAD.replace(b":2}", b":-2}")), "a number in it is none"),
    ],
)
def test_what_does_not_fit_is_named(entry: bytes, what: str) -> None:
    """An entry that is whole but not as it must be is corrupt, and the error says where."""
    with pytest.raises(CorruptEntry, match=what):
        unpack(entry, MAX_BYTES)


def test_another_version_is_told_from_a_corrupt_entry() -> None:
    """The version is named, and those that can be read."""
    later = pack(SMALL).replace(b"tidemark spool 1", b"tidemark spool 12", 1)
    with pytest.raises(UnknownVersion, match=r"of version 12, which this code does not know \(it reads 1\)"):
        unpack(later, MAX_BYTES)
    assert peek(later) is None


def test_decompression_is_bounded() -> None:
    """An entry that holds more than is allowed is refused by what it says, before memory is taken for it."""
    bomb = frame(bytes(300 * MAX_BYTES))
    assert len(bomb) < MAX_BYTES
    with pytest.raises(CorruptEntry, match=f"holds {300 * MAX_BYTES} bytes, more than the {MAX_BYTES} allowed"):
        unpack(bomb, MAX_BYTES)


VERSION_1 = bytes.fromhex(
    "746964656d61726b2073706f6f6c2031207b227265717565737473223a322c22706f696e7473223a332c2272656365697665"
    "645f7573223a372c2266697273745f7573223a2d352c226c6173745f7573223a357d0a28b52ffd24f32d04004287181b7069"
    "75664d90c551cb99cc8aebd7ff47eec1567422cd20505068027129a251a303c66d3046a20602802d15f1287aab97489e06bd"
    "1f5b6ecf83ace709bc76ab3c0504456f7814d4615552eea9e8cd0ec6db9b946bcf23e052d81e7d71e2c7ae7d090c00a008ec"
    "fbc36000e3e4611de82880c13c823037b0721fcc2c3f5b73078002ff5e8eb1"
)
"""An entry as it was written when version 1 came."""


def test_version_1_stays_readable() -> None:
    """An entry kept from the first day of version 1 is read as it was written."""
    assert unpack(VERSION_1, MAX_BYTES) == SMALL


@pytest.mark.skipif(shutil.which("zstd") is None, reason="there is no zstd command")
def test_an_entry_can_be_read_by_hand() -> None:
    """Everything after the first line is what the zstd command reads."""
    packed = io.BytesIO(pack(SMALL))
    packed.readline()
    shown = subprocess.run(["zstd", "-d"], input=packed.read(), capture_output=True, check=True)
    assert SMALL[0].body in shown.stdout
