"""Several writers at once, and what is counted."""

from __future__ import annotations

import asyncio
import random

import psycopg
from pydantic import SecretStr

from tests.integration.conftest import Ingest, ServeIngest
from tests.integration.ingest.conftest import Eventually, Write, disconnect
from tests.relay import Relay

T = 1_700_000_000
FIELDS = ("f", "g", "h", "i")


def value(host: int, time: int, field: str) -> float:
    """The one value that a field of a point ever has, whoever writes it."""
    return host * 1000 + time % 1000 + FIELDS.index(field) / 10


def request(chance: random.Random, points: int) -> list[str]:
    """Lines of random points and shapes, out of few keys in several chunks."""
    lines = []
    for _ in range(points):
        host, time = chance.randrange(20), T + 7200 * chance.randrange(12)
        fields = chance.sample(FIELDS, chance.randrange(1, 5))
        lines.append(f"m,host={host} " + ",".join(f"{name}={value(host, time, name)}" for name in fields) + f" {time}")
    return lines


async def test_two_ingestors_with_the_same_points_never_deadlock(serve_ingest: ServeIngest, write: Write) -> None:
    """Overlapping duplicates of many shapes from two ingestors are all merged, and nobody is made a victim."""
    ingestors = [await serve_ingest(copiers=2), await serve_ingest(copiers=2)]

    async def client(ingest: Ingest, seed: int) -> None:
        chance = random.Random(seed)
        for _ in range(15):
            reply = await write(ingest, *request(chance, 100))
            assert reply.status == 204, reply

    await asyncio.gather(*(client(ingest, seed % 3) for seed in range(6) for ingest in ingestors))
    for ingest in ingestors:
        assert await ingest.counted("ingest_database_errors_total", sqlstate="40P01") == 0
        assert await ingest.counted("ingest_points_accepted_total") == 6 * 15 * 100
    rows = ingestors[0].rows("SELECT host::int, extract(epoch FROM time)::int, f, g, h, i FROM m")
    assert len(rows) == len({row[:2] for row in rows}) == 20 * 12
    for host, time, *values in rows:
        assert values == [value(host, time, name) for name in FIELDS]


async def test_every_point_has_one_fate(
    serve_ingest: ServeIngest,
    write: Write,
    relay: Relay,
    relayed_url: SecretStr,
    owner: psycopg.Connection,
    eventually: Eventually,
) -> None:
    """Over a run with faults of all kinds, accepted, rejected and refused add up to what was sent."""
    ingest = await serve_ingest(database_url=relayed_url, retry_seconds=1, max_series=60)
    assert (await write(ingest, f"m,host=a f=0 {T}")).status == 204
    owner.execute("ALTER TABLE points.m ADD CONSTRAINT below_hundred CHECK (f < 100)")
    sent, statuses, stop = 1, set[int](), asyncio.Event()

    async def client(number: int) -> None:
        nonlocal sent
        chance = random.Random(number)
        while not stop.is_set():
            host, value = chance.randrange(100), chance.choice([1] * 9 + [666])
            lines = [f"m,host={host} f={value} {T + chance.randrange(50)}", f"m,host={host} f=2 {T}"]
            lines += chance.choice([[], [], ["m f="], [f'm f="text" {T}'], [f"n{number},host=a f=1 {T}"]])
            reply = await write(ingest, *lines)
            statuses.add(reply.status)
            sent += len(lines)

    async def some_more() -> None:
        before = sent
        await eventually(lambda: sent > before + 100)

    clients = [asyncio.create_task(client(number)) for number in range(8)]
    for _ in range(3):
        await some_more()
        await asyncio.to_thread(disconnect, owner)
        relay.commits_to_lose = 1
        await eventually(lambda: relay.commits_to_lose == 0)
    relay.pause()
    await eventually(lambda: 503 in statuses)
    relay.resume()
    await some_more()
    stop.set()
    await asyncio.gather(*clients)
    assert statuses == {204, 400, 503}
    fates = [await ingest.counted(f"ingest_points_{fate}_total") for fate in ("accepted", "rejected", "refused")]
    assert sum(fates) == sent
    assert min(fates) > 0
