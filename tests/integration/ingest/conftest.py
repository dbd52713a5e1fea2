"""Writing lines to an ingest that is served, and looking at the database behind its back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Protocol

import psycopg
import pytest
from pydantic import SecretStr

from tests.conftest import gate
from tests.integration.conftest import Heard, Ingest, ServeIngest
from tests.relay import Relay, relay_to

DEADLINE_SECONDS = 60.0
"""For conditions that come about in moments; only a fault takes this long."""

T = 1_700_000_000
"""Where the tests' times begin, in seconds."""


class Write(Protocol):
    """Writes line protocol with times in seconds."""

    async def __call__(self, ingest: Ingest, *lines: str) -> Heard:
        """`await write(ingest, "cpu,host=a usage=1 1700000000")`."""


@pytest.fixture
def write() -> Write:
    """Write lines as one request."""

    async def post(ingest: Ingest, *lines: str) -> Heard:
        return await ingest.send("/write?precision=s", "\n".join(lines))

    return post


@pytest.fixture
def owner(database: str) -> Iterator[psycopg.Connection]:
    """A connection to the test's database with its owner's rights, each statement committed."""
    with psycopg.connect(database, autocommit=True) as connection:
        yield connection


async def goes_on(ingest: Ingest, write: Write) -> bool:
    """Whether ingest commits what comes next."""
    reply = await write(ingest, f"m,host=afterwards f=1 {T + 1_000_000}")
    return reply.status == 204 and (1.0,) in ingest.rows("SELECT f FROM m WHERE host = 'afterwards'")


async def is_drained(ingest: Ingest) -> bool:
    """Whether nothing waits in the spool."""
    return await ingest.counted("ingest_spool_entries", kind="waiting") == 0


Condition = Callable[[], bool | Awaitable[bool]]


class Eventually(Protocol):
    """Waits for a condition."""

    async def __call__(self, condition: Condition) -> None:
        """Return when `condition` is true; fail when it does not come about."""


@pytest.fixture
def eventually() -> Eventually:
    """Wait for something that comes about by itself."""

    async def wait(condition: Condition) -> None:
        async with asyncio.timeout(DEADLINE_SECONDS):
            while True:
                held = condition()
                if held if isinstance(held, bool) else await held:
                    return
                await asyncio.sleep(0.02)

    return wait


@pytest.fixture
async def known(serve_ingest: ServeIngest, write: Write) -> Ingest:
    """Ingest with one copier that has committed a point of host a in measurement m, and is patient."""
    return await _known(serve_ingest, write, retry_seconds=DEADLINE_SECONDS)


@pytest.fixture
async def made(known: Ingest) -> None:
    """Measurement m with its field f and the series of host a: to make it may take longer than the hasty wait."""


@pytest.fixture
async def hasty(serve_ingest: ServeIngest, write: Write, made: None) -> Ingest:
    """The same, but soon refuses what it cannot commit: for tests that wait for that."""
    return await _known(serve_ingest, write, retry_seconds=3)


async def _known(serve_ingest: ServeIngest, write: Write, retry_seconds: float) -> Ingest:
    ingest = await serve_ingest(copiers=1, retry_seconds=retry_seconds)
    assert (await write(ingest, "m,host=a f=0 1600000000")).status == 204
    return ingest


class Blocked(Protocol):
    """Waits until ingest waits."""

    async def __call__(self, statement: str) -> None:
        """Return when a statement of ingest that begins so waits for a lock."""


@pytest.fixture
def blocked(database: str, eventually: Eventually) -> Iterator[Blocked]:
    """Watch ingest's statements from a connection in no transaction: one would always see the same."""
    with psycopg.connect(database, autocommit=True) as connection:

        async def wait(statement: str) -> None:
            found = (
                "SELECT FROM pg_stat_activity WHERE datname = current_database() "
                "AND application_name = 'tidemark ingest' AND wait_event_type = 'Lock' AND starts_with(query, %s)"
            )
            await eventually(lambda: connection.execute(found, (statement,)).rowcount == 1)

        yield wait


@pytest.fixture
async def relay(database: str) -> AsyncIterator[Relay]:
    """A relay before the test's database."""
    async with relay_to(database) as relay:
        yield relay


@pytest.fixture
def relayed_url(relay: Relay, database: str) -> SecretStr:
    """The database by way of the relay."""
    return SecretStr(relay.through(database))


class Together(Protocol):
    """Writes requests that a copier takes as one group, in this order."""

    async def __call__(self, ingest: Ingest, *requests: str) -> list[Heard]:
        """`await together(ingest, "m f=1", "n f=1")`; ingest has one copier and knows what is sent."""


@pytest.fixture
def together(write: Write, owner: psycopg.Connection, eventually: Eventually) -> Together:
    """Keep the copier busy with a point that takes its time until all requests wait."""

    async def send(ingest: Ingest, *requests: str) -> list[Heard]:
        assert (await write(ingest, "busy f=0 1600000000")).status == 204
        owner.execute(gate("busy"))
        taken = await ingest.counted("ingest_queue_wait_seconds_count")

        async def is_busy() -> bool:
            return await ingest.counted("ingest_queue_wait_seconds_count") == taken + 1

        async def all_wait() -> bool:
            return await ingest.counted("ingest_queued_requests") == len(replies)

        busy = asyncio.create_task(write(ingest, "busy f=1 1600000001"))
        await eventually(is_busy)
        replies: list[asyncio.Task[Heard]] = []
        for request in requests:
            replies.append(asyncio.create_task(write(ingest, request)))
            await eventually(all_wait)
        owner.execute("UPDATE public.gate SET is_open = true")
        assert (await busy).status == 204
        return await asyncio.gather(*replies)

    return send


def disconnect(owner: psycopg.Connection) -> int:
    """Terminate every connection of ingest; their number."""
    return len(
        owner.execute(
            "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity "
            "WHERE datname = current_database() AND application_name = 'tidemark ingest'"
        ).fetchall()
    )
