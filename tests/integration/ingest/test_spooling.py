"""What is acknowledged while the database does not take points: kept on disk, in order, within bounds, or refused."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, Protocol

import psycopg
import pytest
from pydantic import SecretStr

from ingest.spool.entry import Request
from ingest.spool.store import Store
from tests.integration.conftest import Heard, Ingest, ServeIngest
from tests.integration.ingest.conftest import Condition, Eventually, Write, is_drained
from tests.relay import Relay

T = 1_700_000_000

SLOW_ONCE = """
    CREATE TABLE public.gate (is_open boolean NOT NULL);
    INSERT INTO public.gate VALUES (false);
    GRANT SELECT ON public.gate TO tidemark_ingest;
    CREATE FUNCTION public.first_waits() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF pg_try_advisory_xact_lock(1) THEN
            WHILE NOT (SELECT is_open FROM public.gate) LOOP
                PERFORM pg_sleep(0.01);
            END LOOP;
        END IF;
        RETURN NEW;
    END $$;
    CREATE TRIGGER first_waits BEFORE INSERT ON points.m FOR EACH ROW EXECUTE FUNCTION public.first_waits();
"""
"""Whoever comes first to write into the measurement m waits until the gate is opened; others pass meanwhile."""


def durability(heard: Heard) -> tuple[int, str | None]:
    """The status, and how the points are kept."""
    return heard.status, heard.headers.get("Tidemark-Durability")


async def status(ingest: Ingest) -> Any:
    """What /api/v1/status tells of the spool."""
    async with ingest.client.get(f"{ingest.url}/api/v1/status") as response:
        return (await response.json())["spool"]


@dataclass(frozen=True)
class Spooling:
    """An ingest with a spool, with a relay before its database."""

    ingest: Ingest
    relay: Relay
    _write: Write
    _eventually: Eventually

    async def write(self, *lines: str) -> Heard:
        """Write lines as one request."""
        return await self._write(self.ingest, *lines)

    async def is_committed(self, line: str) -> bool:
        """Write a line; whether it was committed, which a busy machine may take too long for."""
        return durability(await self.write(line)) == (204, "committed")

    async def until(self, condition: Condition) -> None:
        """Wait for something that comes about by itself."""
        await self._eventually(condition)

    async def until_committed(self, line: str) -> None:
        """Write a line until it is committed."""
        await self.until(lambda: self.is_committed(line))

    async def until_drained(self) -> None:
        """Wait until nothing waits in the spool."""
        await self.until(lambda: is_drained(self.ingest))

    async def until_counted(self, instrument: str, value: float, **labels: str) -> None:
        """Wait until an instrument has come to a value."""

        async def has_come() -> bool:
            return await self.ingest.counted(instrument, **labels) >= value

        await self.until(has_come)


class Start(Protocol):
    """Starts an ingest with a spool."""

    async def __call__(self, **settings: Any) -> Spooling:
        """`await start(spool_max_bytes=1)`; it has committed a point of host a in measurement m."""


@pytest.fixture
def start(
    serve_ingest: ServeIngest,
    write: Write,
    relay: Relay,
    relayed_url: SecretStr,
    tmp_path: Path,
    eventually: Eventually,
) -> Start:
    """Start ingest with a spool in a folder of the test's own, and little patience."""

    async def serve(**settings: Any) -> Spooling:
        patient = await serve_ingest()  # to make what is new may take longer than the other one waits
        assert (await write(patient, f"m,host=a f=0 {T}")).status == 204
        chosen = {"spool": "on", "retry_seconds": 1, **settings}
        ingest = await serve_ingest(spool_directory=tmp_path / "spool", database_url=relayed_url, **chosen)
        spooling = Spooling(ingest, relay, write, eventually)
        await spooling.until_committed(f"m,host=a f=0 {T}")
        return spooling

    return serve


