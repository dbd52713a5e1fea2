"""Several workers of ingest on one port, as real processes."""

from __future__ import annotations

import asyncio
import signal
import socket
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import psutil
import psycopg
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.conftest import DEADLINE_SECONDS, Commands, Running, gate, sum_of
from tests.workers import port_nobody_has

WORKERS = 3
EVERY_WORKER = {"0", "1", "2"}
T = 1_700_000_000


@dataclass
class Ingest:
    """A supervisor with its workers."""

    running: Running
    url: str
    temporary: Path
    """The folder in which they make theirs."""

    def workers(self) -> list[psutil.Process]:
        """The processes of the workers."""
        return psutil.Process(self.running.process.pid).children()

    async def get(self, path: str) -> tuple[int, str]:
        """Status and text, over a connection of its own, so that any worker may answer."""
        async with aiohttp.ClientSession() as client, client.get(self.url + path) as response:
            return response.status, await response.text()

    async def status(self) -> dict[str, Any]:
        """What the worker that happens to answer says of itself."""
        async with aiohttp.ClientSession() as client, client.get(f"{self.url}/api/v1/status") as response:
            told: dict[str, Any] = await response.json()
            return told

    async def metrics(self) -> str:
        """The instruments of all, as the worker that happens to answer gives them; one may be late, and left out."""
        async with asyncio.timeout(DEADLINE_SECONDS):
            while True:
                text = (await self.get("/metrics"))[1]
                if workers_in(text) == EVERY_WORKER:
                    return text

    async def write(self, number: int, measurement: str = "m") -> int:
        """Write the point of this number over a connection of its own; the status."""
        body = f"{measurement},host=h{number % 5} f={number} {T + number}"
        async with (
            aiohttp.ClientSession() as client,
            client.post(f"{self.url}/write?precision=s", data=body) as response,
        ):
            return response.status

    async def until(self, condition: Callable[[], Awaitable[bool]]) -> None:
        """Wait for something that comes about by itself while the supervisor runs."""
        async with asyncio.timeout(DEADLINE_SECONDS):
            while not await condition():
                assert self.running.process.poll() is None, self.running.text()
                await asyncio.sleep(0.05)

    async def all_answer(self) -> bool:
        """Whether each worker gives its instruments, and knows the database."""
        try:
            _, text = await self.get("/metrics")
        except aiohttp.ClientConnectionError:
            return False
        return sum_of(text, "ingest_database_up", {}) == WORKERS


def workers_in(metrics: str) -> set[str | None]:
    """The workers that samples are of."""
    return {
        sample.labels.get("worker") for family in text_string_to_metric_families(metrics) for sample in family.samples
    }


@pytest.fixture
async def ingest(commands: Commands, database: str, folder: Path) -> Ingest:
    """Ingest with three workers on a free port, all ready."""
    port = port_nobody_has()
    temporary = folder / "tmp"
    temporary.mkdir()
    chosen = {
        "DATABASE_URL": database,
        "INGEST_PORT": str(port),
        "INGEST_RETRY_SECONDS": "60",
        "INGEST_SHUTDOWN_SECONDS": "60",
        "TMPDIR": str(temporary),
    }
    running = commands.start("ingest", "--workers", str(WORKERS), env=commands.environment | chosen)
    ingest = Ingest(running, f"http://127.0.0.1:{port}", temporary)
    await ingest.until(ingest.all_answer)
    return ingest


def stored(database: str, measurement: str = "m") -> list[int]:
    """The numbers of the points that are stored."""
    with psycopg.connect(database) as connection:
        query = psycopg.sql.SQL("SELECT f FROM {}").format(psycopg.sql.Identifier("metrics", measurement))
        return sorted(round(number) for (number,) in connection.execute(query).fetchall())


async def ended(processes: list[psutil.Process]) -> bool:
    """Whether all of them end within the deadline."""
    _, alive = await asyncio.to_thread(psutil.wait_procs, processes, timeout=DEADLINE_SECONDS)
    return not alive


