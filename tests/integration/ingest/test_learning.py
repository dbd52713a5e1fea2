"""Requests whose series are new, while the database makes them slowly, or not at all."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest

from tests.integration.conftest import Ingest, ServeIngest
from tests.integration.ingest.conftest import Write

T = 1_700_000_000

SLOW = """
    CREATE FUNCTION public.take_time() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN PERFORM pg_sleep(0.4); RETURN NEW; END $$;
    CREATE TRIGGER take_time BEFORE INSERT ON catalog.series FOR EACH ROW EXECUTE FUNCTION public.take_time();
"""
"""Makes every new series cost almost half a second."""


@pytest.fixture
def one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """The learner asks for one series at a time, as it asks for thousands of many."""
    monkeypatch.setattr("ingest.catalog.SERIES_A_CALL", 1)


async def serve(serve_ingest: ServeIngest, write: Write, folder: Path, **settings: float) -> Ingest:
    """Ingest with a spool, and little patience, that knows one series; a patient one has made it."""
    assert (await write(await serve_ingest(), f"m,host=known f=0 {T}")).status == 204
    ingest = await serve_ingest(spool="on", spool_directory=folder, retry_seconds=1, **settings)
    assert (await write(ingest, f"m,host=known f=0 {T}")).status == 204
    return ingest


def lines(count: int) -> list[str]:
    """One of each of so many new series."""
    return [f"m,host=new{number} f=1 {T}" for number in range(count)]


async def test_new_series_that_take_long_are_no_outage(
    serve_ingest: ServeIngest, write: Write, owner: psycopg.Connection, one_by_one: None, tmp_path: Path
) -> None:
    """As long as series are being made, their request is waited for, however long the retries would be."""
    ingest = await serve(serve_ingest, write, tmp_path)
    owner.execute(SLOW)
    reply = await write(ingest, *lines(6))
    assert (reply.status, reply.headers["Tidemark-Durability"]) == (204, "committed")
    assert ingest.rows("SELECT count(*) FROM m WHERE host LIKE 'new%%'") == [(6,)]
    assert await ingest.counted("ingest_ladder_total", rung="give_up") == 0


async def test_new_series_that_take_too_long_are_spooled_and_others_are_not(
    serve_ingest: ServeIngest, write: Write, owner: psycopg.Connection, one_by_one: None, tmp_path: Path
) -> None:
    """Past the bound their request is spooled; the database is not taken for away, and what is known is committed."""
    ingest = await serve(serve_ingest, write, tmp_path, learn_seconds=1.5)
    owner.execute(SLOW)
    reply = await write(ingest, *lines(20))
    assert (reply.status, reply.headers["Tidemark-Durability"]) == (204, "spooled")
    known = await write(ingest, f"m,host=known f=1 {T - 86_400}")
    assert (known.status, known.headers["Tidemark-Durability"]) == (204, "committed")


async def test_a_learner_that_is_stuck_is_not_waited_for(
    serve_ingest: ServeIngest, write: Write, owner: psycopg.Connection, one_by_one: None, tmp_path: Path
) -> None:
    """Where no series is made at all, a new one is given up when the retries are, and spooled."""
    ingest = await serve(serve_ingest, write, tmp_path, learn_seconds=3600)
    with owner.transaction():
        owner.execute("LOCK TABLE catalog.series IN EXCLUSIVE MODE")
        reply = await write(ingest, *lines(1))
    assert (reply.status, reply.headers["Tidemark-Durability"]) == (204, "spooled")


async def test_what_is_looked_up_in_many_steps(
    serve_ingest: ServeIngest, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A request that is looked up, learned and rejected in steps, with turns of others between, is none the worse."""
    monkeypatch.setattr("ingest.catalog.STEP_POINTS", 3)
    monkeypatch.setattr("ingest.turns.TURN_SECONDS", 0)
    ingest = await serve_ingest(max_series=10)
    requests = [[f"m,host=h{number % 20} f={number + more} {T + number}" for number in range(40)] for more in range(3)]
    for body in requests:
        reply = await write(ingest, *body, f"m,host=h0 f=-1 {T}", f"m,host=h0 f=-2 {T}")
        assert (reply.status, reply.body["accepted"], reply.body["rejected"]) == (400, 22, 20)
        refused = [number + 1 for number in range(40) if number % 20 >= 10]
        assert [one["line"] for one in reply.body["rejections"]] == refused
        assert {one["reason"] for one in reply.body["rejections"]} == {"max_series"}
    kept = {(f"h{number % 20}", float(number + 2)) for number in range(1, 40) if number % 20 < 10}
    assert set(ingest.rows("SELECT host, f FROM m")) == kept | {("h0", -2.0)}
