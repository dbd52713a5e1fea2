"""The real agent: against an HTTP server that answers as a test tells it to, and against ingest and a database."""

from __future__ import annotations

import asyncio
import functools
import os
import re
import shutil
import signal
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import psycopg
import pytest
from aiohttp import web
from psycopg import sql
from psycopg.rows import dict_row

ROOT = Path(__file__).parents[2]

DEADLINE_SECONDS = 60.0
"""For conditions that come about in moments; only a fault takes this long."""

INPUTS = {"cpu", "mem", "swap", "disk", "system", "processes", "kernel", "internal_agent"}
"""Those that every host has something of; a container may have no block device and no network."""

FAILS = "delivery fails"
WORKS = "delivery works again"


async def until(condition: Callable[[], object]) -> None:
    """Wait for `condition` to hold."""
    async with asyncio.timeout(DEADLINE_SECONDS):
        while not condition():  # noqa: ASYNC110 - what is waited for happens in other processes
            await asyncio.sleep(0.01)


class Reading:
    """One request as it arrived."""

    def __init__(self, request: web.Request, body: bytes) -> None:
        self.path = request.path_qs
        self.encoding = request.headers.get("Content-Encoding")
        self.arrived = time.time()
        self.body = body
        self.lines = body.decode().splitlines()
        self.points = len(self.lines)
        self.time_ns = int(self.lines[0].rpartition(" ")[2])

    def measurements(self) -> set[str]:
        """The measurements it has points of."""
        return {re.split("[, ]", line, maxsplit=1)[0] for line in self.lines}

    def counter(self, name: str) -> int:
        """One of the agent's own counters."""
        (found,) = re.findall(rf"^internal_agent,\S* .*\b{name}=(\d+)i", self.body.decode(), re.MULTILINE)
        return int(found)


class Server:
    """Answers `POST /write` as it is told and keeps what it took."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.asked: list[Reading] = []
        self.taken: list[Reading] = []
        self.answer: Callable[[], Awaitable[web.Response]] = self.take

    async def take(self) -> web.Response:
        """The answer of an ingest that is well."""
        return web.Response(status=204)

    async def unavailable(self) -> web.Response:
        """The answer of an ingest that has no room."""
        return web.json_response({"error": "the queue is full"}, status=503)

    async def handle(self, request: web.Request) -> web.Response:
        """Any request."""
        reading = Reading(request, await request.read())
        self.asked.append(reading)
        response = await self.answer()
        if response.status == 204:
            self.taken.append(reading)
        return response

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[Server]:
        """Serve while the block runs."""
        app = web.Application()
        app.router.add_post("/write", self.handle)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", self.port).start()
        try:
            yield self
        finally:
            await runner.cleanup()

    def taken_once(self) -> list[Reading]:
        """What it took, without what came again: an agent that is told to stop does not hear the answer under way."""
        once = list({reading.body: reading for reading in self.taken}.values())
        assert len(self.taken) - len(once) <= 1
        return once

    def assert_nothing_lost(self) -> None:
        """Every point that the agent gathered up to the last reading has arrived, in order."""
        arrived = 0
        for reading in self.taken_once():
            arrived += reading.points
            assert reading.counter("metrics_gathered") == arrived
        times = [reading.time_ns for reading in self.taken_once()]
        assert times == sorted(set(times))


class Process:
    """A running process of ours."""

    def __init__(self, process: asyncio.subprocess.Process, log: Path) -> None:
        self.process = process
        self._log = log

    def logged(self, text: str) -> int:
        """How many lines of its log have `text`."""
        return sum(text in line for line in self._log.read_text().splitlines())

    async def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Ask it to end, and give its exit status."""
        self.process.send_signal(number)
        async with asyncio.timeout(DEADLINE_SECONDS):
            return await self.process.wait()


Start = Callable[..., Awaitable[Process]]


@pytest.fixture
async def launch(tmp_path: Path) -> AsyncIterator[Start]:
    """Start Python with some arguments and settings; it is ended after the test."""
    started: list[Process] = []

    async def launch(*arguments: str, **settings: str) -> Process:
        path = tmp_path / f"{len(started)}.log"
        with path.open("wb") as log:
            process = await asyncio.create_subprocess_exec(
                sys.executable, *arguments, cwd=ROOT, env={**os.environ, **settings}, stderr=log
            )
        started.append(Process(process, path))
        return started[-1]

    yield launch
    for one in started:
        if one.process.returncode is None:
            one.process.kill()
            await one.process.wait()


@pytest.fixture
def start(launch: Start, free_port: int) -> Start:
    """Start the agent, or what `arguments` say, with some settings."""

    async def start(*arguments: str, **settings: str) -> Process:
        settings = {
            "AGENT_URL": f"http://127.0.0.1:{free_port}",
            "AGENT_INTERVAL_SECONDS": "0.2",
            "AGENT_RETRY_MAX_SECONDS": "0.2",
        } | settings
        return await launch(*(arguments or ("-m", "ingest.agent")), **settings)

    return start


