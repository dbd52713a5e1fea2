from __future__ import annotations

import asyncio
import threading

import pytest
from structlog.testing import capture_logs

from ingest.agent.collect import Collector, rounded, seconds_to_next
from ingest.agent.instruments import Instruments
from ingest.agent.points import PartlyRead, Point

GOOD = Point("good", {"value": 1})


@pytest.mark.parametrize(
    ("now", "interval", "wait"),
    [
        (1000.0, 5.0, 5.0),
        (1001.0, 5.0, 4.0),
        (1004.5, 5.0, 0.5),
        (1004.99, 5.0, 5.01),  # woken early for 1005, which is served: the next is 1010
        (1000.25, 0.5, 0.25),
    ],
)
def test_readings_are_taken_at_multiples_of_the_interval(now: float, interval: float, wait: float) -> None:
    """The hosts of a fleet read at the same moments, and a timer that fires early reads once."""
    assert seconds_to_next(now, interval) == pytest.approx(wait)


def test_a_time_is_rounded_to_the_second() -> None:
    """A reading that begins a little late has its turn's time; frequent ones are told apart by milliseconds."""
    assert rounded(1_700_000_005_003_200_000, 5.0) == 1_700_000_005_000_000_000
    assert rounded(1_700_000_004_999_900_000, 1.0) == 1_700_000_005_000_000_000
    assert rounded(1_700_000_005_003_200_000, 0.5) == 1_700_000_005_003_000_000


async def test_an_input_that_fails_is_counted_each_time_and_logged_once() -> None:
    """The others are read; when it works again, that is one more line."""
    broken = True

    def sometimes() -> list[Point]:
        if broken:
            raise PermissionError(13, "Permission denied", "/proc/nothing")
        return [Point("sometimes", {"value": 2})]

    instruments = Instruments()
    collector = Collector({"sometimes": sometimes, "good": lambda: [GOOD]}, 10, instruments)
    with capture_logs() as lines:
        assert await collector.read() == [GOOD]
        assert await collector.read() == [GOOD]
        broken = False
        assert len(await collector.read()) == 2
        assert len(await collector.read()) == 2
    assert instruments.gather_errors == 2
    assert [(line["log_level"], line["input"]) for line in lines] == [
        ("warning", "sometimes"),
        ("info", "sometimes"),
    ]
    assert "/proc/nothing" in lines[0]["fault"]
    assert lines[0]["exc_info"] is None


async def test_the_unforeseen_is_logged_with_its_traceback() -> None:
    """A fault of ours in an input is not hidden by the care for the others."""

    def wrong() -> list[Point]:
        raise KeyError("MemTotal")

    collector = Collector({"wrong": wrong, "good": lambda: [GOOD]}, 10, Instruments())
    with capture_logs() as lines:
        assert await collector.read() == [GOOD]
    (line,) = lines
    assert isinstance(line["exc_info"], KeyError)


async def test_a_part_that_fails_leaves_the_rest_of_its_input() -> None:
    """What could be read is sent; each fault is counted, and logged when it is new."""
    faults = ["/a: gone"]

    def partly() -> list[Point]:
        raise PartlyRead([GOOD], list(faults))

    instruments = Instruments()
    collector = Collector({"disk": partly}, 10, instruments)
    with capture_logs() as lines:
        assert await collector.read() == [GOOD]
        faults.append("/b: gone")
        assert await collector.read() == [GOOD]
    assert instruments.gather_errors == 3
    assert [line["fault"] for line in lines] == ["/a: gone", "/b: gone"]


async def answered(collector: Collector) -> None:
    """Wait until no input of `collector` owes an answer."""
    while collector.is_waiting:  # noqa: ASYNC110 - the collector has no event to wait for
        await asyncio.sleep(0.001)


async def test_an_input_that_hangs_holds_up_nobody() -> None:
    """It is not asked again before it has answered, its late answer is not taken for a new one, and it returns."""
    release = threading.Event()
    asked = 0

    def hangs() -> list[Point]:
        nonlocal asked
        asked += 1
        release.wait()
        return [Point("late", {"value": asked})]

    instruments = Instruments()
    collector = Collector({"hangs": hangs, "good": lambda: [GOOD]}, 0.05, instruments)
    with capture_logs() as lines:
        for _ in range(3):
            assert GOOD in await collector.read()
        assert asked == 1
        assert instruments.gather_timeouts == 3
        assert collector.is_waiting
        release.set()
        await answered(collector)
        points: list[Point] = []
        while len(points) < 2:  # on a busy machine the good one may be the late one now
            points = await collector.read()
    assert Point("late", {"value": 1}) not in points
    assert [line["event"] for line in lines if line["input"] == "hangs"] == [
        "an input cannot be read",
        "an input is read again",
    ]