async def test_what_is_kept_is_written_when_the_database_is_back(start: Start) -> None:
    """Measurements, fields and series that are new meanwhile too; then points are committed as before."""
    spooling = await start()
    kept_before = await spooling.ingest.counted("ingest_points_kept_total")
    spooling.relay.refuse()
    replies = [
        await spooling.write(f"m,host=a f=1 {T + 1}"),
        await spooling.write(f"m,host=new g=2 {T + 2}", f"fresh,host=a x=3 {T + 2}"),
        await spooling.ingest.send("/api/v1/points?precision=s", f'{{"host": "c", "cpu": 4, "time": {T + 3}}}'),
    ]
    assert {durability(reply) for reply in replies} == {(204, "spooled")}
    some = await spooling.write(f"m,host=a f=5 {T + 4}", "m,host=a f=")
    assert (durability(some), some.body["accepted"], some.body["rejected"]) == ((400, "spooled"), 1, 1)
    kept = await status(spooling.ingest)
    assert (kept["entries"], kept["points"], kept["quarantined_entries"]) == (4, 5, 0)
    assert await spooling.ingest.counted("ingest_points_kept_total") == kept_before + 5
    spooling.relay.accept()
    await spooling.until_drained()
    assert spooling.ingest.rows("SELECT host, f, g FROM m ORDER BY time") == [
        ("a", 0, None),
        ("a", 1, None),
        ("new", None, 2),
        ("a", 5, None),
    ]
    assert spooling.ingest.rows("SELECT host, x FROM fresh") == [("a", 3.0)]
    assert spooling.ingest.rows("SELECT host, cpu FROM metrics.metrics") == [("c", 4.0)]
    assert await spooling.ingest.counted("ingest_spool_drained_points_total") == kept_before + 5
    await spooling.until_committed(f"m,host=a f=2 {T + 5}")


async def test_a_correction_goes_behind_what_it_corrects(start: Start) -> None:
    """While a spooled point waits, a later value of it waits behind it, and other times go straight."""
    spooling = await start()
    await spooling.until_committed(f"held,host=a f=0 {T}")
    spooling.relay.refuse()
    assert durability(await spooling.write(f"held,host=a f=1 {T + 1}")) == (204, "spooled")
    with psycopg.connect(spooling.ingest.database_url) as owner:
        owner.execute("LOCK TABLE points.held IN ACCESS EXCLUSIVE MODE")
        spooling.relay.accept()

        later = count(T + 100)

        def goes_straight() -> Awaitable[bool]:
            return spooling.is_committed(f"m,host=a f=2 {next(later)}")

        await spooling.until(goes_straight)
        assert durability(await spooling.write(f"held,host=a f=3 {T + 1}")) == (204, "spooled")
        assert durability(await spooling.write(f"m,host=a f=4 {T + 1}")) == (204, "spooled")
        await spooling.until(goes_straight)
    await spooling.until_drained()
    assert spooling.ingest.rows("SELECT f FROM held ORDER BY time") == [(0.0,), (3.0,)]


@pytest.mark.parametrize(("stored", "merges"), [(None, 2), (f"m,host=a f=1 {T + 1}", 3)], ids=["new", "stored already"])
async def test_what_was_given_up_is_not_committed_after_its_correction(
    start: Start, owner: psycopg.Connection, stored: str | None, merges: int
) -> None:
    """A write that takes too long is spooled; when it comes through after all, what came since stays."""
    spooling = await start()
    if stored is not None:
        await spooling.until_committed(stored)
    before = await spooling.ingest.counted("ingest_ladder_total", rung="merge")
    owner.execute(SLOW_ONCE)
    assert durability(await spooling.write(f"m,host=a f=2 {T + 1}")) == (204, "spooled")
    assert durability(await spooling.write(f"n,host=a f=0 {T + 50}")) == (204, "spooled")
    assert durability(await spooling.write(f"m,host=a f=3 {T + 1}")) == (204, "spooled")
    with pytest.raises(TimeoutError):  # nothing is drained past what is under way
        async with asyncio.timeout(1):
            await spooling.until_drained()
    owner.execute("UPDATE public.gate SET is_open = true")
    await spooling.until_drained()
    await spooling.until_counted("ingest_ladder_total", before + merges, rung="merge")
    assert spooling.ingest.rows("SELECT f FROM m ORDER BY time") == [(0.0,), (3.0,)]


