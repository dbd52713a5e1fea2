"""Ingest as a process of its own: how it starts, how it stops, and what it has promised when it is killed."""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import aiohttp
import psycopg
import pytest
from psycopg import sql

from sql.migrate import migrate
from tests.conftest import DEADLINE_SECONDS, Commands, Running, gate
from tests.workers import port_nobody_has

T = 1_700_000_000


@dataclass
class Ingest:
    """A process, and a client of it."""

    running: Running
    url: str
    client: aiohttp.ClientSession
    acknowledged: set[int] = field(default_factory=set)
    """The numbers of the points that were answered with 204."""

    async def readiness(self) -> tuple[int, str]:
        """The status and the text of /readyz; 0 while nothing listens."""
        try:
            async with self.client.get(f"{self.url}/readyz") as response:
                return response.status, await response.text()
        except aiohttp.ClientConnectionError:
            return 0, ""

    async def until_ready(self) -> Ingest:
        """Wait until it is ready."""
        await eventually(lambda: self._answers(200), self.running)
        return self

    async def _answers(self, status: int) -> bool:
        return (await self.readiness())[0] == status

    async def write(self, number: int, series: str = "m,host=a") -> int:
        """Write the point of this number; the status."""
        body = f"{series} f={number} {T + number}"
        async with self.client.post(f"{self.url}/write?precision=s", data=body) as response:
            await response.read()
        if response.status == 204:
            self.acknowledged.add(number)
        return response.status

    async def load(self, number: int) -> None:
        """Write one point after the other until the process does not answer any more."""
        try:
            while True:
                await self.write(number)
                number += 1
        except aiohttp.ClientError:
            return

    async def arrived(self) -> int:
        """How many requests wait for a copier, or did."""
        async with self.client.get(f"{self.url}/metrics") as response:
            lines = (await response.text()).splitlines()
        counts = ("ingest_queued_requests ", "ingest_queue_wait_seconds_count ")
        return round(sum(float(line.split()[1]) for line in lines if line.startswith(counts)))

    async def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal, and wait for the end."""
        return await asyncio.to_thread(self.running.stop, number)


async def eventually(condition: Callable[[], Awaitable[bool]], running: Running) -> None:
    """Wait for something that comes about by itself while the process runs."""
    async with asyncio.timeout(DEADLINE_SECONDS):
        while not await condition():
            assert running.process.poll() is None, running.text()
            await asyncio.sleep(0.02)


Start = Callable[..., Ingest]


@pytest.fixture
async def start(commands: Commands, database: str) -> AsyncIterator[Start]:
    """`start(INGEST_COPIERS="1")` starts ingest on the test's database and a port of its own."""
    async with aiohttp.ClientSession() as client:

        def begin(**settings: str) -> Ingest:
            port = port_nobody_has()
            chosen = {"DATABASE_URL": database, "INGEST_PORT": str(port), **settings}
            running = commands.start("ingest", env=commands.environment | chosen)
            return Ingest(running, f"http://127.0.0.1:{port}", client)

        yield begin


def numbers(database: str) -> set[int]:
    """The numbers of the points that are stored; fails when one is there twice."""
    with psycopg.connect(database) as connection:
        found = [round(number) for (number,) in connection.execute("SELECT f FROM metrics.m").fetchall()]
    assert len(found) == len(set(found))
    return set(found)


async def test_sigterm_drains_what_was_accepted(start: Start, database: str) -> None:
    """Requests under way are committed and answered, new ones are not taken, and the process ends in order."""
    ingest = await start(INGEST_COPIERS="1", INGEST_SHUTDOWN_SECONDS="60", INGEST_RETRY_SECONDS="60").until_ready()
    assert await ingest.write(0) == 204
    with psycopg.connect(database, autocommit=True) as owner:
        owner.execute(gate("m"))
        requests = [asyncio.create_task(ingest.write(number)) for number in range(1, 21)]

        async def all_under_way() -> bool:
            return await ingest.arrived() == 1 + 20

        await eventually(all_under_way, ingest.running)
        ingest.running.process.send_signal(signal.SIGTERM)

        async def listens_no_more() -> bool:
            return (await ingest.readiness())[0] == 0

        await eventually(listens_no_more, ingest.running)
        owner.execute("UPDATE public.gate SET is_open = true")
    assert await asyncio.gather(*requests) == [204] * 20
    assert await asyncio.to_thread(ingest.running.process.wait, DEADLINE_SECONDS) == 0
    assert numbers(database) == set(range(21))
    assert "Traceback" not in ingest.running.text()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
async def test_what_was_acknowledged_is_there(start: Start, database: str, number: signal.Signals) -> None:
    """Stopped or killed under load, every point answered with 204 is stored, once; sent again, it stays once."""
    ingest = await start().until_ready()
    clients = [asyncio.create_task(ingest.load(10_000 * client)) for client in range(8)]

    async def is_loaded() -> bool:
        return len(ingest.acknowledged) > 200

    await eventually(is_loaded, ingest.running)
    assert await ingest.stop(number) == (0 if number is signal.SIGTERM else -number)
    await asyncio.gather(*clients)
    assert ingest.acknowledged <= numbers(database)
    again = await start().until_ready()
    assert {await again.write(point) for point in list(ingest.acknowledged)[:20]} == {204}
    assert ingest.acknowledged <= numbers(database)


