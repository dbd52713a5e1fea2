from __future__ import annotations

import asyncio
import gzip

from structlog.testing import capture_logs

from ingest.agent.backlog import Backlog, Reading
from ingest.agent.instruments import Instruments


def readings(count: int, size: int = 10) -> list[Reading]:
    """Readings of `size` bytes and three points each, told apart by their first byte."""
    return [Reading(bytes([n]).ljust(size), points=3) for n in range(count)]


async def test_the_oldest_comes_first() -> None:
    """Readings leave in the order they came; one that is put back is the oldest again."""
    backlog = Backlog(1000, Instruments())
    first, second, third = readings(3)
    backlog.add(first)
    backlog.add(second)
    assert await backlog.take() is first
    backlog.add(third)
    backlog.put_back(first)
    assert [await backlog.take() for _ in range(3)] == [first, second, third]
    assert len(backlog) == 0


async def test_past_the_bound_the_oldest_are_dropped_and_counted() -> None:
    """Of five readings of ten bytes, thirty bytes keep the last three; six points are dropped."""
    instruments = Instruments()
    backlog = Backlog(30, instruments)
    given = readings(5)
    for reading in given:
        backlog.add(reading)
    assert instruments.metrics_dropped == 6
    assert [await backlog.take() for _ in range(3)] == given[2:]


async def test_a_reading_put_back_into_a_full_backlog_is_the_one_dropped() -> None:
    """It is the oldest, and it is counted once: it was taken, not lost, while it was under way."""
    instruments = Instruments()
    backlog = Backlog(20, instruments)
    first, second, third = readings(3)
    backlog.add(first)
    taken = await backlog.take()
    backlog.add(second)
    backlog.add(third)
    assert instruments.metrics_dropped == 0
    backlog.put_back(taken)
    assert instruments.metrics_dropped == 3
    assert [await backlog.take() for _ in range(2)] == [second, third]


async def test_dropping_is_logged_once_until_the_backlog_is_empty() -> None:
    """A long outage is one line; the next one is another."""
    backlog = Backlog(20, Instruments())
    with capture_logs() as lines:
        for reading in readings(6):
            backlog.add(reading)
    assert len(lines) == 1
    while len(backlog):
        await backlog.take()
    with capture_logs() as lines:
        for reading in readings(6):
            backlog.add(reading)
    assert len(lines) == 1


async def test_who_takes_from_an_empty_backlog_waits() -> None:
    """The taker goes on with the next reading, and a taker that gave up takes nothing with it."""
    backlog = Backlog(1000, Instruments())
    (reading,) = readings(1)
    impatient = asyncio.create_task(backlog.take())
    await asyncio.sleep(0)
    impatient.cancel()
    await asyncio.gather(impatient, return_exceptions=True)
    patient = asyncio.create_task(backlog.take())
    await asyncio.sleep(0)
    assert not patient.done()
    backlog.add(reading)
    assert await patient is reading


def test_a_large_body_is_compressed() -> None:
    """Lines that fit a packet go as they are; more are gzipped, and say so."""
    small, large = b"mem used=1i 5\n", b"mem used=1i 5\n" * 200
    assert Reading.of(small, 1) == Reading(small, 1, compressed=False)
    reading = Reading.of(large, 200)
    assert reading.compressed
    assert len(reading.body) < len(large)
    assert gzip.decompress(reading.body) == large