async def test_all_take_points_and_any_gives_the_instruments_of_all(ingest: Ingest, database: str) -> None:
    """Points over many connections arrive; what the workers have counted is what was sent, whoever is asked."""
    sent = 0

    async def each_has_accepted() -> bool:
        nonlocal sent
        statuses = await asyncio.gather(*map(ingest.write, range(sent, sent + 60)))
        assert set(statuses) == {204}
        sent += 60
        text = await ingest.metrics()
        return all(sum_of(text, "ingest_points_accepted_total", {"worker": str(one)}) for one in range(WORKERS))

    await ingest.until(each_has_accepted)
    assert stored(database) == list(range(sent))
    for text in await asyncio.gather(*(ingest.metrics() for _ in range(10))):
        assert sum_of(text, "ingest_points_accepted_total", {}) == sent
        families = Counter(family.name for family in text_string_to_metric_families(text))
        assert set(families.values()) == {1}
        samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
        assert len({(sample.name, *sorted(sample.labels.items())) for sample in samples}) == len(samples)


async def test_the_status_says_which_worker_answers(ingest: Ingest) -> None:
    """Its number, and how many there are; the probes are its own."""
    seen: set[int] = set()

    async def all_seen() -> bool:
        told = await ingest.status()
        assert (told["service"], told["workers"], told["ready"]) == ("ingest", WORKERS, True)
        seen.add(told["worker"])
        return seen == set(range(WORKERS))

    await ingest.until(all_seen)
    assert (await ingest.get("/healthz"))[0] == (await ingest.get("/readyz"))[0] == 200


async def test_several_workers_meet_the_same_new_things(ingest: Ingest, database: str) -> None:
    """First points of the same measurements at once: all are taken, and each series is one."""
    names = [f"new_{number}" for number in range(5)]
    writes = [ingest.write(number, name) for number in range(30) for name in names]
    assert set(await asyncio.gather(*writes)) == {204}
    for name in names:
        assert stored(database, name) == list(range(30))
    with psycopg.connect(database) as connection:
        assert connection.execute("SELECT count(*) FROM catalog.series").fetchone() == (5 * len(names),)


async def test_a_killed_worker_is_replaced(ingest: Ingest) -> None:
    """The port goes on answering, the log has the status, and only that worker's instruments begin anew."""
    assert set(await asyncio.gather(*map(ingest.write, range(60)))) == {204}
    before = await ingest.metrics()
    killed, *others = ingest.workers()
    killed.kill()
    await asyncio.to_thread(ingest.running.until, "a worker ended unexpectedly")
    assert "exit_status=-9" in ingest.running.text()
    assert await ingest.write(60) == 204

    async def is_replaced() -> bool:
        return len(ingest.workers()) == WORKERS and await ingest.all_answer()

    await ingest.until(is_replaced)
    assert set(others) < set(ingest.workers())
    after = await ingest.metrics()
    restarts = [sum_of(after, "ingest_worker_restarts_total", {"worker": str(one)}) for one in range(WORKERS)]
    assert sorted(restarts) == [0, 0, 1]
    for one in range(WORKERS):
        counts = [sum_of(text, "ingest_points_accepted_total", {"worker": str(one)}) for text in (before, after)]
        assert counts[1] <= 1 if restarts[one] else counts[1] >= counts[0]


async def test_a_worker_that_is_silent_is_left_out(ingest: Ingest) -> None:
    """One that does not answer in time is missing from the instruments, counted by the one that asked, and logged."""
    silent = ingest.workers()[0]
    silent.suspend()
    try:

        async def others_are_told() -> bool:
            _, text = await ingest.get("/metrics")
            is_counted = sum_of(text, "ingest_sibling_unanswered_total", {}) > 0
            return is_counted and len(workers_in(text)) == WORKERS - 1

        await ingest.until(others_are_told)
    finally:
        silent.resume()
    assert "another worker does not give its instruments" in ingest.running.text()
    await ingest.until(ingest.all_answer)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_stopping_ends_all_in_order(ingest: Ingest, number: signal.Signals) -> None:
    """Every worker stops by itself, the status is 0, and no file is left."""
    workers = ingest.workers()
    assert await asyncio.to_thread(ingest.running.stop, number) == 0
    assert await ended(workers)
    text = ingest.running.text()
    assert text.count("stopping") == WORKERS
    assert "Traceback" not in text
    assert "not stop in order" not in text
    assert list(ingest.temporary.iterdir()) == []


