"""What was read and is not delivered yet: a queue of readings, oldest first, bounded in bytes."""

from __future__ import annotations

import asyncio
import gzip
from collections import deque
from dataclasses import dataclass

from ingest.agent.instruments import Instruments
from service import logs

log = logs.get(__name__)

GZIP_ABOVE_BYTES = 1024
"""A body up to this size goes in one packet as it is."""


@dataclass(frozen=True, slots=True)
class Reading:
    """One request: its body as it is sent, and how many points it holds."""

    body: bytes
    points: int
    compressed: bool = False

    @classmethod
    def of(cls, lines: bytes, points: int) -> Reading:
        """The reading for `lines`, compressed if that is worth it."""
        if len(lines) <= GZIP_ABOVE_BYTES:
            return cls(lines, points)
        return cls(gzip.compress(lines, mtime=0), points, compressed=True)


class Backlog:
    """Readings in the order they were taken; past `max_bytes` the oldest are dropped and counted."""

    def __init__(self, max_bytes: int, instruments: Instruments) -> None:
        self._max_bytes = max_bytes
        self._instruments = instruments
        self._readings: deque[Reading] = deque()
        self._bytes = 0
        self._filled = asyncio.Event()
        self._overflowing = False

    def __len__(self) -> int:
        return len(self._readings)

    def add(self, reading: Reading) -> None:
        """Keep a new reading."""
        self._readings.append(reading)
        self._settle(len(reading.body))

    def put_back(self, reading: Reading) -> None:
        """Keep a reading that was taken and could not be delivered; it is the oldest again."""
        self._readings.appendleft(reading)
        self._settle(len(reading.body))

    async def take(self) -> Reading:
        """The oldest reading, as soon as there is one; it is the caller's from now on."""
        while not self._readings:
            self._filled.clear()
            await self._filled.wait()
        reading = self._readings.popleft()
        self._bytes -= len(reading.body)
        if not self._readings:
            self._overflowing = False
        return reading

    def _settle(self, added_bytes: int) -> None:
        self._bytes += added_bytes
        while self._bytes > self._max_bytes:
            dropped = self._readings.popleft()
            self._bytes -= len(dropped.body)
            self._instruments.metrics_dropped += dropped.points
            if not self._overflowing:
                self._overflowing = True
                log.warning("the buffer is full; the oldest readings are dropped", buffer_bytes=self._max_bytes)
        self._filled.set()
