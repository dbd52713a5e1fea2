"""What ingest notes of points that come late, for readers that keep what they have computed."""

from __future__ import annotations

import time
from datetime import UTC, datetime

import psycopg
import pytest

from tests.integration.conftest import Ingest
from tests.integration.ingest.conftest import Together, Write

CHANGES = """
    SELECT m.name, lower(s), upper(s), upper_inc(s)
    FROM catalog.change c JOIN catalog.measurement m ON m.id = c.measurement_id, unnest(c.during) s ORDER BY 1, 2
"""
T = 1_700_000_000
A_MOMENT = datetime.fromtimestamp(T, UTC)
LATER = datetime.fromtimestamp(T + 60, UTC)


async def test_fresh_points_leave_no_trace(known: Ingest, write: Write, owner: psycopg.Connection) -> None:
    """Points of the last minute, and of the future, are noted nowhere."""
    owner.execute("TRUNCATE catalog.change")
    now = int(time.time())
    assert (
        await write(known, f"m,host=a f=1 {now}", f"m,host=a f=1 {now - 20}", f"m,host=a f=1 {now + 60}")
    ).status == 204
    assert owner.execute(CHANGES).fetchall() == []


@pytest.mark.parametrize("again", [False, True], ids=["copied", "merged"])
async def test_late_points_are_noted(known: Ingest, write: Write, owner: psycopg.Connection, again: bool) -> None:
    """With the stretch of time in which they lie, a row for each measurement, in the transaction that writes them."""
    lines = [f"m,host=a f=1 {T}", f"m,host=a f=1 {T + 60}", f"n,host=a f=1 {T}", f"n,host=a f=1 {int(time.time())}"]
    for _ in range(1 + again):
        owner.execute("TRUNCATE catalog.change")
        assert (await write(known, *lines)).status == 204
    assert owner.execute(CHANGES).fetchall() == [("m", A_MOMENT, LATER, True), ("n", A_MOMENT, A_MOMENT, True)]
    ((changes,),) = owner.execute("SELECT count(DISTINCT xid) FROM catalog.change").fetchall()
    assert changes == 1
    written = "SELECT DISTINCT xmin::text FROM points.m WHERE time < '2024-01-01' AND time > '2023-01-01'"
    assert (
        owner.execute(written).fetchall()
        == owner.execute("SELECT DISTINCT xid::xid::text FROM catalog.change").fetchall()
    )


async def test_a_group_is_noted_once(
    known: Ingest, write: Write, owner: psycopg.Connection, together: Together
) -> None:
    """However many requests are committed together, a measurement has one row."""
    assert (await write(known, f"m,host=b f=1 {T}")).status == 204
    owner.execute("TRUNCATE catalog.change")
    for reply in await together(known, *(f"m,host=b f=1 {T + n}" for n in range(1, 6))):
        assert reply.status == 204
    last = datetime.fromtimestamp(T + 5, UTC)
    assert [row for row in owner.execute(CHANGES).fetchall() if row[0] == "m"] == [
        ("m", datetime.fromtimestamp(T + 1, UTC), last, True)
    ]


async def test_old_notes_are_removed(known: Ingest, write: Write, owner: psycopg.Connection) -> None:
    """What is older than a day goes, a few rows at a time, and what is newer stays."""
    owner.execute("TRUNCATE catalog.change")
    owner.execute("""
        INSERT INTO catalog.change (measurement_id, xid, during, noted_at)
        SELECT 1, n::text::xid8, '{}', now() - n * interval '12 hours' FROM generate_series(1, 5) n
    """)
    old = "SELECT FROM catalog.change WHERE noted_at < now() - interval '1 day'"
    for _ in range(2000):
        owner.execute("SELECT catalog.note_late('{m}', '{1}', '{2}')")
        ((old,),) = owner.execute(
            "SELECT count(*) FROM catalog.change WHERE noted_at < now() - interval '1 day'"
        ).fetchall()
        if not old:
            break
    else:
        pytest.fail("nothing was removed")
    assert owner.execute("SELECT FROM catalog.change WHERE noted_at < now() - interval '11 hours'").rowcount == 1
