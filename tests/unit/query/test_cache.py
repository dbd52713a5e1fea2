"""Entries in memory, and what is let through to Redis."""

from __future__ import annotations

from datetime import UTC, datetime

from prometheus_client import CollectorRegistry

from query.cache import OVERHEAD_BYTES, Memory
from query.entries import Entry, Stamp
from query.instruments import Instruments
from query.remote import FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS, Breaker

STAMP = Stamp("e", 1, datetime(2026, 11, 25, tzinfo=UTC))
ENTRY_BYTES = 1 + 100 + OVERHEAD_BYTES


def entry(letter: str = "x") -> Entry:
    """One of a hundred bytes."""
    return Entry(STAMP, letter.encode() * 100)


async def test_what_was_unused_for_longest_leaves() -> None:
    """Bytes are bounded, and what was asked for last stays."""
    registry = CollectorRegistry()
    memory = Memory(3 * ENTRY_BYTES, Instruments(registry))
    for key in (b"a", b"b", b"c"):
        await memory.put({key: entry()})
    assert set(await memory.get([b"a"])) == {b"a"}
    await memory.put({b"d": entry()})
    assert set(await memory.get([b"a", b"b", b"c", b"d"])) == {b"a", b"c", b"d"}
    assert registry.get_sample_value("query_cache_bytes") == 3 * ENTRY_BYTES
    assert registry.get_sample_value("query_cache_entries") == 3
    assert registry.get_sample_value("query_cache_evicted_total") == 1


async def test_an_entry_takes_the_place_of_an_older_one() -> None:
    """The same key holds one entry, and its bytes are counted once."""
    registry = CollectorRegistry()
    memory = Memory(10 * ENTRY_BYTES, Instruments(registry))
    await memory.put({b"a": entry("x")})
    await memory.put({b"a": entry("y")})
    assert (await memory.get([b"a"]))[b"a"] == entry("y")
    assert registry.get_sample_value("query_cache_bytes") == ENTRY_BYTES


async def test_an_entry_larger_than_all_is_not_kept() -> None:
    """It would have to leave at once, and does."""
    memory = Memory(10, Instruments(CollectorRegistry()))
    await memory.put({b"a": entry()})
    assert await memory.get([b"a"]) == {}


def test_the_breaker_opens_for_longer_each_time() -> None:
    """After an error nothing passes for a while, after the next one for twice as long; success closes it."""
    breaker = Breaker()
    assert not breaker.is_open(0.0)
    pauses = []
    now = 0.0
    for _ in range(8):
        breaker.failed(now)
        assert breaker.is_broken
        assert breaker.is_open(now)
        ends = next(now + n / 2 for n in range(1, 100) if not breaker.is_open(now + n / 2))
        pauses.append(ends - now)
        now = ends
    assert pauses[0] == FIRST_PAUSE_SECONDS
    assert pauses[1] == 2 * FIRST_PAUSE_SECONDS
    assert pauses[-1] == LONGEST_PAUSE_SECONDS
    assert breaker.worked(), "that is news"
    assert not breaker.worked()
    assert not breaker.is_broken
    breaker.failed(now)
    assert not breaker.is_open(now + FIRST_PAUSE_SECONDS)