@pytest.mark.parametrize(
    ("bound", "setting", "reason"),
    [({"spool_max_bytes": 4096}, "4096 bytes of 4096", "full"), ({"spool_max_age_seconds": 0.2}, "MAX_AGE", "age")],
)
async def test_past_a_bound_requests_are_refused(
    start: Start, capsys: pytest.CaptureFixture[str], bound: dict[str, float], setting: str, reason: str
) -> None:
    """They get 503, which names the bound; it is counted, logged once, and over when the database is back."""
    spooling = await start(**bound)
    spooling.relay.refuse()
    assert durability(await spooling.write(f"m,host=a f=1 {T + 1}")) == (204, "spooled")
    refused: list[Heard] = []

    async def is_refused() -> bool:
        reply = await spooling.write(f"m,host=a f=2 {T + 2}")
        if reply.status == 503:
            refused.append(reply)
        return len(refused) == 2

    await spooling.until(is_refused)
    assert refused[0].headers["Retry-After"] == "1"
    assert await spooling.ingest.counted("ingest_spool_refused_total", reason=reason) >= 2
    assert await spooling.ingest.counted("ingest_points_refused_total") == 2
    assert capsys.readouterr().out.count("the spool takes nothing") == 1
    same = await spooling.write(f"m,host=a f=2 {T + 1}")  # which may not go past what is spooled, and is told so
    assert same.status == 503
    assert setting in same.message
    spooling.relay.accept()
    await spooling.until_drained()
    await spooling.until_committed(f"m,host=a f=3 {T + 3}")


async def test_a_spool_that_takes_nothing_does_not_outlast_the_outage(start: Start) -> None:
    """With an empty spool that is full, requests find out themselves that the database is back."""
    spooling = await start(spool_max_bytes=1)
    spooling.relay.refuse()
    assert {(await spooling.write(f"m,host=a f=1 {T + number}")).status for number in range(3)} == {503}
    assert await is_drained(spooling.ingest)
    spooling.relay.accept()
    await spooling.until_committed(f"m,host=a f=2 {T + 5}")


async def test_what_was_refused_by_both_is_not_committed_after_what_is_sent_next(
    start: Start, owner: psycopg.Connection
) -> None:
    """A write that takes too long and finds no place in the spool is refused; until it is over, so is what comes."""
    spooling = await start(spool_max_bytes=1)
    owner.execute(SLOW_ONCE)
    assert (await spooling.write(f"m,host=a f=1 {T + 1}")).status == 503
    assert (await spooling.write(f"m,host=a f=2 {T + 1}")).status == 503
    owner.execute("UPDATE public.gate SET is_open = true")
    await spooling.until_committed(f"m,host=a f=3 {T + 1}")
    assert spooling.ingest.rows("SELECT f FROM m ORDER BY time") == [(0.0,), (3.0,)]


async def test_a_spool_that_is_off(start: Start, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Nothing is acknowledged but what is committed; what an earlier spool holds stays, and is told loudly."""
    folder = tmp_path / "spool"
    with Store(folder, max_bytes=1 << 20) as store:
        entry = store.append([Request("influx", 10**9, T, T, T, 1, b"m,host=a f=1")])
    spooling = await start(spool="off", retry_seconds=0.3)
    logged = capsys.readouterr().out
    assert "acknowledged points wait in the spool, which is off" in logged
    assert str(folder) in logged
    spooling.relay.refuse()
    reply = await spooling.write(f"m,host=a f=2 {T + 2}")
    assert (reply.status, reply.headers["Retry-After"]) == (503, "1")
    assert durability(reply) == (503, None)
    assert await status(spooling.ingest) is None
    assert entry.path.exists()


async def test_what_a_client_left_behind_is_not_spooled(start: Start) -> None:
    """A client that has left may have sent the same again, and a correction; its first try is not put behind these."""
    spooling = await start()
    spooling.relay.pause()
    body = f"m,host=a f=1 {T + 1}".encode()
    _, writer = await asyncio.open_connection("127.0.0.1", spooling.ingest.port)
    writer.write(b"POST /write?precision=s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
    await spooling.until_counted("ingest_pending_bytes", 1)
    writer.transport.abort()
    await spooling.until_counted("ingest_points_refused_total", 1)
    assert await is_drained(spooling.ingest)
    spooling.relay.resume()
