"""What waits in the spool when ingest starts: it is written in order, and nothing in it stops the rest."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import psycopg
import pytest

from ingest.spool.entry import Request
from ingest.spool.store import Store
from tests.integration.conftest import Ingest, ServeIngest
from tests.integration.ingest.conftest import DEADLINE_SECONDS, Eventually, Write, is_drained

T = 1_700_000_000
ROOMY_BYTES = 1 << 30
MINUTE_SECONDS = 60
EARLY_SECONDS = 45
"""A minute that has gone on for no longer has enough left to look at what happens in it."""

REFUSE = """
    CREATE FUNCTION public.refuse() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        RAISE EXCEPTION 'not today';
    END $$;
    CREATE TRIGGER refuse BEFORE INSERT ON points.m FOR EACH ROW WHEN (NEW.f < 0) EXECUTE FUNCTION public.refuse();
"""
"""Points below zero are refused, by an error that ingest knows nothing of."""


def request(line: str, *, points: int = 1, second: int) -> Request:
    """A request of lines whose times are given in seconds, all of them in `second`."""
    at_us = (T + second) * 1_000_000
    return Request("influx", 10**9, at_us, at_us, at_us, points, line.encode())


class Drain(Protocol):
    """Starts ingest on a spool that was left."""

    async def __call__(self, *groups: Sequence[Request], **settings: Any) -> Ingest:
        """An entry for each of `groups`."""


@pytest.fixture
async def drain(serve_ingest: ServeIngest, write: Write, tmp_path: Path) -> Drain:
    """Keep the groups in a spool, and start ingest on it; the measurements m and n are there, with a field f."""
    folder = tmp_path / "spool"
    first = await serve_ingest()
    assert (await write(first, f"m,host=a f=0 {T - 1}", f"n,host=a f=0 {T - 1}")).status == 204

    async def start(*groups: Sequence[Request], **settings: Any) -> Ingest:
        with Store(folder, max_bytes=ROOMY_BYTES) as store:
            for group in groups:
                store.append(group)
        chosen = {"spool": "on", "spool_directory": folder, "retry_seconds": 0.3, **settings}
        return await serve_ingest(**chosen)

    return start


async def count_aside(ingest: Ingest) -> int:
    """How many entries are set aside, as its status and its instruments say."""
    async with ingest.client.get(f"{ingest.url}/api/v1/status") as response:
        told = int((await response.json())["spool"]["quarantined_entries"])
    assert await ingest.counted("ingest_spool_entries", kind="quarantined") == told
    return told


def newest(folder: Path) -> Path:
    """The entry that was kept last."""
    return max(folder.glob("spool/0/*.batch"))


def set_aside(folder: Path) -> dict[str, str]:
    """The reasons of what was set aside, by file name."""
    return {path.stem: path.read_text().strip() for path in folder.glob("spool/*/quarantine/*.reason")}


async def test_the_oldest_goes_first(drain: Drain, eventually: Eventually) -> None:
    """Of several values of one point that wait, the one that was kept last is stored."""
    ingest = await drain(*([request(f"m,host=a f={n} {T}", second=0)] for n in range(1, 8)))
    await eventually(lambda: is_drained(ingest))
    assert ingest.rows("SELECT f FROM m ORDER BY time") == [(0.0,), (7.0,)]
    assert await ingest.counted("ingest_spool_drained_points_total") == 7


async def test_small_entries_share_a_commit(drain: Drain, eventually: Eventually) -> None:
    """Those that have no point of another are written together; of one point the value kept last is stored."""
    entries = [[request(f"m,host=h{n % 50} f={n} {T + n // 100}", second=n // 100)] for n in range(200)]
    ingest = await drain(*entries)
    await eventually(lambda: is_drained(ingest))
    assert ingest.rows("SELECT f FROM m WHERE f >= 50 AND f <> 0 ORDER BY f") == [
        (float(n),) for n in (*range(50, 100), *range(150, 200))
    ]
    assert await ingest.counted("ingest_batch_points_count") < len(entries) / 2


async def test_what_is_refused_for_good_is_set_aside_alone(
    drain: Drain, eventually: Eventually, owner: psycopg.Connection, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A request that a constraint forbids is set aside with the reason, loudly; others of its entry are written."""
    owner.execute("ALTER TABLE points.m ADD CONSTRAINT positive CHECK (f >= 0)")
    ingest = await drain(
        [request(f"m,host=b f={f} {T + 1}", second=1) for f in (2, -3)],
        [request(f"m,host=c f=-4 {T + 2}", second=2)],
        [request(f"m,host=d f=5 {T + 3}", second=3)],
    )
    await eventually(lambda: is_drained(ingest))
    assert ingest.rows("SELECT f FROM m WHERE f > 0 ORDER BY f") == [(2.0,), (5.0,)]
    assert len(set_aside(tmp_path)) == 2
    assert all("positive" in reason for reason in set_aside(tmp_path).values())
    assert await ingest.counted("ingest_spool_quarantined_total") == 2
    assert await ingest.counted("ingest_spool_drained_points_total") == 2
    assert await count_aside(ingest) == 2
    assert capsys.readouterr().out.count("acknowledged points were set aside") == 2