async def test_requests_under_way_are_finished(ingest: Ingest, database: str) -> None:
    """What the workers have taken when all are told to stop is committed and answered; the port takes no more."""
    assert await ingest.write(0) == 204
    with psycopg.connect(database, autocommit=True) as owner:
        owner.execute(gate("m"))
        requests = [asyncio.create_task(ingest.write(number)) for number in range(1, 21)]

        async def all_under_way() -> bool:
            text = await ingest.metrics()
            names = ("ingest_queued_requests", "ingest_queue_wait_seconds_count")
            return sum(sum_of(text, name, {}) for name in names) == 1 + 20

        async def listens_no_more() -> bool:
            try:
                await ingest.get("/healthz")
            except aiohttp.ClientConnectionError:
                return True
            return False

        await ingest.until(all_under_way)
        ingest.running.process.send_signal(signal.SIGTERM)
        await ingest.until(listens_no_more)
        owner.execute("UPDATE public.gate SET is_open = true")
    assert await asyncio.gather(*requests) == [204] * 20
    assert await asyncio.to_thread(ingest.running.process.wait, DEADLINE_SECONDS) == 0
    assert stored(database) == list(range(21))


async def test_stopping_under_load_loses_nothing(ingest: Ingest, database: str) -> None:
    """While connections come and go: no request that has begun is cut off, what was answered with 204 is stored."""
    acknowledged: set[int] = set()

    async def load(number: int) -> None:
        with suppress(aiohttp.ClientError):
            while True:
                assert await ingest.write(number) == 204
                acknowledged.add(number)
                number += 1

    clients = [asyncio.create_task(load(10_000 * client)) for client in range(8)]

    async def is_loaded() -> bool:
        return len(acknowledged) > 200

    await ingest.until(is_loaded)
    assert await asyncio.to_thread(ingest.running.stop) == 0
    await asyncio.gather(*clients)
    assert acknowledged <= set(stored(database))
    assert "Traceback" not in ingest.running.text()


async def test_workers_do_not_outlive_the_supervisor(ingest: Ingest) -> None:
    """When it is killed they stop in order, the port is free again, and no file is left."""
    workers = ingest.workers()
    ingest.running.process.kill()
    assert await ended(workers)
    with pytest.raises(aiohttp.ClientConnectionError):
        await ingest.get("/healthz")
    text = ingest.running.text()
    assert text.count("the supervisor is gone") == text.count("stopping") == WORKERS
    assert "Traceback" not in text
    assert list(ingest.temporary.iterdir()) == []


def test_a_taken_port_is_one_line(commands: Commands, database: str) -> None:
    """The port is named, nothing else is said, and no worker is started."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        chosen = {"DATABASE_URL": database, "INGEST_PORT": str(port), "INGEST_WORKERS": "2"}
        finished = commands.run("ingest", env=commands.environment | chosen)
    assert finished.returncode == 1
    (line,) = finished.stderr.splitlines()
    assert line.startswith(f"python -m ingest: cannot listen on 127.0.0.1:{port}: ")
    assert "already in use" in line.lower()


async def test_one_worker_is_one_process(commands: Commands, database: str) -> None:
    """Without the setting nothing is forked, and neither the instruments nor the status know of workers."""
    port = port_nobody_has()
    running = commands.start("ingest", env=commands.environment | {"DATABASE_URL": database, "INGEST_PORT": str(port)})
    await asyncio.to_thread(running.until, "listening")
    alone = Ingest(running, f"http://127.0.0.1:{port}", commands.home)
    assert alone.workers() == []
    assert workers_in((await alone.get("/metrics"))[1]) == {None}
    assert "worker" not in (await alone.get("/api/v1/status"))[1]
