"""What is acknowledged while the database does not take points: kept on disk, in order, within bounds, or refused."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from itertools import count
from pathlib import Path
from typing import Any

import psycopg
import pytest
from pydantic import SecretStr

from ingest.spool.entry import Request
from ingest.spool.store import Store
from tests.integration.conftest import Heard, Ingest, ServeIngest
from tests.integration.ingest.conftest import Eventually, Write, is_drained
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


async def spooling(
    serve_ingest: ServeIngest,
    tmp_path: Path,
    database_url: SecretStr,
    write: Write,
    eventually: Eventually,
    **settings: Any,
) -> Ingest:
    """Ingest with a spool, which has committed a point of host a in measurement m."""
    ingest = await serve_ingest(
        spool="on",
        spool_directory=tmp_path / "spool",
        database_url=database_url,
        **{"retry_seconds": 1, **settings},
    )
    await eventually(lambda: is_committed(ingest, write, f"m,host=a f=0 {T}"))
    return ingest


async def is_committed(ingest: Ingest, write: Write, line: str) -> bool:
    """Write a line; whether it was committed, which a busy machine may take too long for."""
    return durability(await write(ingest, line)) == (204, "committed")


async def test_what_is_kept_is_written_when_the_database_is_back(
    serve_ingest: ServeIngest,
    write: Write,
    relay: Relay,
    relayed_url: SecretStr,
    tmp_path: Path,
    eventually: Eventually,
) -> None:
    """Measurements, fields and series that are new meanwhile too; then points are committed as before."""
    ingest = await spooling(serve_ingest, tmp_path, relayed_url, write, eventually)
    relay.refuse()
    replies = [
        await write(ingest, f"m,host=a f=1 {T + 1}"),
        await write(ingest, f"m,host=new g=2 {T + 2}", f"fresh,host=a x=3 {T + 2}"),
        await ingest.send("/api/v1/points?precision=s", f'{{"host": "c", "cpu": 4, "time": {T + 3}}}'),
    ]
    assert {durability(reply) for reply in replies} == {(204, "spooled")}
    some = await write(ingest, f"m,host=a f=5 {T + 4}", "m,host=a f=")
    assert (durability(some), some.body["accepted"], some.body["rejected"]) == ((400, "spooled"), 1, 1)
    kept = await status(ingest)
    assert (kept["entries"], kept["points"], kept["quarantined_entries"]) == (4, 5, 0)
    assert await ingest.counted("ingest_points_kept_total") == 5
    relay.accept()
    await eventually(lambda: is_drained(ingest))
    assert ingest.rows("SELECT host, f, g FROM m ORDER BY time") == [
        ("a", 0, None),
        ("a", 1, None),
        ("new", None, 2),
        ("a", 5, None),
    ]
    assert ingest.rows("SELECT host, x FROM fresh") == [("a", 3.0)]
    assert ingest.rows("SELECT host, cpu FROM metrics.metrics") == [("c", 4.0)]
    assert await ingest.counted("ingest_spool_drained_points_total") == 5
    await eventually(lambda: is_committed(ingest, write, f"m,host=a f=2 {T + 5}"))


async def test_a_correction_goes_behind_what_it_corrects(
    serve_ingest: ServeIngest,
    write: Write,
    relay: Relay,
    relayed_url: SecretStr,
    tmp_path: Path,
    eventually: Eventually,
) -> None:
    """While a spooled point waits, a later value of it waits behind it, and other times go straight."""
    ingest = await spooling(serve_ingest, tmp_path, relayed_url, write, eventually)
    await write(ingest, f"held,host=a f=0 {T}")
    relay.refuse()
    assert durability(await write(ingest, f"held,host=a f=1 {T + 1}")) == (204, "spooled")
    with psycopg.connect(ingest.database_url) as owner:
        owner.execute("LOCK TABLE points.held IN ACCESS EXCLUSIVE MODE")
        relay.accept()

        later = count(T + 100)

        def goes_straight() -> Awaitable[bool]:
            return is_committed(ingest, write, f"m,host=a f=2 {next(later)}")

        await eventually(goes_straight)
        assert durability(await write(ingest, f"held,host=a f=3 {T + 1}")) == (204, "spooled")
        assert durability(await write(ingest, f"m,host=a f=4 {T + 1}")) == (204, "spooled")
        await eventually(goes_straight)
    await eventually(lambda: is_drained(ingest))
    assert ingest.rows("SELECT f FROM held ORDER BY time") == [(0.0,), (3.0,)]


@pytest.mark.parametrize(("stored", "merges"), [(None, 2), (f"m,host=a f=1 {T + 1}", 3)], ids=["new", "stored already"])
async def test_what_was_given_up_is_not_committed_after_its_correction(
    serve_ingest: ServeIngest,
    write: Write,
    database: str,
    tmp_path: Path,
    eventually: Eventually,
    owner: psycopg.Connection,
    stored: str | None,
    merges: int,
) -> None:
    """A write that takes too long is spooled; when it comes through after all, what came since stays."""
    ingest = await spooling(serve_ingest, tmp_path, SecretStr(database), write, eventually)
    if stored is not None:
        await eventually(lambda: is_committed(ingest, write, stored))
    before = await ingest.counted("ingest_ladder_total", rung="merge")
    owner.execute(SLOW_ONCE)
    assert durability(await write(ingest, f"m,host=a f=2 {T + 1}")) == (204, "spooled")
    assert durability(await write(ingest, f"n,host=a f=0 {T + 50}")) == (204, "spooled")
    assert durability(await write(ingest, f"m,host=a f=3 {T + 1}")) == (204, "spooled")
    with pytest.raises(TimeoutError):  # nothing is drained past what is under way
        async with asyncio.timeout(1):
            await eventually(lambda: is_drained(ingest))
    owner.execute("UPDATE public.gate SET is_open = true")
    await eventually(lambda: is_drained(ingest))

    async def is_over() -> bool:
        return await ingest.counted("ingest_ladder_total", rung="merge") >= before + merges

    await eventually(is_over)
    assert ingest.rows("SELECT f FROM m ORDER BY time") == [(0.0,), (3.0,)]


@pytest.mark.parametrize(
    ("bound", "setting", "reason"),
    [({"spool_max_bytes": 4096}, "4096 bytes of 4096", "full"), ({"spool_max_age_seconds": 0.2}, "MAX_AGE", "age")],
)
async def test_past_a_bound_requests_are_refused(
    serve_ingest: ServeIngest,
    write: Write,
    relay: Relay,
    relayed_url: SecretStr,
    tmp_path: Path,
    eventually: Eventually,
    capsys: pytest.CaptureFixture[str],
    bound: dict[str, float],
    setting: str,
    reason: str,
) -> None:
    """They get 503, which names the bound; it is counted, logged once, and over when the database is back."""
    ingest = await spooling(serve_ingest, tmp_path, relayed_url, write, eventually, **bound)
    relay.refuse()
    assert durability(await write(ingest, f"m,host=a f=1 {T + 1}")) == (204, "spooled")
    refused: list[Heard] = []

    async def is_refused() -> bool:
        reply = await write(ingest, f"m,host=a f=2 {T + 2}")
        if reply.status == 503:
            refused.append(reply)
        return len(refused) == 2

    await eventually(is_refused)
    assert refused[0].headers["Retry-After"] == "1"
    assert await ingest.counted("ingest_spool_refused_total", reason=reason) >= 2
    assert await ingest.counted("ingest_points_refused_total") == 2
    assert capsys.readouterr().out.count("the spool takes nothing") == 1
    same = await write(ingest, f"m,host=a f=2 {T + 1}")  # which may not go past what is spooled, and is told so
    assert same.status == 503
    assert setting in same.message
    relay.accept()
    await eventually(lambda: is_drained(ingest))
    await eventually(lambda: is_committed(ingest, write, f"m,host=a f=3 {T + 3}"))


async def test_a_spool_that_takes_nothing_does_not_outlast_the_outage(
    serve_ingest: ServeIngest,
    write: Write,
    relay: Relay,
    relayed_url: SecretStr,
    tmp_path: Path,
    eventually: Eventually,
) -> None:
    """With an empty spool that is full, requests find out themselves that the database is back."""
    ingest = await spooling(serve_ingest, tmp_path, relayed_url, write, eventually, spool_max_bytes=1)
    relay.refuse()
    assert {(await write(ingest, f"m,host=a f=1 {T + number}")).status for number in range(3)} == {503}
    assert await is_drained(ingest)
    relay.accept()
    await eventually(lambda: is_committed(ingest, write, f"m,host=a f=2 {T + 5}"))


async def test_what_was_refused_by_both_is_not_committed_after_what_is_sent_next(
    serve_ingest: ServeIngest,
    write: Write,
    database: str,
    tmp_path: Path,
    eventually: Eventually,
    owner: psycopg.Connection,
) -> None:
    """A write that takes too long and finds no place in the spool is refused; until it is over, so is what comes."""
    ingest = await spooling(serve_ingest, tmp_path, SecretStr(database), write, eventually, spool_max_bytes=1)
    owner.execute(SLOW_ONCE)
    assert (await write(ingest, f"m,host=a f=1 {T + 1}")).status == 503
    assert (await write(ingest, f"m,host=a f=2 {T + 1}")).status == 503
    owner.execute("UPDATE public.gate SET is_open = true")
    await eventually(lambda: is_committed(ingest, write, f"m,host=a f=3 {T + 1}"))
    assert ingest.rows("SELECT f FROM m ORDER BY time") == [(0.0,), (3.0,)]


async def test_a_spool_that_is_off(
    serve_ingest: ServeIngest,
    write: Write,
    relay: Relay,
    relayed_url: SecretStr,
    tmp_path: Path,
    eventually: Eventually,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Nothing is acknowledged but what is committed; what an earlier spool holds stays, and is told loudly."""
    folder = tmp_path / "spool"
    with Store(folder, max_bytes=1 << 20) as store:
        entry = store.append([Request("influx", 10**9, T, T, T, 1, b"m,host=a f=1")])
    ingest = await serve_ingest(spool="off", spool_directory=folder, database_url=relayed_url, retry_seconds=0.3)
    logged = capsys.readouterr().out
    assert "acknowledged points wait in the spool, which is off" in logged
    assert str(folder) in logged
    await eventually(lambda: is_committed(ingest, write, f"m,host=a f=0 {T}"))
    relay.refuse()
    reply = await write(ingest, f"m,host=a f=2 {T + 2}")
    assert (reply.status, reply.headers["Retry-After"]) == (503, "1")
    assert durability(reply) == (503, None)
    assert await status(ingest) is None
    assert entry.path.exists()


async def test_what_a_client_left_behind_is_not_spooled(
    serve_ingest: ServeIngest,
    write: Write,
    relay: Relay,
    relayed_url: SecretStr,
    tmp_path: Path,
    eventually: Eventually,
) -> None:
    """A client that has left may have sent the same again, and a correction; its first try is not put behind these."""
    ingest = await spooling(serve_ingest, tmp_path, relayed_url, write, eventually)
    relay.pause()
    body = f"m,host=a f=1 {T + 1}".encode()
    _, writer = await asyncio.open_connection("127.0.0.1", ingest.port)
    writer.write(b"POST /write?precision=s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))

    async def is_under_way() -> bool:
        return await ingest.counted("ingest_pending_bytes") > 0

    await eventually(is_under_way)
    writer.transport.abort()

    async def is_over() -> bool:
        return await ingest.counted("ingest_points_refused_total") == 1

    await eventually(is_over)
    assert await is_drained(ingest)
    relay.resume()
