from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing

import psycopg
import pytest

from query.cursor import BatchCursor
from query.tables import Row
from tests.integration.query.conftest import Database

MANY = 300_000
"""Rows that no buffer between the server and here holds."""


@pytest.fixture
async def connection(database: str) -> AsyncIterator[psycopg.AsyncConnection]:
    """A connection as query has them."""
    opened = await psycopg.AsyncConnection.connect(database, autocommit=True, application_name="tidemark query")
    async with opened:
        yield opened


async def batches_of(connection: psycopg.AsyncConnection, statement: str, size: int) -> list[list[Row]]:
    """All batches of a statement with one parameter."""
    async with BatchCursor(connection) as cursor, aclosing(cursor.batches(statement.encode(), {"n": 10}, size)) as all_:
        return [batch async for batch in all_]


async def works(connection: psycopg.AsyncConnection) -> bool:
    """Whether the connection is good for the next statement."""
    answer = await batches_of(connection, "SELECT generate_series(1, %(n)s), 'x', NULL", 4)
    return answer == [[(one, "x", None) for one in range(first, min(first + 4, 11))] for first in (1, 5, 9)]


async def test_rows_come_in_batches(connection: psycopg.AsyncConnection) -> None:
    """Each has as many as were asked for, but for the last; where there is no row there is no batch."""
    assert await works(connection)
    assert [len(one) for one in await batches_of(connection, "SELECT generate_series(1, %(n)s)", 5)] == [5, 5]
    assert await batches_of(connection, "SELECT 1 WHERE %(n)s = 0", 5) == []


async def test_who_stops_early_ends_the_statement(connection: psycopg.AsyncConnection, stored: Database) -> None:
    """Nothing runs on, and the connection is good for the next statement."""
    async with BatchCursor(connection) as cursor:
        statement = f"SELECT generate_series(1, {MANY}), repeat('x', 100)"
        async with aclosing(cursor.batches(statement.encode(), None, 1000)) as batches:
            assert len(await anext(batches)) == 1000
            assert stored.statements("state = 'active'")
        assert not stored.statements("state = 'active'")
    assert await works(connection)


async def test_an_error_in_the_middle(connection: psycopg.AsyncConnection) -> None:
    """It is the driver's, after the rows before it; the connection is good for the next statement."""
    seen: list[Row] = []

    async def read() -> None:
        statement = f"SELECT 1 / (i - {MANY}) FROM generate_series(1, {MANY}) i"
        async with BatchCursor(connection) as cursor, aclosing(cursor.batches(statement.encode(), None, 1000)) as all_:
            async for batch in all_:
                seen.extend(batch)

    with pytest.raises(psycopg.errors.DivisionByZero):
        await read()
    assert len(seen) >= MANY - 1000
    assert await works(connection)


async def test_a_caller_that_is_cancelled_ends_the_statement(
    connection: psycopg.AsyncConnection, stored: Database
) -> None:
    """While it waits for rows; the connection is good for the next statement."""
    asked = asyncio.create_task(batches_of(connection, "SELECT pg_sleep(600 + %(n)s)", 1000))
    await stored.until(lambda: stored.statements("wait_event = 'PgSleep'"))
    asked.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asked
    assert not stored.statements("state = 'active'")
    assert await works(connection)