async def test_sigterm_while_the_database_does_not_answer(start: Start) -> None:
    """The process ends within its bound although the server never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"postgresql://u:secret@127.0.0.1:{silent.getsockname()[1]}/d"
        ingest = start(DATABASE_URL=url, INGEST_SHUTDOWN_SECONDS="0.5", INGEST_RETRY_SECONDS="600")
        await asyncio.to_thread(ingest.running.until, "listening")
        request = asyncio.create_task(ingest.write(1))

        async def is_held() -> bool:
            async with ingest.client.get(f"{ingest.url}/api/v1/status") as response:
                return int((await response.json())["pending_bytes"]) > 0

        await eventually(is_held, ingest.running)
        assert await ingest.stop() == 0
        with pytest.raises(aiohttp.ClientError):
            await request
    assert "Traceback" not in ingest.running.text()


async def test_several_processes_meet_the_same_new_things(start: Start, database: str) -> None:
    """Three processes are sent first points of one measurement at once: all are taken, each series is one."""
    processes = await asyncio.gather(*(start().until_ready() for _ in range(3)))
    statuses = await asyncio.gather(
        *(processes[number % 3].write(number, f"m,host=h{number % 5}") for number in range(60))
    )
    assert set(statuses) == {204}
    assert numbers(database) == set(range(60))
    with psycopg.connect(database) as connection:
        assert connection.execute("SELECT count(*) FROM catalog.series").fetchone() == (5,)


async def test_it_starts_before_the_database(start: Start, server_url: str, empty_database: str) -> None:
    """Without the database, and then without the schema, it runs, is not ready, says why, and refuses points."""
    name = urlsplit(empty_database).path[1:]
    with psycopg.connect(server_url, autocommit=True) as server:
        server.execute(sql.SQL("DROP DATABASE {}").format(sql.Identifier(name)))
        ingest = start(DATABASE_URL=empty_database, INGEST_RETRY_SECONDS="0.5", INGEST_SPOOL="off")

        async def says(wanted: str) -> bool:
            return wanted in (await ingest.readiness())[1]

        await eventually(lambda: says(f'database \\"{name}\\" does not exist'), ingest.running)
        assert (await ingest.readiness())[0] == 503
        assert await ingest.write(1) == 503
        server.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    await eventually(lambda: says("run python -m sql migrate"), ingest.running)
    assert await ingest.write(1) == 503
    async with ingest.client.get(f"{ingest.url}/healthz") as response:
        assert response.status == 200
    await asyncio.to_thread(migrate, empty_database)
    await ingest.until_ready()
    assert await ingest.write(1) == 204
    assert numbers(empty_database) == {1}


async def test_a_password_reaches_no_log_and_no_answer(start: Start, server_url: str) -> None:
    """Neither when the server refuses us nor when there is none."""
    parts = urlsplit(server_url)
    urls = {
        f"postgresql://nobody:hunter2-xyzzy@127.0.0.1:{port_nobody_has()}/d": "Connect",
        parts._replace(netloc=f"nobody_known:hunter2-xyzzy@{parts.hostname}:{parts.port}").geturl(): "nobody_known",
    }
    started = [
        (start(DATABASE_URL=url, INGEST_RETRY_SECONDS="0.5", INGEST_SPOOL="off", INGEST_LOG_LEVEL="debug"), reason)
        for url, reason in urls.items()
    ]
    for ingest, reason in started:
        await asyncio.to_thread(ingest.running.until, "listening")
        assert await ingest.write(1) == 503
        await asyncio.to_thread(ingest.running.until, reason)
        async with ingest.client.get(f"{ingest.url}/api/v1/status") as response:
            answers = await response.text() + (await ingest.readiness())[1]
        assert await ingest.stop() == 0
        assert "hunter2" not in ingest.running.text() + answers


def test_no_database_url_is_one_line(commands: Commands) -> None:
    """Without an address the process names the setting, and ends."""
    ended = commands.run("ingest")
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.splitlines() == ["python -m ingest: INGEST_DATABASE_URL or DATABASE_URL is not set"]


@pytest.mark.parametrize("module", ["ingest", "query"])
@pytest.mark.parametrize("password", ["oh@hunter2", "oh/hunter2", "oh#hunter2", "oh%hunter2"])
def test_an_address_that_makes_no_sense_is_one_line(commands: Commands, module: str, password: str) -> None:
    """With a sign in its password that had to be encoded: the setting and the form are told, the password is not."""
    url = f"postgresql://nobody:{password}@127.0.0.1/d"
    ended = commands.run(module, env=commands.environment | {"DATABASE_URL": url})
    assert (ended.returncode, ended.stdout) == (2, "")
    (line,) = ended.stderr.splitlines()
    assert line.startswith(f"python -m {module}: {module.upper()}_DATABASE_URL or DATABASE_URL: ")
    assert "is not of the form postgresql://user:password@host:port/database" in line
    assert "hunter2" not in line


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_host_that_is_none_is_one_line(commands: Commands, database: str, workers: str) -> None:
    """As one that is misspelt: it is told with the setting."""
    settings = {"DATABASE_URL": database, "INGEST_HOST": "host.invalid", "INGEST_WORKERS": workers}
    ended = commands.run("ingest", env=commands.environment | settings)
    assert ended.returncode == 1
    (line,) = [line for line in ended.stderr.splitlines() if "the database is ready" not in line]
    assert line.startswith("python -m ingest: cannot listen on host.invalid:")
    assert line.endswith(": set INGEST_HOST or INGEST_PORT")


def test_a_taken_port_is_one_line(commands: Commands, database: str) -> None:
    """The port is named, and nothing else is said."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ended = commands.run("ingest", env=commands.environment | {"DATABASE_URL": database, "INGEST_PORT": str(port)})
    assert ended.returncode == 1
    (line,) = [line for line in ended.stderr.splitlines() if "the database is ready" not in line]
    assert line.startswith(f"python -m ingest: cannot listen on 127.0.0.1:{port}: ")
    assert "already in use" in line
    assert line.endswith(": set INGEST_HOST or INGEST_PORT")
