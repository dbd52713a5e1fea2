"""A sustained load: is ingest's memory flat, and how long do acknowledgements take?

    python -m bench.soak [--series 100000] [--minutes 10] [--lines-per-second 30000]

Every series has a point at each moment of the load; the moments are ten seconds apart and go on and on. Prints the
memory of ingest minute by minute, and one line of JSON; acknowledgements of the first tenth, when every series is new,
and of the rest are told apart.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import statistics
import time
from collections.abc import Iterator

import aiohttp
import numpy as np
import uvloop

from bench import generate, systems
from bench.generate import READING_SECONDS
from bench.ingest import START, embedded
from bench.observe import SAMPLE_SECONDS, Usage, watched
from service.settings import home

CONNECTIONS = 4
MINUTE = 60


def main() -> None:
    """Run the load and print the figures."""
    parser = argparse.ArgumentParser(description="Load ingest for minutes and watch its memory.")
    parser.add_argument("--series", type=int, default=100_000)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--lines-per-second", type=float, default=30_000)
    chosen = parser.parse_args()
    folder = home() / "bench" / "soak"
    shutil.rmtree(folder, ignore_errors=True)
    try:
        with embedded(folder) as server, systems.tidemark(server.database("soak"), server.postmaster) as system:
            with watched({"ingest": system.pids["ingest"]}) as usage:
                seconds, lines = uvloop.run(
                    load(system.write_url, chosen.series, chosen.minutes * MINUTE, chosen.lines_per_second)
                )
            found = system.settled("cpu", generate.CPU_FIELDS[0], lines)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    report(usage["ingest"], seconds, lines, lines - found)


async def load(url: str, series: int, seconds: float, lines_per_second: float) -> tuple[list[float], int]:
    """Send at a steady rate for so long: the seconds of each acknowledgement, and the lines sent."""
    stamp = f"{START}000000000".encode()
    bodies = list(generate.bodies(generate.cpu_only(series), START, 1))
    acks: list[float] = []
    sent = 0
    began = time.perf_counter()

    def moments() -> Iterator[tuple[bytes, int]]:
        for moment in range(START, START + 10**9, READING_SECONDS):
            for body, count in bodies:
                yield body.replace(stamp, f"{moment}000000000".encode()), count

    pile = moments()

    async def send_all(session: aiohttp.ClientSession) -> None:
        nonlocal sent
        while (due := began + sent / lines_per_second) < began + seconds:
            body, count = next(pile)
            sent += count
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            async with session.post(url, data=body) as answer:
                if answer.status != 204:
                    raise SystemExit(f"{answer.status}: {await answer.text()}")
            acks.append(time.perf_counter() - due)

    async with aiohttp.ClientSession() as session, asyncio.TaskGroup() as group:
        for _ in range(CONNECTIONS):
            group.create_task(send_all(session))
    return acks, sent


def report(usage: Usage, acks: list[float], lines: int, missing: int) -> None:
    """Print memory by the minute, and the figures."""
    samples = round(MINUTE / SAMPLE_SECONDS)
    minutes = [
        statistics.median(usage.samples_mib[start : start + samples])
        for start in range(0, len(usage.samples_mib), samples)
    ]
    p50, p99 = np.percentile(acks[len(acks) // 10 :], (50, 99))
    print("ingest, median MiB of each minute: " + ", ".join(f"{one:.0f}" for one in minutes))
    figures = {
        "lines": lines,
        "missing": missing,
        "slowest_first_ack_ms": max(acks[: len(acks) // 10]) * 1000,
        "later_ack_p50_ms": p50 * 1000,
        "later_ack_p99_ms": p99 * 1000,
        "peak_mib": usage.peak_mib,
        "minutes_mib": minutes,
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
