"""A cursor that gives all rows at once, or what a running statement has sent so far by the batch.

The driver's own `stream` hands on each row by itself. To hand it on costs as much as to read it, where there are
hundreds of thousands. Nor does it prepare statements, which `execute` does. And what `execute` keeps of a result, for
people who ask for this and that, costs a light statement as much as to send it. How a statement is sent, prepared, read
and ended is the driver's, by what its own `stream` and `execute` are made of.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import psycopg
from psycopg import adapt, errors, generators
from psycopg._preparing import Key, Prepare, PrepareManager
from psycopg._queries import PostgresQuery
from psycopg.abc import PQGen, Query
from psycopg.pq import ExecStatus, TransactionStatus

from query.tables import Batches, Row

PREPARED_AFTER = 1
"""So often a light statement comes on a connection before it is prepared."""
UNCOUNTED = b"uncounted"
END_SECONDS = 5.0
"""For a statement to end that is cancelled; then its connection is closed, and the server finds out by itself."""


class Prepared(PrepareManager):
    """The statements that are prepared on a connection: at most so many, those that came last; with 0 there are none.

    The driver's own makes room for a statement that comes for the first time, and none when it is prepared, so that
    there may be twice as many. And it holds the texts of those that are not to be prepared, in the place of others.
    """

    def __init__(self, most: int) -> None:
        super().__init__()
        self.prepare_threshold = PREPARED_AFTER if most else None
        self.prepared_max = most

    def get(self, query: PostgresQuery, prepare: bool | None = None) -> tuple[Prepare, bytes]:
        """Whether to prepare a statement, and its name; `UNCOUNTED` is what is not to be prepared."""
        return (Prepare.NO, UNCOUNTED) if prepare is False else super().get(query, prepare)

    def maybe_add_to_cache(self, query: PostgresQuery, prep: Prepare, name: bytes) -> Key | None:
        """As the driver's own; and the oldest leave where there are too many."""
        if name == UNCOUNTED:
            return None
        key = super().maybe_add_to_cache(query, prep, name)
        self._rotate()
        return key


class RowCursor(psycopg.AsyncCursor[Row]):
    """A cursor for one statement after the other: what it has found of types serves the next.

    A statement to `prepare` is, when it has come often enough on the connection. Rows come in binary.
    """

    def __init__(self, connection: psycopg.AsyncConnection[Row]) -> None:
        super().__init__(connection)
        self._tx = adapt.Transformer(self)

    async def rows(self, statement: Query, parameters: Mapping[str, Any] | None, *, prepare: bool = False) -> list[Row]:
        """All rows of a statement. Raises as the driver does; who is cancelled cancels the statement."""
        async with self._conn.lock:
            return await self._conn.wait(self._read(statement, parameters, prepare))

    async def batches(
        self, statement: Query, parameters: Mapping[str, Any] | None, size: int, *, prepare: bool = False
    ) -> Batches:
        """The rows of a statement, at most `size` at a time; no batch where there is no row.

        Raises as the driver does. A statement whose rows are not all read is cancelled in the end: who stops before
        their end must close the generator.
        """
        async with self._conn.lock:
            try:
                await self._conn.wait(self._sent_for_batches(statement, parameters, size, prepare))
                is_first = True
                while result := await self._conn.wait(self._stream_fetchone_gen(is_first)):
                    is_first = False
                    if result.ntuples:
                        yield self._tx.load_rows(0, result.ntuples, self._make_row)
            except psycopg.Error:
                await self._read_rest()  # the statement is over: there is nothing to cancel
                raise
            finally:
                if self._pgconn.transaction_status == TransactionStatus.ACTIVE:
                    with suppress(TimeoutError):  # then the driver has closed the connection
                        async with asyncio.timeout(END_SECONDS):
                            await self._end()

    def _read(self, statement: Query, parameters: Mapping[str, Any] | None, prepare: bool) -> PQGen[list[Row]]:
        yield from self._sent(statement, parameters, prepare)
        results = yield from generators.execute(self._pgconn)
        self._check_results(results)
        (result,) = results
        self._tx.set_pgresult(result)
        rows = self._tx.load_rows(0, result.ntuples, self._make_row_maker())
        self._tx.set_pgresult(None, set_loaders=False)  # else it would be held until the next
        return rows

    def _sent_for_batches(
        self, statement: Query, parameters: Mapping[str, Any] | None, size: int, prepare: bool
    ) -> PQGen[None]:
        yield from self._sent(statement, parameters, prepare)
        self._pgconn.set_chunked_rows_mode(size)
        yield from generators.send(self._pgconn)

    def _sent(self, statement: Query, parameters: Mapping[str, Any] | None, prepare: bool) -> PQGen[None]:
        """Hand a statement to the connection, which is to be flushed."""
        self._last_query = statement  # else what was found of types would be found anew for another text
        yield from self._start_query(statement)
        query = self._convert_query(statement, parameters)
        how, name = self._get_prepared(query, None if prepare else False)
        if how is Prepare.SHOULD:
            self._send_prepare(name, query)
            (result,) = yield from generators.execute(self._pgconn)
            if result.status == ExecStatus.FATAL_ERROR:
                raise errors.error_from_result(result, encoding=self._encoding)
        known = self._conn._prepared
        known.maybe_add_to_cache(query, how, name)
        yield from known.maintain_gen(self._conn)
        if how is Prepare.NO:
            self._execute_send(query, binary=True, force_extended=True)
        else:
            self._send_query_prepared(name, query, binary=True)

    async def _end(self) -> None:
        """Cancel the statement and read what is left of it: else the connection would be of no use to the next."""
        await self._conn._try_cancel()
        await self._read_rest()

    async def _read_rest(self) -> None:
        with suppress(psycopg.Error):  # which says that it was cancelled, or once more what has failed
            while await self._conn.wait(self._stream_fetchone_gen(first=False)):
                pass
        if self._pgconn.transaction_status == TransactionStatus.ACTIVE:
            with suppress(psycopg.Error):  # after an error comes the end of the results
                await self._conn.wait(self._stream_fetchone_gen(first=False))
