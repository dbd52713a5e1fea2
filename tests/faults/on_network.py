"""Faults that strike the ways between clients and ingest (`front`), and between ingest and the database (`back`)."""

from __future__ import annotations

import asyncio

from tests.conftest import DEADLINE_SECONDS
from tests.faults.load import until
from tests.faults.site import Site, Strike
from tests.relay import Relay, Way

SLOW_CLIENTS = 20
DRIBBLE_SECONDS = 0.05


async def cut_in_body(site: Site) -> None:
    """Connections are cut in the middle of requests."""
    await _cut(site, site.front, "there")


async def cut_in_answer(site: Site) -> None:
    """Connections are cut in the middle of answers, or before them: what was written is written again."""
    await _cut(site, site.front, "back")


async def slow_bodies(site: Site) -> None:
    """Many clients send their bodies a byte at a time, and never to the end."""
    async with asyncio.TaskGroup() as group:
        for number in range(SLOW_CLIENTS):
            group.create_task(_dribble(site.front.port, f"first,series=slow-{number} a=1,b=-1 1700000000\n".encode()))
        await site.random_moment()


async def _dribble(port: int, line: bytes) -> None:
    """Send lines slowly until ingest has had enough."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(b"POST /write?precision=s HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n" + line)
        answer = asyncio.create_task(reader.readline())
        async with asyncio.timeout(DEADLINE_SECONDS):
            while not answer.done():
                writer.write(line[:1])
                await asyncio.wait([answer], timeout=DRIBBLE_SECONDS)
        if answer.exception() is None:  # it may have been reset, when something else strikes at the same time
            assert answer.result().startswith((b"HTTP/1.1 408", b"HTTP/1.1 503")) or not answer.result()
    finally:
        writer.transport.abort()


async def silent_clients(site: Site) -> None:
    """Connections of clients fall silent, and nobody closes them."""
    site.front.abandon()
    await site.random_moment()


async def slow_clients(site: Site) -> None:
    """All bytes from and to clients are held up."""
    await _slow(site, site.front)


async def clients_reset(site: Site) -> None:
    """All connections of clients are reset, again and again."""
    await _reset(site, site.front)


async def cut_in_statement(site: Site) -> None:
    """Connections to the database are cut in the middle of what ingest says."""
    await _cut(site, site.back, "there")


async def cut_in_result(site: Site) -> None:
    """Connections to the database are cut in the middle of what it says."""
    await _cut(site, site.back, "back")


async def commit_unheard(site: Site) -> None:
    """The database commits, and the connection is lost before ingest hears of it."""
    site.back.commits_to_lose += site.chance.randint(1, 5)
    await until(lambda: not site.back.commits_to_lose)


async def silent_before_commit(site: Site) -> None:
    """Connections fall silent just before a COMMIT; the server sees them open, and their rows locked."""
    site.back.commits_to_swallow += site.chance.randint(1, 3)
    await until(lambda: not site.back.commits_to_swallow)


async def unreachable_database(site: Site) -> None:
    """Nobody can connect to the database for a while."""
    site.back.refuse()
    try:
        await site.load.suffers(site.chance.randint(1, 8))
    finally:
        site.back.accept()


async def silent_database(site: Site) -> None:
    """Connections to the database fall silent; in the end the server finds that out and closes them."""
    site.back.abandon()
    try:
        await site.load.suffers(site.chance.randint(1, 8))
    finally:
        site.back.reset()


async def slow_database(site: Site) -> None:
    """All bytes from and to the database are held up."""
    await _slow(site, site.back)


async def database_reset(site: Site) -> None:
    """All connections to the database are reset, again and again."""
    await _reset(site, site.back)


async def _cut(site: Site, relay: Relay, way: Way) -> None:
    for _ in range(site.chance.randint(1, 6)):
        relay.cut(way, site.chance.random())
    await until(lambda: not relay.cuts_to_come)


async def _slow(site: Site, relay: Relay) -> None:
    relay.delay_seconds = site.chance.uniform(0.005, 0.03)
    try:
        await site.random_moment()
    finally:
        relay.delay_seconds = 0.0


async def _reset(site: Site, relay: Relay) -> None:
    for _ in range(site.chance.randint(1, 6)):
        relay.reset()
        await site.load.is_acknowledged(site.chance.randint(1, 10))


FRONT: list[Strike] = [cut_in_body, cut_in_answer, slow_bodies, silent_clients, slow_clients, clients_reset]
BACK: list[Strike] = [
    cut_in_statement,
    cut_in_result,
    commit_unheard,
    silent_before_commit,
    silent_database,
    unreachable_database,
    slow_database,
    database_reset,
]
