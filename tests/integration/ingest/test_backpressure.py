"""Ingest while the database is away: what callers hear, what it holds in memory, and what it does afterwards."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import psycopg
import pytest
from pydantic import SecretStr

from sql.embedded import Cluster, prepare, sole_use
from sql.migrate import migrate
from sql.postmaster import running
from sql.settings import Embedded
from tests.integration.conftest import Heard, Ingest, ServeIngest
from tests.integration.ingest.conftest import Eventually, Write
from tests.relay import Relay

T = 1_700_000_000


async def health(ingest: Ingest) -> set[int]:
    """The statuses of what must be answered whatever the database does."""
    statuses = set()
    for path in ("healthz", "ping", "health", "metrics", "api/v1/status"):
        async with ingest.client.get(f"{ingest.url}/{path}") as response:
            statuses.add(response.status)
    return statuses


async def readiness(ingest: Ingest) -> tuple[int, str]:
    """Whether ingest is ready, and why not."""
    async with ingest.client.get(f"{ingest.url}/readyz") as response:
        return response.status, (await response.json()).get("message", "")


async def fates(ingest: Ingest) -> float:
    """How many points have been told what became of them."""
    counted = [await ingest.counted(f"ingest_points_{fate}_total") for fate in ("accepted", "rejected", "refused")]
    return sum(counted)


async def test_a_database_that_does_not_answer(
    serve_ingest: ServeIngest,
    write: Write,
    made: None,
    relay: Relay,
    relayed_url: SecretStr,
    eventually: Eventually,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Requests are refused when their time is over, health is answered, and afterwards all is as before."""
    monkeypatch.setattr("ingest.database.ANSWER_SECONDS", 1)
    ingest = await serve_ingest(database_url=relayed_url, copiers=1, retry_seconds=1, connect_timeout_seconds=1)
    assert (await write(ingest, f"m,host=a f=0 {T}")).status == 204
    relay.pause()
    replies = await asyncio.gather(
        *(write(ingest, f"m,host=a f=1 {T + 1 + number}") for number in range(10)),
        *(write(ingest, f"m,host=new{number} f=1,g=1 {T}") for number in range(10)),
    )
    assert {reply.status for reply in replies} == {503}
    assert {reply.headers["Retry-After"] for reply in replies} == {"1"}
    assert {reply.body["code"] for reply in replies} == {"unavailable"}
    assert await health(ingest) == {200, 204}

    async def is_not_ready() -> bool:
        return (await readiness(ingest))[0] == 503

    await eventually(is_not_ready)
    assert "does not answer" in (await readiness(ingest))[1]
    assert await ingest.counted("ingest_pending_bytes") == 0
    relay.resume()

    async def works() -> bool:
        return (await write(ingest, f"m,host=b f=2,g=2 {T}")).status == 204

    await eventually(works)
    assert ingest.rows("SELECT f, g FROM m WHERE host = 'b'") == [(2.0, 2.0)]
    assert await fates(ingest) >= 22
    logged = capsys.readouterr().out
    assert logged.count("points were not committed") == logged.count("points are committed again") == 1


async def test_requests_that_wait_are_answered_when_the_database_is_back(
    serve_ingest: ServeIngest, write: Write, relay: Relay, relayed_url: SecretStr, eventually: Eventually
) -> None:
    """Points that came while the database was away for a moment are committed, as if nothing had been."""
    ingest = await serve_ingest(database_url=relayed_url, retry_seconds=60)
    assert (await write(ingest, f"m,host=a f=0 {T}")).status == 204
    relay.pause()
    waiting = [asyncio.create_task(write(ingest, f"m,host=a f=1 {T + 1 + number}")) for number in range(20)]
    waiting += [asyncio.create_task(write(ingest, f"m,host=new{number} f=1 {T}")) for number in range(20)]

    async def all_wait() -> bool:
        return await ingest.counted("ingest_pending_bytes") > 0 and not any(task.done() for task in waiting)

    await eventually(all_wait)
    relay.resume()
    assert {reply.status for reply in await asyncio.gather(*waiting)} == {204}
    assert ingest.rows("SELECT count(*), count(DISTINCT host) FROM m") == [(41, 21)]
    assert await ingest.counted("ingest_points_accepted_total") == 41