async def test_a_damaged_entry_is_set_aside_alone(
    drain: Drain, eventually: Eventually, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A byte that was flipped costs its entry, which keeps its bytes; all others are written."""
    with Store(tmp_path / "spool", max_bytes=ROOMY_BYTES) as store:
        damaged = store.append([request(f"m,host=a f=1 {T}", second=0)])
    content = bytearray(damaged.path.read_bytes())
    content[-3] ^= 1
    damaged.path.write_bytes(content)
    ingest = await drain([request(f"m,host=a f=2 {T + 1}", second=1)])
    await eventually(lambda: is_drained(ingest))
    assert ingest.rows("SELECT f FROM m ORDER BY time") == [(0.0,), (2.0,)]
    assert list(set_aside(tmp_path)) == [damaged.path.stem]
    assert (damaged.path.parent / "quarantine" / damaged.path.name).read_bytes() == content
    assert await count_aside(ingest) == 1
    assert capsys.readouterr().out.count("acknowledged points were set aside") == 1


async def test_an_entry_that_is_gone_is_told(
    drain: Drain, eventually: Eventually, database: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Somebody has removed its file: that is an error, it is counted, and the rest is written."""
    with psycopg.connect(database) as holder:
        holder.execute("LOCK TABLE points.m IN ACCESS EXCLUSIVE MODE")
        ingest = await drain(*([request(f"m,host=a f={n} {T}", second=0)] for n in (1, 2)))
        newest(tmp_path).unlink()
    await eventually(lambda: is_drained(ingest))
    assert ingest.rows("SELECT f FROM m WHERE f <> 0") == [(1.0,)]
    assert await ingest.counted("ingest_spool_lost_points_total") == 1
    assert await ingest.counted("ingest_spool_quarantined_total") == 0
    assert capsys.readouterr().out.count("acknowledged points are lost") == 1


async def test_a_poisoned_entry_lets_others_go_first(
    drain: Drain, eventually: Eventually, owner: psycopg.Connection, tmp_path: Path
) -> None:
    """What is refused for a reason that may pass waits; what has none of its points goes first."""
    owner.execute(REFUSE)
    ingest = await drain(
        [request(f"m,host=a f=-1 {T}", second=0), request(f"m,host=b f=1 {T}", second=0)],
        [request(f"m,host=a f=2 {T}", second=0)],
        [request(f"m,host=b f=3 {T + 5}", second=5)],
        [request(f"n,host=a f=4 {T}", second=0)],
    )

    async def two_wait() -> bool:
        waiting = await ingest.counted("ingest_spool_entries", kind="waiting")
        return waiting == await ingest.counted("ingest_spool_deferred") == 2

    await eventually(two_wait)
    assert ingest.rows("SELECT host, f FROM m WHERE f <> 0 ORDER BY f") == [("b", 1.0), ("b", 3.0)]
    assert ingest.rows("SELECT f FROM n WHERE f <> 0") == [(4.0,)]
    owner.execute("DROP TRIGGER refuse ON points.m")
    await eventually(lambda: is_drained(ingest))
    assert ingest.rows("SELECT f FROM m WHERE host = 'a' AND f <> 0") == [(2.0,)]
    assert await ingest.counted("ingest_spool_deferred") == 0
    assert await ingest.counted("ingest_spool_drained_points_total") == 5
    assert set_aside(tmp_path) == {}


async def test_what_is_refused_for_too_long_is_set_aside(
    drain: Drain, eventually: Eventually, owner: psycopg.Connection, tmp_path: Path
) -> None:
    """Only the request that it is due to; the entry's other ones are written, and its corrections after it."""
    owner.execute(REFUSE)
    ingest = await drain(
        [request(f"m,host=a f=-1 {T}", second=0), request(f"m,host=b f=1 {T}", second=0)],
        [request(f"m,host=a f=2 {T}", second=0)],
        spool_patience_seconds=0.1,
    )
    await eventually(lambda: is_drained(ingest))
    assert ingest.rows("SELECT host, f FROM m WHERE f <> 0 ORDER BY f") == [("b", 1.0), ("a", 2.0)]
    assert ["not today" in reason for reason in set_aside(tmp_path).values()] == [True]


async def test_a_locked_table_keeps_the_order(
    drain: Drain, eventually: Eventually, owner: psycopg.Connection, database: str
) -> None:
    """While somebody holds a table, others are drained; then of each point the value kept last is stored."""
    with psycopg.connect(database) as holder:
        holder.execute("LOCK TABLE points.m IN ACCESS EXCLUSIVE MODE")
        ingest = await drain(
            *([request(f"m,host={host} f={f} {T}", second=0)] for f in (1, 2) for host in "ab"),
            [request(f"n,host=a f=9 {T}", second=0)],
        )

        async def all_wait() -> bool:
            return await ingest.counted("ingest_spool_deferred") == 4

        await eventually(all_wait)
        await eventually(lambda: ingest.rows("SELECT f FROM n WHERE f <> 0") == [(9.0,)])
    await eventually(lambda: is_drained(ingest))
    assert ingest.rows("SELECT host, f FROM m WHERE f <> 0 ORDER BY host") == [(h, 2.0) for h in "ab"]


async def test_a_limit_that_is_reached_while_draining(drain: Drain, eventually: Eventually, tmp_path: Path) -> None:
    """Points past it are set aside with their request, and the limit's name; others are written."""
    ingest = await drain(
        [request(f"m,host=b f=1 {T}\nm,host=c f=2 {T}", points=2, second=0)],
        [request(f"m,host=a f=3 {T}", second=0)],
        max_series=3,
    )
    await eventually(lambda: is_drained(ingest))
    assert ingest.rows("SELECT host, f FROM m WHERE f <> 0 ORDER BY f") == [("b", 1.0), ("a", 3.0)]
    (reason,) = set_aside(tmp_path).values()
    assert reason.startswith("1 of its points are rejected now: no room for a new series")
    assert "INGEST_MAX_SERIES" in reason


async def test_new_series_wait_for_the_next_minute(
    drain: Drain, eventually: Eventually, owner: psycopg.Connection, tmp_path: Path
) -> None:
    """What is refused in this minute only is written in the next one, and never set aside."""
    await eventually(lambda: time.time() % MINUTE_SECONDS < EARLY_SECONDS)
    owner.execute("TRUNCATE catalog.series_growth")
    lines = "\n".join(f"n,host=h{n} f={n} {T}" for n in range(1, 4))
    ingest = await drain([request(lines, points=3, second=0)], max_new_series_per_minute=2)

    async def waits() -> bool:
        return await ingest.counted("ingest_spool_deferred") == 1

    await eventually(waits)
    assert ingest.rows("SELECT count(*) FROM n WHERE f <> 0") == [(2,)]
    owner.execute("TRUNCATE catalog.series_growth")
    await eventually(lambda: is_drained(ingest))
    assert ingest.rows("SELECT f FROM n WHERE f <> 0 ORDER BY f") == [(1.0,), (2.0,), (3.0,)]
    assert set_aside(tmp_path) == {}


async def test_what_is_drained_counts_as_held(
    drain: Drain, write: Write, owner: psycopg.Connection, eventually: Eventually
) -> None:
    """While an entry is written, its requests are held like fresh ones, which get 503 past the bound; then all is."""

    async def is_held() -> bool:
        return await ingest.counted("ingest_pending_bytes") >= 100_000

    entry = [request(f"m,host=a{number} f=1 {T + 1}" + " " * 10_000, second=1) for number in range(10)]
    with owner.transaction():
        owner.execute("LOCK TABLE points.m IN ACCESS EXCLUSIVE MODE")
        ingest = await drain(entry, max_pending_bytes=50_000, retry_seconds=DEADLINE_SECONDS)
        await eventually(is_held)
        reply = await write(ingest, f"n,host=b f=1 {T + 2_000_000}")
        assert (reply.status, reply.body["limit"]) == (503, "INGEST_MAX_PENDING_BYTES")
    await eventually(lambda: is_drained(ingest))
    assert ingest.rows("SELECT count(*) FROM m WHERE f = 1") == [(10,)]
    assert await ingest.counted("ingest_pending_bytes") == 0
    assert (await write(ingest, f"n,host=b f=1 {T + 2_000_000}")).status == 204
