"""The spool: how fast are request bodies kept durably, and read again? Beside it, the same in SQLite.

    python -m bench.spool [--folder FOLDER] [--mebibytes 512]

Bodies of line protocol are kept by one sender and by eight at a time, each waiting until its body is durable, then read
back, unpacked and removed, oldest first. SQLite takes the same groups, packed the same way, one row and one commit
each, in WAL mode with synchronous=FULL. FOLDER, a temporary one unless given, says which disk is measured.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import cycle, islice
from pathlib import Path

import numpy as np

from bench import generate
from ingest.spool.entry import Request, Summary, pack, unpack
from ingest.spool.queue import SpoolQueue
from ingest.spool.slot import Entry
from ingest.spool.store import Store
from service.settings import MEBIBYTES

START = 1_800_000_000
HOSTS = 1_000
READINGS = 50
LINES = (5_000, 100)
"""Of a body."""
SENDERS = (1, 8)
SMALLER = 8
"""Small bodies are fewer bytes in all by this, since they take longer."""
ROOMY_BYTES = 1 << 40
MEGABYTE = 1_000_000
SYNCS = 100


class SqliteStore(Store):
    """A store that appends to SQLite in place of files; only what is measured here."""

    def __init__(self, folder: Path, *, max_bytes: int) -> None:
        super().__init__(folder, max_bytes=max_bytes)
        self._database = sqlite3.connect(folder / "spool.sqlite", check_same_thread=False, isolation_level=None)
        self._database.execute("PRAGMA journal_mode=WAL")
        self._database.execute("PRAGMA synchronous=FULL")
        self._database.execute("CREATE TABLE entry (id INTEGER PRIMARY KEY, packed BLOB)")

    def append(self, requests: Sequence[Request]) -> Entry:
        """One row, one commit."""
        packed = pack(requests)
        row = self._database.execute("INSERT INTO entry (packed) VALUES (?)", (packed,)).lastrowid or 0
        return Entry(Path(), row, len(packed), **asdict(Summary.of(requests)))

    def replay(self) -> Iterator[list[Request]]:
        """Every row, oldest first, each deleted in a commit of its own after it."""
        while row := self._database.execute("SELECT id, packed FROM entry ORDER BY id LIMIT 1").fetchone():
            yield unpack(row[1], self.max_entry_bytes)
            self._database.execute("DELETE FROM entry WHERE id = ?", (row[0],))

    def close(self) -> None:
        """The database too."""
        self._database.close()
        super().close()


class FileStore(Store):
    """The spool as it is."""

    def replay(self) -> Iterator[list[Request]]:
        """Every entry, oldest first, each removed after it."""
        while (entry := self.oldest()) is not None:
            yield self.read(entry)
            self.remove(entry)


@dataclass(frozen=True)
class Kept:
    """What keeping came to."""

    seconds: float
    acks: list[float]
    """Seconds of each body's wait."""


async def keep_all(store: Store, lines: int, bodies: Sequence[bytes], senders: int) -> Kept:
    """Keep every body, `senders` at a time."""
    queue = SpoolQueue(store)
    pile = iter(bodies)
    acks: list[float] = []

    async def send() -> None:
        for body in pile:
            began = time.perf_counter()
            await queue.keep(Request("influx", 1, now := time.time_ns() // 1000, now, now, lines, body))
            acks.append(time.perf_counter() - began)

    began = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for _ in range(senders):
            group.create_task(send())
    return Kept(time.perf_counter() - began, acks)


def measure(
    kind: type[FileStore | SqliteStore], folder: Path, lines: int, bodies: Sequence[bytes], senders: int
) -> None:
    """Keep the bodies, read them back, and print a line."""
    total = sum(map(len, bodies))
    with tempfile.TemporaryDirectory(dir=folder) as place, kind(Path(place), max_bytes=ROOMY_BYTES) as store:
        kept = asyncio.run(keep_all(store, lines, bodies, senders))
        began = time.perf_counter()
        groups = 0
        replayed = 0
        for requests in store.replay():
            groups += 1
            replayed += sum(len(request.body) for request in requests)
        seconds = time.perf_counter() - began
    if replayed != total:
        raise SystemExit(f"{total} bytes were kept, and {replayed} read back")
    p50, p99 = np.percentile(kept.acks, (50, 99)) * 1000
    print(
        f"{NAMES[kind]:7} {lines:6} {senders:8} {total / kept.seconds / MEGABYTE:10.0f} {p50:9.1f} {p99:9.1f}"
        f" {len(bodies) / groups:8.1f} {total / seconds / MEGABYTE:11.0f}"
    )


NAMES: dict[type[FileStore | SqliteStore], str] = {FileStore: "files", SqliteStore: "sqlite"}


def all_bodies(lines: int, mebibytes: int) -> list[bytes]:
    """Bodies of so many lines, from the same lines again and again."""
    made = [line.encode() for line in generate.lines(generate.cpu_only(HOSTS), START, READINGS)]
    bodies = [b"\n".join(made[at : at + lines]) for at in range(0, len(made), lines)]
    return list(islice(cycle(bodies), mebibytes * MEBIBYTES // len(bodies[0])))


def sync_milliseconds(folder: Path) -> float:
    """The median time to make a block of a new file durable."""
    times: list[float] = []
    with tempfile.TemporaryFile(dir=folder) as file:
        for _ in range(SYNCS):
            file.write(bytes(4096))
            file.flush()
            began = time.perf_counter()
            os.fsync(file.fileno())
            times.append(time.perf_counter() - began)
    return statistics.median(times) * 1000


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Measure the spool, and SQLite in its place.")
    parser.add_argument("--folder", type=Path, help="on the disk to measure")
    parser.add_argument("--mebibytes", type=int, default=512, help="bodies of each run, decompressed")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=chosen.folder) as place:
        print(f"a block is durable in {sync_milliseconds(Path(place)):.2f} ms")
        print("store    lines  senders  kept MB/s  p50, ms   p99, ms  bodies an entry  read MB/s")
        for lines in LINES:
            bodies = all_bodies(lines, chosen.mebibytes if lines == max(LINES) else chosen.mebibytes // SMALLER)
            for senders in SENDERS:
                for kind in NAMES:
                    measure(kind, Path(place), lines, bodies, senders)


if __name__ == "__main__":
    main()
