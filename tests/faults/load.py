"""The load: clients that write points, and keep a ledger of what they were promised.

A client sends one body at a time: new points, and now and then corrections of points that it knows to be acknowledged.
What is not acknowledged it sends again, the same bytes, as agents do; now and then it gives up at once instead.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import aiohttp
import orjson

from tests.conftest import DEADLINE_SECONDS
from tests.faults.ledger import Ledger, Point

CLIENTS = 6
PACE_SECONDS = 0.02
"""Between two bodies of a client: what is measured here is not speed."""
RETRY_SECONDS = 0.1
ATTEMPT_SECONDS = 8.0
POLL_SECONDS = 0.02

FIRST_TIME = 1_700_000_000
TIME_STEP = 97
POINTS_PER_BODY = (1, 25)
BODIES_PER_SERIES = 8
MEASUREMENTS = ("first", "second", "third")
RECENT = 60
"""How many of its last points a client may correct."""

CORRECTING, GIVING_UP = 0.3, 0.1
"""The shares of bodies that hold corrections, and that are given up when they fail."""

AGAIN = {408, 503}
"""After these a client may send the same again. Others say that a fault of ours reached it."""


async def until(condition: Callable[[], bool]) -> None:
    """Wait for something that comes about by itself."""
    async with asyncio.timeout(DEADLINE_SECONDS):
        while True:
            if condition():
                return
            await asyncio.sleep(POLL_SECONDS)


class Load:
    """Several clients of one ingest."""

    def __init__(self, url: str, chance: random.Random, ledger: Ledger) -> None:
        self._url = url
        self._chance = chance
        self._ledger = ledger
        self._is_over = False
        self.answers: Counter[str] = Counter()
        """Of all attempts: `committed`, `spooled`, a status, or the name of the client's error."""
        self.unexpected: list[str] = []
        """Answers that no client should hear."""

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Load]:
        """Run the clients; in the end each must get its last body acknowledged, unless it gives it up, before long."""
        async with asyncio.TaskGroup() as group:
            clients = [group.create_task(self._client(number)) for number in range(CLIENTS)]
            yield self
            self._is_over = True
            async with asyncio.timeout(DEADLINE_SECONDS):
                await asyncio.wait(clients)

    async def is_acknowledged(self, bodies: int) -> None:
        """Wait until so many more bodies have been acknowledged."""
        await self._more(lambda: self.answers["committed"] + self.answers["spooled"], bodies)

    async def suffers(self, attempts: int) -> None:
        """Wait until so many more attempts have met anything but a commit."""
        await self._more(lambda: self.answers.total() - self.answers["committed"], attempts)

    async def _more(self, counted: Callable[[], int], more: int) -> None:
        wanted = counted() + more
        await until(lambda: counted() >= wanted)

    async def _client(self, number: int) -> None:
        client = Client(number, random.Random(self._chance.random()), self._ledger)
        timeout = aiohttp.ClientTimeout(total=ATTEMPT_SECONDS)
        # One in three makes a connection for each attempt.
        connector = aiohttp.TCPConnector(force_close=number % 3 == 0)
        async with aiohttp.ClientSession(self._url, timeout=timeout, connector=connector) as session:
            while not self._is_over:
                points = client.points()
                self._ledger.sent(points)
                if await self._deliver(session, client, points):
                    self._ledger.acknowledged(points)
                    client.may_correct(points)
                await asyncio.sleep(PACE_SECONDS)

    async def _deliver(self, session: aiohttp.ClientSession, client: Client, points: Sequence[Point]) -> bool:
        """Send until acknowledged, or once only; whether it was acknowledged."""
        path, body = client.body(points)
        gives_up = client.gives_up()
        deadline = time.monotonic() + DEADLINE_SECONDS
        while True:
            answer = await self._attempt(session, path, body)
            self.answers[answer] += 1
            if answer in ("committed", "spooled"):
                return True
            await asyncio.sleep(RETRY_SECONDS)
            if gives_up:
                return False
            if time.monotonic() > deadline:
                self.unexpected.append(f"a body was not acknowledged in {DEADLINE_SECONDS} s, at last: {answer}")
                return False

    async def _attempt(self, session: aiohttp.ClientSession, path: str, body: bytes) -> str:
        try:
            async with session.post(path, data=body) as response:
                text = await response.text()
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            return type(error).__name__
        durability = response.headers.get("Tidemark-Durability", "")
        if response.status == 204 and durability in ("committed", "spooled"):
            return durability
        if response.status not in AGAIN:
            self.unexpected.append(f"{response.status} {durability} {text}")
        return str(response.status)


class Client:
    """What one client sends."""

    def __init__(self, number: int, chance: random.Random, ledger: Ledger) -> None:
        self._number = number
        self._chance = chance
        self._ledger = ledger
        self._bodies = 0
        self._time = FIRST_TIME
        self._known: deque[Point] = deque(maxlen=RECENT)

    def points(self) -> list[Point]:
        """New points of a series that changes now and then, and corrections of acknowledged ones."""
        series = f"{self._number}-{self._bodies // BODIES_PER_SERIES}"
        measurement = MEASUREMENTS[(self._number + self._bodies // BODIES_PER_SERIES) % len(MEASUREMENTS)]
        self._bodies += 1
        points = []
        for _ in range(self._chance.randint(*POINTS_PER_BODY)):
            self._time += TIME_STEP
            points.append(self._ledger.point((measurement, series, self._time)))
        if self._known and self._chance.random() < CORRECTING:
            for _ in range(self._chance.randint(1, min(5, len(self._known)))):
                # Not to be corrected again before it is known that this one has arrived.
                at = self._chance.randrange(len(self._known))
                points.append(self._ledger.point(self._known[at].key))
                del self._known[at]
        return points

    def may_correct(self, points: Sequence[Point]) -> None:
        """These were acknowledged."""
        self._known.extend(points)

    def gives_up(self) -> bool:
        """Whether the next body is sent once only."""
        return self._chance.random() < GIVING_UP

    def body(self, points: Sequence[Point]) -> tuple[str, bytes]:
        """The path and the bytes of a request: line protocol of both versions, or JSON, by client."""
        if self._number % 3 == 1:
            return "/api/v1/points?precision=s", orjson.dumps([_as_json(point) for point in points])
        path = ("/write?precision=s", "", "/api/v2/write?precision=s")[self._number % 3]
        return path, line_body(points)


def line_body(points: Sequence[Point]) -> bytes:
    """The points in line protocol, with times in seconds."""
    return "\n".join(map(_as_line, points)).encode()


def _as_line(point: Point) -> str:
    measurement, series, time = point.key
    return f"{measurement},series={series} a={point.number},b={-point.number} {time}"


def _as_json(point: Point) -> dict[str, object]:
    measurement, series, time = point.key
    return {
        "measurement": measurement,
        "time": time,
        "tags": {"series": series},
        "fields": {"a": point.number, "b": -point.number},
    }