async def test_what_waits_is_bounded(
    serve_ingest: ServeIngest, write: Write, made: None, relay: Relay, relayed_url: SecretStr, eventually: Eventually
) -> None:
    """Past the bound requests are refused at once, so that others may wait; nothing is left when all are told."""
    bound = 200_000
    ingest = await serve_ingest(database_url=relayed_url, copiers=1, retry_seconds=2, max_pending_bytes=bound)
    request = [f"m,host=a f={number} {T + number}" for number in range(100)]
    assert (await write(ingest, *request)).status == 204
    relay.pause()
    sent = [asyncio.create_task(write(ingest, *request))]

    async def copier_is_busy() -> bool:
        return await ingest.counted("ingest_queue_wait_seconds_count") == 2

    await eventually(copier_is_busy)
    sent += [asyncio.create_task(write(ingest, *request)) for _ in range(100)]

    async def some_are_refused() -> bool:
        held = await ingest.counted("ingest_pending_bytes")
        assert held <= bound
        return any(task.done() for task in sent)

    await eventually(some_are_refused)
    replies: list[Heard] = await asyncio.gather(*sent)
    assert {reply.status for reply in replies} == {503}
    full = [reply for reply in replies if reply.body.get("limit") == "INGEST_MAX_PENDING_BYTES"]
    assert 0 < len(full) < len(replies)
    assert await ingest.counted("ingest_pending_bytes") == 0
    assert await ingest.counted("ingest_queued_requests") == 0


async def test_a_connection_that_falls_silent_is_given_up(
    serve_ingest: ServeIngest,
    write: Write,
    relay: Relay,
    relayed_url: SecretStr,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nobody waits for a server that was there a moment ago, when another connection to it can be made."""
    monkeypatch.setattr("ingest.database.ANSWER_SECONDS", 0.5)
    ingest = await serve_ingest(database_url=relayed_url, copiers=1, retry_seconds=20)
    assert (await write(ingest, f"m,host=a f=0 {T}")).status == 204
    relay.abandon()
    assert (await write(ingest, f"m,host=a f=1 {T + 1}")).status == 204
    assert await ingest.counted("ingest_ladder_total", rung="retry") == 1


@pytest.fixture
def cluster(folder: Path, shared_engine: Path, free_port: int) -> Iterator[Cluster]:
    """A cluster of the test's own, which is not running."""
    settings = Embedded(home=folder / "home", engine=shared_engine, database_port=free_port)
    with sole_use(settings.home, print):
        yield prepare(settings, print)


async def test_a_server_that_is_restarted(
    serve_ingest: ServeIngest, write: Write, cluster: Cluster, eventually: Eventually
) -> None:
    """Clients that send again what was refused find every point stored once after a restart of the server."""
    url = cluster.addresses.url("owner")
    with ExitStack() as server:
        process = server.enter_context(running(cluster, print))
        migrate(url)
        ingest = await serve_ingest(database_url=SecretStr(url), retry_seconds=1)
        stop = asyncio.Event()
        acknowledged: list[int] = []

        async def client(number: int) -> None:
            place = T + number * 100_000
            while not stop.is_set():
                place += 1
                while (reply := await write(ingest, f"m,host=h{number} f={number} {place}")).status == 503:
                    pass
                assert reply.status == 204
                acknowledged.append(place)

        async def some_more() -> None:
            before = len(acknowledged)
            await eventually(lambda: len(acknowledged) > before + 20)

        clients = [asyncio.create_task(client(number)) for number in range(4)]
        await some_more()
        process.send_signal(signal.SIGINT)  # disconnects everybody at once
        await asyncio.to_thread(server.close)
        assert await health(ingest) == {200, 204}
        await asyncio.to_thread(server.enter_context, running(cluster, print))
        await some_more()
        stop.set()
        await asyncio.gather(*clients)
        stored = await asyncio.to_thread(rows, url, "SELECT extract(epoch FROM time)::bigint FROM points.m")
        assert sorted(place for (place,) in stored) == sorted(acknowledged)
        assert await asyncio.to_thread(rows, url, "SELECT count(*) FROM m WHERE host <> 'h' || f::int") == [(0,)]


def rows(url: str, statement: str) -> list[tuple[int, ...]]:
    """What `statement` finds."""
    with psycopg.connect(url, options="-c search_path=metrics,public") as connection:
        return connection.execute(statement.encode()).fetchall()
