"""The series cache at a million series: what a series holds in memory, and what it costs to find one.

    python -m bench.cache [--series 1000000]

Every series is one of a host, with ten tags, as in the other benchmarks. *fill* meets each for the first time; *known*
finds it by the bytes that named it, as line protocol does, *tags* by its measurement and tags, as JSON does, and
*spelled* in other bytes, its tags in another order; *bound* fills a cache that has room for half of them. Prints a
table of processor time and memory, and one line of JSON.
"""

from __future__ import annotations

import argparse
import gc
import json
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import islice
from typing import TypeVar

import psutil

from bench import generate
from ingest.names import Limits
from ingest.protocols.heads import series_of
from ingest.series import SeriesCache
from service.settings import MEBIBYTES

LIMITS = Limits(max_fields=1000, max_tags=64, max_tag_bytes=8192, max_shapes=2000)
ROOMY_BYTES = 1 << 40
SOME = 10_000
"""Heads that are made at a time, before the clock starts."""
KINDS = 1_000
"""Hosts whose tags are made; the others have the tags of one of these, and a name of their own."""
LOOKED_UP = 200_000


def main() -> None:
    """Measure, print the table and the JSON."""
    parser = argparse.ArgumentParser(description="Measure the series cache.")
    parser.add_argument("--series", type=int, default=1_000_000)
    count = parser.parse_args().series
    pauses = Pauses()
    figures = measure_roomy(count)
    figures |= measure_bound(count, int(figures["counted_bytes_a_series"] * count) // 2)
    figures["longest_collection_ms"] = pauses.longest_seconds * 1000
    for name, figure in figures.items():
        print(f"{name:24}{figure:>14,.2f}")
    print(json.dumps(figures))


def measure_roomy(count: int) -> dict[str, float]:
    """A cache with room for all."""
    before = memory_bytes()
    cache = SeriesCache(LIMITS, ROOMY_BYTES)
    fill = microseconds(partial(learn, cache), heads_of(count))
    held = memory_bytes() - before
    return {
        "series": len(cache),
        "fill_us": fill,
        "bytes_a_series": held / count,
        "counted_bytes_a_series": cache.size_bytes / count,
        "held_mib": held / MEBIBYTES,
        "known_us": microseconds(lambda heads: list(map(cache.by_head.get, heads)), heads_of(LOOKED_UP)),
        "tags_us": microseconds(lambda some: [cache.find("cpu", tags) for tags in some], tags_of(LOOKED_UP)),
        "spelled_us": microseconds(partial(learn, cache), map(turned, heads_of(LOOKED_UP))),
    }


def measure_bound(count: int, max_bytes: int) -> dict[str, float]:
    """A cache without."""
    cache = SeriesCache(LIMITS, max_bytes)
    fill = microseconds(partial(learn, cache), heads_of(count))
    return {"bound_us": fill, "bound_mib": cache.size_bytes / MEBIBYTES}


def learn(cache: SeriesCache, heads: Sequence[bytes]) -> None:
    """Find the series of each head, and give it a number if it has none, as the catalog does."""
    for head in heads:
        series = series_of(head, cache)
        series.id = series.id or len(cache)


class Pauses:
    """The garbage collector's."""

    def __init__(self) -> None:
        self.longest_seconds = 0.0
        self._began = 0.0
        gc.callbacks.append(self._note)

    def _note(self, phase: str, _: object) -> None:
        if phase == "start":
            self._began = time.process_time()
        else:
            self.longest_seconds = max(self.longest_seconds, time.process_time() - self._began)


def heads_of(count: int) -> Iterator[bytes]:
    """The heads of `count` hosts' lines, each made anew, as it is cut out of a body."""
    kinds = [generate.tags(number).partition(",")[2].encode() for number in range(KINDS)]
    return (b"cpu,hostname=host_%d,%b" % (number, kinds[number % KINDS]) for number in range(count))


def turned(head: bytes) -> bytes:
    """The same series with its last tag first."""
    measurement, *tags = head.split(b",")
    return b",".join([measurement, tags[-1], *tags[:-1]])


def tags_of(count: int) -> Iterator[dict[str, str]]:
    """The tags of `count` hosts, as JSON has them."""
    return (dict(tag.split("=") for tag in head.decode().split(",")[1:]) for head in heads_of(count))


Thing = TypeVar("Thing")


def microseconds(work: Callable[[Sequence[Thing]], object], things: Iterator[Thing]) -> float:
    """Processor time of `work` by the number of things that it is given; what they cost to make is not counted."""
    seconds, done = 0.0, 0
    while some := list(islice(things, SOME)):
        began = time.process_time()
        work(some)
        seconds += time.process_time() - began
        done += len(some)
    return seconds / done * 1e6


def memory_bytes() -> int:
    """What this process holds."""
    gc.collect()
    return int(psutil.Process().memory_info().rss)


if __name__ == "__main__":
    main()