@pytest.fixture
def server(free_port: int) -> Server:
    """A server where the agent pushes to; it does not listen yet."""
    return Server(free_port)


async def test_a_reading_is_one_request(server: Server, start: Start) -> None:
    """Every input in one gzipped body of line protocol, one time for all points, the same tags on each."""
    async with server.listening():
        agent = await start(AGENT_HOSTNAME="web 1,a=b", AGENT_TAGS="region=eu")
        await until(lambda: any(reading.measurements() >= INPUTS for reading in server.taken))
        assert await agent.stop() == 0
    assert "cpu" not in server.taken[0].measurements()
    for reading in server.taken:
        assert reading.path == "/write?precision=ns"
        assert reading.encoding == "gzip"
        for line in reading.lines:
            assert re.match(r"[a-z_]+,\S*host=web\\ 1\\,a\\=b,(\S*,)?region=eu[, ]", line)
            assert line.endswith(f" {reading.time_ns}")
    server.assert_nothing_lost()


async def test_an_agent_that_comes_first_waits_for_ingest(server: Server, start: Start) -> None:
    """Nothing listens: one line, no noise, every reading is kept; then all arrive, and there is one line more."""
    agent = await start()
    await until(lambda: agent.logged(FAILS))
    async with server.listening():
        await until(lambda: agent.logged(WORKS))
        await until(lambda: server.taken[-1].counter("write_errors"))
        assert await agent.stop() == 0
    server.assert_nothing_lost()
    assert (agent.logged(FAILS), agent.logged(WORKS)) == (1, 1)


async def test_what_an_outage_held_up_arrives(server: Server, start: Start) -> None:
    """While ingest answers 503 the oldest reading is tried again and again; then all follow in order."""
    server.answer = server.unavailable
    async with server.listening():
        agent = await start()
        await until(lambda: len(server.asked) >= 5)
        assert {reading.body for reading in server.asked} == {server.asked[0].body}
        server.answer = server.take
        await until(lambda: agent.logged(WORKS))
        await until(lambda: server.taken[-1].counter("write_errors"))
        assert await agent.stop() == 0
    assert server.taken[0].body == server.asked[0].body
    server.assert_nothing_lost()
    assert (agent.logged(FAILS), agent.logged(WORKS)) == (1, 1)
    assert agent.logged("status 503: the queue is full") == 1


async def test_retry_after_is_heeded(server: Server, start: Start) -> None:
    """The agent does not come back before the time the server named; its own pause would have been shorter."""

    async def later() -> web.Response:
        server.answer = server.take
        return web.Response(status=503, headers={"Retry-After": "1"})

    server.answer = later
    async with server.listening():
        agent = await start(AGENT_RETRY_MAX_SECONDS="60")
        await until(lambda: server.taken)
        assert await agent.stop() == 0
    first, second, *_ = server.asked
    assert second.body == first.body
    assert second.arrived - first.arrived >= 1


async def test_what_ingest_refuses_is_dropped(server: Server, start: Start) -> None:
    """A 400 would be a 400 again: its message is logged, its points are counted, and the next readings go on."""

    async def refuse() -> web.Response:
        server.answer = server.take
        return web.json_response({"code": "invalid", "error": "line 3: no field is a number"}, status=400)

    server.answer = refuse
    async with server.listening():
        agent = await start()
        await until(lambda: len(server.taken) >= 3 and server.taken[-1].counter("metrics_rejected"))
        assert await agent.stop() == 0
    refused = server.asked[0]
    assert refused.body not in [reading.body for reading in server.taken]
    counts = [reading.counter("metrics_rejected") for reading in server.taken]
    # Readings that were taken before the refusal was heard do not know of it.
    assert counts == [0] * counts.count(0) + [refused.points] * (len(counts) - counts.count(0))
    assert agent.logged("status 400: line 3: no field is a number") == 1
    assert agent.logged(FAILS) == 0


async def test_a_slow_ingest_delays_no_reading(server: Server, start: Start) -> None:
    """While a request hangs, readings are taken at their times; the request is given up and sent again."""
    released = asyncio.Event()

    async def hang() -> web.Response:
        await released.wait()
        return web.Response(status=204)

    server.answer = hang
    async with server.listening():
        agent = await start(AGENT_TIMEOUT_SECONDS="2")
        await until(lambda: len(server.asked) >= 2)
        assert server.asked[1].body == server.asked[0].body
        second_try = server.asked[1].arrived
        server.answer = server.take
        released.set()
        await until(lambda: server.taken and server.taken[-1].time_ns / 1e9 > second_try)
        assert await agent.stop() == 0
    held_up = {reading.time_ns for reading in server.taken if reading.time_ns / 1e9 < second_try}
    assert len(held_up) >= 2, "a reading was taken while the first was under way"
    assert agent.logged("no answer in 2 s") == 1


