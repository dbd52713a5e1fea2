"""The loader: sends request bodies that were made before, as fast as they are taken or at a given rate.

    python -m bench.load URL FILE --connections 8 [--lines-per-second 50000] [--header 'Content-Encoding: gzip']

FILE holds the bodies, each after its length and its number of lines (two unsigned 32-bit integers). A body that is
answered with 503 is sent again, as agents do. Prints what it saw as one line of JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import mmap
import struct
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import aiohttp
import numpy as np
import uvloop

PREFIX = struct.Struct(">II")
RETRY_SECONDS = 0.2

Body = tuple[memoryview, int]
"""The bytes and their number of lines."""


def save(bodies: Iterable[tuple[bytes, int]], file: Path) -> None:
    """Write bodies, each with its number of lines, for the loader."""
    with file.open("wb") as out:
        for body, lines in bodies:
            out.write(PREFIX.pack(len(body), lines))
            out.write(body)


def load(file: Path) -> list[Body]:
    """The bodies of a file, not copied."""
    with file.open("rb") as source:
        view = memoryview(mmap.mmap(source.fileno(), 0, access=mmap.ACCESS_READ))
    found: list[Body] = []
    at = 0
    while at < len(view):
        size, lines = PREFIX.unpack_from(view, at)
        at += PREFIX.size
        found.append((view[at : at + size], lines))
        at += size
    return found


class Loader:
    """Several connections that take bodies from one pile."""

    def __init__(
        self, url: str, bodies: list[Body], headers: Mapping[str, str], lines_per_second: float | None
    ) -> None:
        self._url = url
        self._headers = headers
        self._pile: Iterator[Body] = iter(bodies)
        self._pace = lines_per_second
        self._sent_lines = 0
        self.statuses: Counter[int] = Counter()
        self.seconds: list[float] = []
        """From a body's first byte, or from when it was due, to its acknowledgement."""

    async def run(self, connections: int) -> float:
        """Send everything; the seconds it took."""
        timeout = aiohttp.ClientTimeout(total=120)
        async with aiohttp.ClientSession(timeout=timeout, headers=self._headers) as session:
            self._began = time.perf_counter()
            async with asyncio.TaskGroup() as group:
                for _ in range(connections):
                    group.create_task(self._send_all(session))
            return time.perf_counter() - self._began

    async def _send_all(self, session: aiohttp.ClientSession) -> None:
        for body, lines in self._pile:
            due = time.perf_counter()
            if self._pace is not None:
                due = self._began + self._sent_lines / self._pace
                self._sent_lines += lines
                await asyncio.sleep(max(0.0, due - time.perf_counter()))
            await self._send(session, bytes(body))
            self.seconds.append(time.perf_counter() - due)

    async def _send(self, session: aiohttp.ClientSession, body: bytes) -> None:
        while True:
            async with session.post(self._url, data=body) as answer:
                await answer.read()
                self.statuses[answer.status] += 1
            if answer.status != 503:
                return
            await asyncio.sleep(RETRY_SECONDS)


def main() -> None:
    """Send a file and print the figures."""
    parser = argparse.ArgumentParser(description="Send request bodies.")
    parser.add_argument("url")
    parser.add_argument("file", type=Path)
    parser.add_argument("--connections", type=int, default=8)
    parser.add_argument("--lines-per-second", type=float)
    parser.add_argument("--header", action="append", default=[], help="Name: value; repeatable")
    chosen = parser.parse_args()
    bodies = load(chosen.file)
    headers = dict(header.split(": ", 1) for header in chosen.header)
    loader = Loader(chosen.url, bodies, headers, chosen.lines_per_second)
    seconds = uvloop.run(loader.run(chosen.connections))
    lines = sum(count for _, count in bodies)
    p50, p99 = np.percentile(loader.seconds, (50, 99))
    figures = {
        "lines": lines,
        "seconds": seconds,
        "lines_per_second": lines / seconds,
        "ack_p50_ms": p50 * 1000,
        "ack_p99_ms": p99 * 1000,
        "ack_max_ms": max(loader.seconds) * 1000,
        "statuses": dict(loader.statuses),
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
