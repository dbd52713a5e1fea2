"""The spool of several workers, as real processes: each has a slot of its own, and none is lost with its worker."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from itertools import count

import aiohttp
import psutil
import psycopg
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.conftest import DEADLINE_SECONDS, POLL_SECONDS, Commands
from tests.relay import Relay, relay_to
from tests.workers import port_nobody_has

WORKERS = 2
T = 1_700_000_000


@pytest.fixture
async def relay(database: str) -> AsyncIterator[Relay]:
    """A way to the test's database, closed for now."""
    async with relay_to(database) as relay:
        relay.refuse()
        yield relay


async def write(url: str, number: int) -> str | None:
    """Write a point over a connection of its own; how it is kept, None when it is not."""
    try:
        async with (
            aiohttp.ClientSession() as client,
            client.post(f"{url}/write?precision=s", data=f"m,host=h{number} f={number} {T + number}") as response,
        ):
            return response.headers.get("Tidemark-Durability")
    except aiohttp.ClientError:
        return None


async def waiting(url: str) -> dict[str, float]:
    """How many entries each worker that answers has in its hands."""
    try:
        async with aiohttp.ClientSession() as client, client.get(f"{url}/metrics") as response:
            text = await response.text()
    except aiohttp.ClientError:
        return {}
    return {
        sample.labels["worker"]: sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == "ingest_spool_entries" and sample.labels["kind"] == "waiting"
    }


class Sender:
    """Writes points, each once."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.kept: set[int] = set()
        self._numbers = count(1)

    async def until_all_hold_some(self) -> None:
        """Write until every worker has something in its hands."""
        async with asyncio.timeout(DEADLINE_SECONDS):
            while not (len(held := await waiting(self.url)) == WORKERS and all(held.values())):
                number = next(self._numbers)
                if await write(self.url, number) == "spooled":
                    self.kept.add(number)

    async def until_none_holds_any(self) -> None:
        """Wait until every worker has nothing in its hands."""
        async with asyncio.timeout(DEADLINE_SECONDS):
            while True:
                held = await waiting(self.url)
                if len(held) == WORKERS and not any(held.values()):
                    return
                await asyncio.sleep(POLL_SECONDS)


async def test_a_worker_that_is_killed_leaves_its_slot_to_its_successor(
    commands: Commands, database: str, relay: Relay
) -> None:
    """Whatever was acknowledged by any of them is written when the database is back."""
    port = port_nobody_has()
    commands.environment |= {
        "DATABASE_URL": relay.through(database),
        "INGEST_RETRY_SECONDS": "0.2",
        "INGEST_PORT": str(port),
    }
    running = commands.start("ingest", "--workers", str(WORKERS))
    await asyncio.to_thread(running.until, "listening")
    sender = Sender(f"http://127.0.0.1:{port}")
    await sender.until_all_hold_some()
    psutil.Process(running.process.pid).children()[0].kill()
    await asyncio.to_thread(running.until, "a worker ended unexpectedly")
    await sender.until_all_hold_some()
    relay.accept()
    await sender.until_none_holds_any()
    with psycopg.connect(database) as connection:
        found = {int(f) for (f,) in connection.execute("SELECT f FROM points.m").fetchall()}
    assert sender.kept <= found
