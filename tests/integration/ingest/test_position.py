"""The position in the database's log that an answer tells."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import psycopg
import pytest
from pydantic import SecretStr

from tests.integration.conftest import Ingest, ServeIngest
from tests.integration.ingest.conftest import Write
from tests.relay import Relay

T = 1_600_000_100


def end_of_log(owner: psycopg.Connection) -> str:
    """Where the log ends now."""
    return str(owner.execute("SELECT pg_current_wal_insert_lsn()").fetchall()[0][0])


def is_in_order(owner: psycopg.Connection, *places: str) -> bool:
    """Whether each place of the log comes after the one before it, or is the same."""
    return all(owner.execute("SELECT %s::pg_lsn <= %s::pg_lsn", pair).fetchall()[0][0] for pair in pairwise(places))


@pytest.mark.parametrize("line", [f"m,host=a f=2 {T}", "m,host=a f=3 1600000000"], ids=["copied", "merged"])
async def test_committed_points_lie_before_their_position(
    known: Ingest, write: Write, owner: psycopg.Connection, line: str
) -> None:
    """The position is of the server's timeline, after the points' commit, and not past the log's end."""
    before = end_of_log(owner)
    reply = await write(known, line)
    after = end_of_log(owner)
    timeline, _, place = reply.headers["Tidemark-Position"].partition("-")
    assert before != place, "a commit makes the log longer"
    assert is_in_order(owner, before, place, after)
    (row,) = owner.execute("SELECT timeline_id FROM pg_control_checkpoint()").fetchall()
    assert int(timeline, 16) == row[0]


async def test_a_partial_write_has_a_position(known: Ingest, write: Write) -> None:
    """It is that of the points that were kept; where none was, there is none."""
    partial = await write(known, f"m,host=a f=2 {T}", "m,host=a f=")
    assert partial.status == 400
    assert "Tidemark-Position" in partial.headers
    bad = await write(known, "m,host=a f=")
    assert bad.status == 400
    assert "Tidemark-Position" not in bad.headers


async def test_an_unknown_position_is_left_out(known: Ingest, write: Write, owner: psycopg.Connection) -> None:
    """Points whose position the server does not tell are acknowledged all the same; the error is counted."""
    owner.execute("REVOKE EXECUTE ON FUNCTION pg_current_wal_insert_lsn() FROM PUBLIC")
    reply = await write(known, f"m,host=a f=2 {T}")
    assert reply.status == 204
    assert reply.headers["Tidemark-Durability"] == "committed"
    assert "Tidemark-Position" not in reply.headers
    assert await known.counted("ingest_database_errors_total", sqlstate="42501") == 1
    assert known.rows("SELECT f FROM m WHERE time > '2020-09-13 12:27'") == [(2.0,)]


async def test_spooled_points_have_no_position(
    serve_ingest: ServeIngest, write: Write, relay: Relay, relayed_url: SecretStr, tmp_path: Path
) -> None:
    """They are not in the database yet: there is no place in its log that could be waited for."""
    ingest = await serve_ingest(database_url=relayed_url, spool="on", spool_directory=tmp_path, retry_seconds=0.2)
    relay.refuse()
    reply = await write(ingest, f"m,host=a f=2 {T}")
    assert (reply.status, reply.headers["Tidemark-Durability"]) == (204, "spooled")
    assert "Tidemark-Position" not in reply.headers
    relay.accept()
