"""Several writers at once, and what is counted."""

from __future__ import annotations

import asyncio
import random
import time
from pathlib import Path

import psycopg
import pytest
from pydantic import SecretStr

from tests.integration.conftest import ServeIngest
from tests.integration.ingest.conftest import Eventually, T, Write, disconnect
from tests.relay import Relay

MINUTE = 60.0
FIELDS = ("f", "g", "h", "i")


def value(host: int, moment: int, field: str) -> float:
    """The one value that a field of a point ever has, whoever writes it."""
    return host * 1000 + moment % 1000 + FIELDS.index(field) / 10


def request(chance: random.Random, points: int) -> list[str]:
    """Lines of random points and shapes, out of few keys in several chunks."""
    lines = []
    for _ in range(points):
        host, moment = chance.randrange(20), T + 7200 * chance.randrange(12)
        named = [f"{name}={value(host, moment, name)}" for name in chance.sample(FIELDS, chance.randrange(1, 5))]
        lines.append(f"m,host={host} {','.join(named)} {moment}")
    return lines


async def test_two_ingestors_with_the_same_points_never_deadlock(serve_ingest: ServeIngest, write: Write) -> None:
    """For a minute overlapping duplicates of many shapes from two ingestors are all merged; nobody is a victim."""
    ingestors = [await serve_ingest(copiers=2, retry_seconds=MINUTE) for _ in range(2)]
    sent = [0, 0]
    end = time.monotonic() + MINUTE

    async def client(number: int, seed: int) -> None:
        chance = random.Random(seed)
        while time.monotonic() < end:
            reply = await write(ingestors[number], *request(chance, 100))
            assert reply.status == 204, reply
            sent[number] += 100

    await asyncio.gather(*(client(number, seed % 3) for seed in range(6) for number in range(2)))
    for number, ingest in enumerate(ingestors):
        assert await ingest.counted("ingest_database_errors_total", sqlstate="40P01") == 0
        assert await ingest.counted("ingest_points_accepted_total") == sent[number]
        assert await ingest.counted("ingest_ladder_total", rung="merge") > 0
    rows = ingestors[0].rows("SELECT host::int, extract(epoch FROM time)::int, f, g, h, i FROM m")
    assert len(rows) == len({row[:2] for row in rows}) == 20 * 12
    for host, moment, *values in rows:
        assert values == [value(host, moment, name) for name in FIELDS]


@pytest.mark.parametrize(("spool", "kept_as"), [("off", "refused"), ("on", "kept")])
async def test_every_point_has_one_fate(
    serve_ingest: ServeIngest,
    write: Write,
    made: None,
    relay: Relay,
    relayed_url: SecretStr,
    owner: psycopg.Connection,
    eventually: Eventually,
    tmp_path: Path,
    spool: str,
    kept_as: str,
) -> None:
    """Over a run with faults of all kinds, accepted, rejected, kept and refused add up to what was sent."""
    ingest = await serve_ingest(
        database_url=relayed_url, retry_seconds=1, max_series=60, spool=spool, spool_directory=tmp_path
    )
    assert (await write(ingest, f"m,host=a f=0 {T}")).status == 204
    owner.execute("ALTER TABLE points.m ADD CONSTRAINT below_hundred CHECK (f < 100)")
    sent, answers, stop = 1, set[tuple[int, str]](), asyncio.Event()

    async def client(number: int) -> None:
        nonlocal sent
        chance = random.Random(number)
        while not stop.is_set():
            host, value = chance.randrange(100), chance.choice([1] * 9 + [666])
            lines = [f"m,host={host} f={value} {T + chance.randrange(50)}", f"m,host={host} f=2 {T}"]
            lines += chance.choice([[], [], ["m f="], [f'm f="text" {T}'], [f"n{number},host=a f=1 {T}"]])
            reply = await write(ingest, *lines)
            answers.add((reply.status, reply.headers.get("Tidemark-Durability", "")))
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
    during_outage = (503, "") if spool == "off" else (204, "spooled")
    await eventually(lambda: during_outage in answers)
    relay.resume()
    await some_more()
    stop.set()
    await asyncio.gather(*clients)
    assert {(204, "committed"), (400, "committed"), (400, ""), during_outage} <= answers
    fates = {
        fate: await ingest.counted(f"ingest_points_{fate}_total")
        for fate in ("accepted", "rejected", "kept", "refused")
    }
    assert sum(fates.values()) == sent
    assert min(fates["accepted"], fates["rejected"], fates[kept_as]) > 0
