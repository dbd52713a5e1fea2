"""Take readings: every input at once, each multiple of the interval, whatever becomes of their delivery."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Mapping
from typing import NamedTuple, NoReturn

import psutil

from ingest.agent import lines
from ingest.agent.backlog import Backlog, Reading
from ingest.agent.instruments import Instruments
from ingest.agent.points import Input, PartlyRead, Point
from ingest.agent.settings import AgentSettings
from service import logs

log = logs.get(__name__)

SECOND_NS = 1_000_000_000
MILLISECOND_NS = 1_000_000


class Answer(NamedTuple):
    """What came of asking one input."""

    points: list[Point]
    faults: dict[str, Exception | None]
    """What is wrong, in a line each, and where it happened if nobody foresaw it."""


class Collector:
    """Reads the inputs, each in a thread of its own, so that one that hangs keeps nothing but itself.

    An input that fails, or has not answered after `patience_seconds`, is counted each time and logged when
    that begins and when it ends; the points of the others are there all the same. One that hangs is not asked
    again before it has answered.
    """

    def __init__(self, inputs: Mapping[str, Input], patience_seconds: float, instruments: Instruments) -> None:
        self._inputs = inputs
        self._patience_seconds = patience_seconds
        self._instruments = instruments
        self._asked: dict[str, asyncio.Task[Answer]] = {}
        self._faults: dict[str, set[str]] = {}

    @property
    def is_waiting(self) -> bool:
        """Whether an input was asked and has not answered."""
        return any(not task.done() for task in self._asked.values())

    async def read(self) -> list[Point]:
        """The points of every input that answers in time."""
        free = [name for name in self._inputs if name not in self._asked or self._asked[name].done()]
        asked = {name: asyncio.create_task(asyncio.to_thread(_ask, self._inputs[name])) for name in free}
        self._asked |= asked
        if asked:
            await asyncio.wait(asked.values(), timeout=self._patience_seconds)
        points = []
        for name, task in self._asked.items():
            if name in asked and task.done():  # one asked for an earlier reading has numbers of that time
                answer = task.result()
                points += answer.points
                self._instruments.gather_errors += len(answer.faults)
                self._note(name, answer.faults)
            else:
                self._instruments.gather_timeouts += 1
                self._note(name, {f"no answer in {self._patience_seconds:g} s": None})
        return points

    def _note(self, name: str, faults: dict[str, Exception | None]) -> None:
        """Log what is new of an input's faults, and the end of them."""
        known = self._faults.get(name, set())
        for fault, error in faults.items():
            if fault not in known:
                log.warning("an input cannot be read", input=name, fault=fault, exc_info=error)
        if known and not faults:
            log.info("an input is read again", input=name)
        self._faults[name] = set(faults)


def _ask(read: Input) -> Answer:
    try:
        return Answer(read(), {})
    except PartlyRead as error:
        return Answer(error.points, dict.fromkeys(error.faults))
    except (OSError, psutil.Error, NotImplementedError) as error:
        return Answer([], {f"{type(error).__name__}: {error}": None})
    except Exception as error:  # noqa: BLE001 - a host nobody has seen: logged with its traceback by `_note`
        return Answer([], {f"{type(error).__name__}: {error}": error})


def seconds_to_next(now: float, interval_seconds: float) -> float:
    """The time from `now` (Unix seconds) to the next whole multiple of the interval.

    A multiple that is nearer than a hundredth of the interval is the one just served: a timer may fire a
    little early by the clock.
    """
    earliest = now + interval_seconds / 100
    return math.ceil(earliest / interval_seconds) * interval_seconds - now


def rounded(time_ns: int, interval_seconds: float) -> int:
    """`time_ns` to the second, or to the millisecond if readings are more frequent than that.

    Telegraf's rule: a reading that begins a little late has the time of its turn, as on every other host.
    """
    unit = SECOND_NS if interval_seconds >= 1 else MILLISECOND_NS
    return (time_ns + unit // 2) // unit * unit


async def collect(
    collector: Collector, backlog: Backlog, settings: AgentSettings, instruments: Instruments
) -> NoReturn:
    """Put a reading into the backlog at every multiple of the interval, for ever."""
    tags = {**settings.tags, "host": settings.hostname}
    while True:
        await asyncio.sleep(seconds_to_next(time.time(), settings.interval_seconds))
        taken_ns = rounded(time.time_ns(), settings.interval_seconds)
        points = await collector.read()
        instruments.metrics_gathered += len(points) + 1
        points.append(instruments.point())
        backlog.add(Reading.of(lines.encode(points, tags, taken_ns), len(points)))
