"""Faults that strike the spool, each while the database is out of reach and requests are spooled."""

from __future__ import annotations

import asyncio
import errno
import re
import signal
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import orjson
import zstandard

from ingest.spool.entry import Request, unpack
from ingest.spool.errors import UnreadableEntry
from tests.faults.ledger import Point
from tests.faults.load import Client, line_body, until
from tests.faults.site import Site, Strike
from tests.small_disk import fill

FEW_ENTRIES = 3
MAX_ENTRY_BYTES = 1 << 28
MID_WRITE_SECONDS = 2.0
NUMBER = re.compile(rb'\ba"?[=:](\d+)')
"""A point's number, in each of the forms that the load sends."""
STRANGERS = (1_000, 1_000_000_000)
"""Numbers of clients that are none of the load's."""
MICROSECONDS = 1_000_000


async def full_disk(site: Site) -> None:
    """Something else takes what is left of the spool's disk for a while."""
    assert site.small_spool is not None
    ballast = site.small_spool / "ballast"
    with _unreachable_database(site):
        await site.load.suffers(site.chance.randint(1, 8))
        try:
            await asyncio.to_thread(fill, ballast)
            await site.load.suffers(site.chance.randint(10, 30))
        finally:
            ballast.unlink()
        await site.load.suffers(site.chance.randint(1, 8))


async def killed_in_mid_write(site: Site) -> None:
    """kill -9 while an entry is written, and a new start, once or more often before the database is back."""
    with _unreachable_database(site):
        for _ in range(site.chance.randint(1, 3)):
            await site.load.suffers(site.chance.randint(5, 20))
            await asyncio.to_thread(_await_a_write, site.spool)
            await site.ingest.stop(signal.SIGKILL)
            await site.ingest.start()


def _await_a_write(spool: Path) -> None:
    """Return when an entry is being written, or after a while: what another fault stops is not waited for."""
    deadline = time.monotonic() + MID_WRITE_SECONDS
    while time.monotonic() < deadline and not any(spool.glob("*/*.tmp")):
        pass


async def ended_while_draining(site: Site) -> None:
    """SIGTERM or SIGKILL just when the database is back and the spool is drained, and a new start."""
    with _unreachable_database(site):
        await site.load.suffers(site.chance.randint(20, 60))
    await site.load.is_acknowledged(site.chance.randint(1, 5))
    number = site.chance.choice((signal.SIGTERM, signal.SIGKILL))
    status = await site.ingest.stop(number)
    assert status == (0 if number is signal.SIGTERM else -number), site.ingest.running.text()
    await site.ingest.start()


async def older_version(site: Site) -> None:
    """An ingest of the first version that kept points left an entry, which the next start finds."""
    points = _stranger(site)
    await site.ingest.stop(signal.SIGTERM)
    await _leave(site, _version_1(points))
    await site.ingest.start()


async def later_version(site: Site) -> None:
    """A later version left an entry that this one cannot read: it is set aside whole."""
    points = _stranger(site)
    await site.ingest.stop(signal.SIGTERM)
    site.ledger.damaged(point.number for point in points)
    await _leave(site, _version_1(points).replace(b"tidemark spool 1 ", b"tidemark spool 999 ", 1))
    await site.ingest.start()


async def byte_flipped(site: Site) -> None:
    """A byte of an entry that waits is another one."""
    await flip_a_byte(site)


async def flip_a_byte(site: Site) -> tuple[str, bytes]:
    """The name of the entry whose byte is another one, and what it held before."""
    with _unreachable_database(site):
        await until(lambda: len(_readable(_waiting(site))) >= FEW_ENTRIES)
        # With ingest down: one that runs may have read the entry already, and write it yet.
        await site.ingest.stop(signal.SIGKILL)
        entry, requests = site.chance.choice(sorted(_readable(_waiting(site)).items(), key=str))
        content = entry.read_bytes()
        site.ledger.damaged(map(int, NUMBER.findall(b"\n".join(request.body for request in requests))))
        at, flipped = _flipped(site, content)
        with entry.open("r+b") as file:
            file.seek(at)
            file.write(flipped)
        await site.ingest.start()
    return entry.name, content


def _flipped(site: Site, content: bytes) -> tuple[int, bytes]:
    """Where a byte is another one, and which; one that has a meaning: a few bits of a frame have none."""
    while True:
        at, bit = site.chance.randrange(len(content)), site.chance.randrange(8)
        flipped = bytes([content[at] ^ 1 << bit])
        try:
            unpack(content[:at] + flipped + content[at + 1 :], MAX_ENTRY_BYTES)
        except UnreadableEntry:
            return at, flipped


def _waiting(site: Site) -> set[Path]:
    """The entries that wait."""
    return set(site.spool.glob("*/*.batch"))


def _readable(entries: Iterable[Path]) -> dict[Path, list[Request]]:
    """What is in those that this version can read: another fault may have left others."""
    found: dict[Path, list[Request]] = {}
    for entry in entries:
        with suppress(UnreadableEntry):
            found[entry] = unpack(entry.read_bytes(), MAX_ENTRY_BYTES)
    return found


@contextmanager
def _unreachable_database(site: Site) -> Iterator[None]:
    site.back.refuse()
    try:
        yield
    finally:
        site.back.accept()


def _stranger(site: Site) -> list[Point]:
    """Points of a client that is none of the load's, acknowledged by whoever left them in the spool."""
    points = Client(site.chance.randrange(*STRANGERS), site.chance, site.ledger).points()
    site.ledger.sent(points)
    site.ledger.acknowledged(points)
    return points


def _version_1(points: Sequence[Point]) -> bytes:
    """An entry of one request, as version 1 has it, whatever is written today."""
    body = line_body(points)
    times_us = [time * MICROSECONDS for _, _, time in (point.key for point in points)]
    told = {"received_us": max(times_us), "first_us": min(times_us), "last_us": max(times_us), "points": len(points)}
    head = orjson.dumps({"protocol": "influx", "precision_ns": 10**9, **told, "bytes": len(body)})
    frame = zstandard.ZstdCompressor(write_checksum=True, write_content_size=True).compress(head + b"\n" + body)
    return b"tidemark spool 1 " + orjson.dumps({"requests": 1, **told}) + b"\n" + frame


async def _leave(site: Site, content: bytes) -> None:
    """Put an entry into the spool, behind all others, when there is room: another fault may have filled the disk."""
    used = [int(path.stem) for path in site.spool.glob("0/**/*.batch")]
    place = site.spool / "0" / f"{max(used, default=0) + 1:020}.batch"
    draft = site.spool / f"{place.stem}.left"
    await until(lambda: _is_written(draft, content))
    draft.rename(place)


def _is_written(file: Path, content: bytes) -> bool:
    try:
        file.write_bytes(content)
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        return False
    return True


WITH_A_START: list[Strike] = [
    killed_in_mid_write,
    ended_while_draining,
    older_version,
    later_version,
    byte_flipped,
]
"""Those that end ingest and start it."""
