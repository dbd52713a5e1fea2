from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing

import psycopg
import pytest

from query.connection import Connection
from query.cursor import RowCursor
from query.tables import Row
from tests.integration.query.conftest import Database

MANY = 300_000
"""Rows that no buffer between the server and here holds."""


@pytest.fixture
async def connection(database: str) -> AsyncIterator[Connection]:
    """A connection as query has them."""
    async with await Connection.connect(database, autocommit=True, application_name="tidemark query") as opened:
        opened.set_up(50)
        yield opened


async def batches_of(
    connection: psycopg.AsyncConnection, statement: str, size: int, *, n: int = 10, prepare: bool = False
) -> list[list[Row]]:
    """All batches of a statement with one parameter."""
    async with (
        RowCursor(connection) as cursor,
        aclosing(cursor.batches(statement.encode(), {"n": n}, size, prepare=prepare)) as all_,
    ):
        return [batch async for batch in all_]


async def prepared(connection: psycopg.AsyncConnection) -> list[str]:
    """The texts that are prepared, but for this one."""
    cursor = await connection.execute("SELECT statement FROM pg_prepared_statements ORDER BY prepare_time")
    return [text for (text,) in await cursor.fetchall() if "pg_prepared" not in text]


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
    async with RowCursor(connection) as cursor:
        statement = f"SELECT generate_series(1, {MANY}), repeat('x', 100)"
        async with aclosing(cursor.batches(statement.encode(), None, 1000)) as batches:
            assert len(await anext(batches)) == 1000
            assert stored.statements("state = 'active'")
        assert not stored.statements("state = 'active'")
    assert await works(connection)


async def test_an_error_in_the_middle(connection: psycopg.AsyncConnection, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is the driver's, after the rows before it; the connection is good, and nothing is cancelled, which is over."""
    seen: list[Row] = []
    monkeypatch.setattr(connection, "_try_cancel", None)

    async def read() -> None:
        statement = f"SELECT 1 / (i - {MANY}) FROM generate_series(1, {MANY}) i"
        async with RowCursor(connection) as cursor, aclosing(cursor.batches(statement.encode(), None, 1000)) as all_:
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


async def test_what_comes_again_is_prepared(connection: psycopg.AsyncConnection) -> None:
    """Where that is wanted; the answers are the same, and in batches of the same size."""
    statement = "SELECT generate_series(1, %(n)s), 'x', NULL"
    for n in (3, 4, 5, 0):
        batches = await batches_of(connection, statement, 4, n=n, prepare=True)
        assert [row for batch in batches for row in batch] == [(one, "x", None) for one in range(1, n + 1)]
        assert [len(batch) for batch in batches] == ([] if n == 0 else [min(n, 4), *([1] if n == 5 else [])])
    assert await works(connection)
    assert len(await prepared(connection)) == 1


@pytest.mark.parametrize("in_batches", [True, False])
async def test_so_many_are_prepared_at_most(connection: Connection, *, in_batches: bool) -> None:
    """Those that came last, by turns or each several times in a row, whichever the cursor."""
    connection.set_up(3)

    async def ask(number: int) -> None:
        statement = f"SELECT {number} + %(n)s::int"
        if in_batches:
            assert await batches_of(connection, statement, 4, prepare=True) == [[(number + 10,)]]
        else:
            cursor = await connection.execute(statement.encode(), {"n": 10})
            assert await cursor.fetchall() == [(number + 10,)]

    for first in (0, 3, 6):
        for number in [first, first + 1, first + 2] * 3:
            await ask(number)
    for number in (9, 9, 9, 10, 10, 10):
        await ask(number)
    assert await prepared(connection) == [f"SELECT {number} + $1::int" for number in (8, 9, 10)]


async def test_none_are_prepared_where_none_may_be(connection: Connection) -> None:
    """However often they come."""
    connection.set_up(0)
    for _ in range(3):
        assert await batches_of(connection, "SELECT 1 + %(n)s::int", 4, prepare=True) == [[(11,)]]
    assert await prepared(connection) == []


async def test_an_error_of_what_is_prepared(connection: psycopg.AsyncConnection) -> None:
    """It is the driver's, when it is prepared and when it is run; the connection is good for the next statement."""
    for _ in range(3):
        with pytest.raises(psycopg.errors.UndefinedTable):
            await batches_of(connection, "SELECT %(n)s FROM missing", 4, prepare=True)
    for n in (0, 0, 0, 5):
        divided = batches_of(connection, "SELECT 10 / %(n)s", 4, n=n, prepare=True)
        if n:
            assert await divided == [[(2,)]]
        else:
            with pytest.raises(psycopg.errors.DivisionByZero):
                await divided
    assert await works(connection)


async def test_who_stops_early_ends_what_is_prepared(connection: psycopg.AsyncConnection, stored: Database) -> None:
    """Nothing runs on, and it may be run again."""
    statement = f"SELECT generate_series(%(n)s, {MANY}), repeat('x', 100)"
    for _ in range(3):
        async with (
            RowCursor(connection) as cursor,
            aclosing(cursor.batches(statement.encode(), {"n": 1}, 1000, prepare=True)) as batches,
        ):
            assert len(await anext(batches)) == 1000
        assert not stored.statements("state = 'active'")
    assert await works(connection)