async def test_past_the_bound_the_oldest_are_dropped(server: Server, start: Start) -> None:
    """A long outage costs the oldest readings, no more and no less than what is counted."""

    def no_more_are_dropped() -> bool:
        counts = [reading.counter("metrics_dropped") for reading in server.taken[-2:]]
        return len(counts) == 2 and 0 < counts[0] == counts[1]

    tag = os.urandom(12_000).hex()  # compresses to half: a few readings fill the smallest buffer
    agent = await start(AGENT_BUFFER_BYTES="65536", AGENT_TAGS=f"noise={tag}")
    await until(lambda: agent.logged("the buffer is full"))
    async with server.listening():
        await until(lambda: agent.logged(WORKS))
        await until(no_more_are_dropped)
        assert await agent.stop() == 0
    oldest, newest = server.taken[0], server.taken[-1]
    assert oldest.counter("metrics_gathered") > oldest.points, "the first reading was dropped"
    arrived = sum(reading.points for reading in server.taken_once())
    assert newest.counter("metrics_dropped") > 0
    assert newest.counter("metrics_gathered") == arrived + newest.counter("metrics_dropped")
    assert agent.logged("the buffer is full") == 1


async def test_what_is_held_is_delivered_at_the_end(server: Server, start: Start) -> None:
    """SIGTERM in the middle of a long pause: the agent tries once more, and ends well."""
    server.answer = server.unavailable
    async with server.listening():
        agent = await start(AGENT_RETRY_MAX_SECONDS="600", AGENT_STOP_SECONDS="30")
        await until(lambda: len(server.asked) >= 2)
        server.answer = server.take
        assert await agent.stop() == 0
    assert server.taken[0].body == server.asked[0].body
    server.assert_nothing_lost()
    assert agent.logged("undelivered") == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_the_end_does_not_wait_for_an_absent_ingest(start: Start, number: signal.Signals) -> None:
    """Nobody takes what is held: the agent says that it is lost, and ends well all the same."""
    agent = await start()
    await until(lambda: agent.logged(FAILS))
    assert await agent.stop(number) == 0
    assert agent.logged("stopped with readings undelivered") == 1


async def test_an_input_that_hangs_keeps_neither_readings_nor_the_end(server: Server, start: Start) -> None:
    """A mount whose server went away can hang its reader for ever: the others go on, and SIGTERM ends it all."""
    code = (
        "import threading; from ingest.agent import __main__ as agent; inputs = agent.inputs;"
        "agent.inputs = lambda: inputs() | {'disk': threading.Event().wait};"
        "agent.main()"
    )
    async with server.listening():
        agent = await start("-c", code)
        await until(lambda: any(reading.counter("gather_timeouts") >= 2 for reading in server.taken))
        await until(lambda: server.taken[-1].measurements() >= INPUTS - {"disk"})
        assert await agent.stop() == 0
    assert not any("disk" in reading.measurements() for reading in server.taken)
    server.assert_nothing_lost()


async def test_the_host_is_in_the_database(database: str, launch: Start, start: Start, free_port: int) -> None:
    """Ingest comes late and is killed in between: every reading is in the views, named as Telegraf names it."""
    ingest = functools.partial(launch, "-m", "ingest", INGEST_PORT=str(free_port), INGEST_DATABASE_URL=database)
    host = "web 1,a=b\\c"
    agent = await start(AGENT_HOSTNAME=host, AGENT_TAGS="region=eu")
    await until(lambda: agent.logged(FAILS))
    first = await ingest()
    await until(lambda: agent.logged(WORKS))
    first.process.kill()
    await until(lambda: agent.logged(FAILS) == 2)
    await ingest()
    await until(lambda: agent.logged(WORKS) == 2)
    assert await agent.stop() == 0
    options = "-c role=tidemark_query -c search_path=metrics,public"
    with psycopg.connect(database, options=options, row_factory=dict_row) as connection:
        cpu = connection.execute("SELECT * FROM cpu ORDER BY time DESC LIMIT 5").fetchall()
        disk = connection.execute("SELECT * FROM disk WHERE tags->>'path' = '/'").fetchone()
        counters = connection.execute("SELECT * FROM internal_agent ORDER BY time DESC LIMIT 1").fetchone()
        rows = 0
        for measurement in connection.execute("SELECT name FROM catalog.measurement").fetchall():
            count = sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(measurement["name"]))
            rows += connection.execute(count).fetchall()[0]["count"]
    assert {row["tags"]["cpu"] for row in cpu} <= {"cpu-total"} | {f"cpu{n}" for n in range(os.cpu_count() or 1)}
    assert {row["host"] for row in cpu} == {host}
    assert {row["tags"]["region"] for row in cpu} == {"eu"}
    assert all(0 <= row["usage_idle"] <= 100 for row in cpu)
    assert disk is not None
    assert disk["total"] == shutil.disk_usage("/").total
    assert counters is not None
    assert rows == counters["metrics_gathered"]
