"""What a server says of itself, on which it rests that what is kept lacks nothing."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import psycopg
import pytest

from tests.integration.query.conftest import Database


def state(url: str) -> dict[str, Any]:
    """As query asks for it."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("SET ROLE tidemark_query")
        cursor = connection.execute("SELECT * FROM catalog.server_state()")
        assert cursor.description is not None
        (row,) = cursor.fetchall()
        return dict(zip([column.name for column in cursor.description], row, strict=True))


def begin(connection: psycopg.Connection) -> tuple[int, datetime]:
    """Begin to write in a transaction: its number, and a moment after it has it."""
    connection.execute("BEGIN")
    ((number,),) = connection.execute("SELECT pg_current_xact_id()::text::bigint").fetchall()
    ((late_before,),) = connection.execute("SELECT catalog.late_before() + interval '1 minute'").fetchall()
    return number, late_before


async def test_a_transaction_under_way_is_not_below_the_oldest(database: str, stored: Database) -> None:
    """Neither while it is the newest, nor when others have begun and ended since; over, it is.

    As soon as those are over that began before it, too: other databases of the server may have such.
    """
    with psycopg.connect(database, autocommit=True) as old, psycopg.connect(database, autocommit=True) as new:
        number, decided = begin(old)
        seen = state(database)
        assert seen["xmin"] <= number < seen["next_xid"]
        for _ in range(3):
            later, _ = begin(new)
            new.execute("COMMIT")
            seen = state(database)
            assert seen["xmin"] <= number < later < seen["next_xid"]
        assert decided < seen["clock"]
        old.execute("COMMIT")
        await stored.until(lambda: state(database)["xmin"] > number)


def test_whoever_begins_later_has_no_smaller_number(database: str) -> None:
    """A transaction that gets its number after a moment takes its decision after it, and is not below the next one."""
    with psycopg.connect(database, autocommit=True) as connection:
        for _ in range(5):
            before = state(database)
            number, decided = begin(connection)
            assert number >= before["next_xid"]
            assert decided > before["clock"]
            connection.execute("COMMIT")


def test_numbers_and_the_clock_go_on(database: str) -> None:
    """Within one epoch and one timeline."""
    one, other = state(database), state(database)
    assert one["xmin"] <= one["next_xid"] <= other["next_xid"]
    assert (one["epoch"], one["timeline"]) == (other["epoch"], other["timeline"])
    assert one["clock"] < other["clock"]


@pytest.mark.parametrize("role", ["tidemark_query", "tidemark_ingest"])
def test_nobody_writes_notes_by_hand(database: str, role: str) -> None:
    """Notes are written by the function that ingest may call, and by nothing else."""
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(f"SET ROLE {role}".encode())
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("INSERT INTO catalog.change (measurement_id, during) VALUES (1, '{}')")
