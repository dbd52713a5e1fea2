"""The connections of ingest: made when needed, with the role and the bounds of ingest, watched for readiness."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any, TypeAlias

import asyncpg

from ingest.instruments import Instruments
from ingest.settings import IngestSettings
from ingest.sqlstates import DatabaseAwayError, sqlstate, summary
from service import logs
from service.database_url import FORM

log = logs.get(__name__)

ROLE = "tidemark_ingest"
WATCH_SECONDS = 1.0
ANSWER_SECONDS = 5.0
"""How long a server may take to answer a statement that asks nothing of it."""

READY = "SELECT catalog.edition()::text, current_setting('transaction_read_only')::boolean, catalog.late_before()"
"""What is asked of a server; the last is what the newest migration that ingest needs has made."""

POSITION = "SELECT ltrim(left(pg_walfile_name(at), 8), '0') || '-' || at FROM pg_current_wal_insert_lsn() AS at"
"""The timeline and the log's end, both hexadecimal: whatever is committed by now lies before it. Not where the log is
flushed: with synchronous_commit off that may be behind."""

DATABASE_ERRORS = (
    DatabaseAwayError,
    OSError,
    TimeoutError,
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
)
"""What may be raised when the server, the network or the statement fails."""

UNCERTAIN = (TimeoutError, asyncio.CancelledError, asyncpg.InternalClientError)
"""After these nobody knows what a connection is doing. asyncpg takes an idle one that the server has said farewell
to, but has not closed yet, for one in use (InternalClientError)."""

Pool: TypeAlias = "asyncpg.Pool[asyncpg.Record]"
Connection: TypeAlias = "asyncpg.pool.PoolConnectionProxy[asyncpg.Record]"


def create_pool(settings: IngestSettings) -> Pool:
    """A pool, to be opened; it connects when a connection is asked for: the database need not be there yet.

    One connection for each copier, and three more: to learn series, to commit in portions, and to look whether the
    database is there. A server that hears nothing more of a transaction ends it: its rows would stay locked as long as
    the connection seems open.
    """
    statement_timeout_ms = str(max(1, round(settings.statement_timeout_seconds * 1000)))
    return asyncpg.create_pool(
        settings.database_url.get_secret_value(),
        min_size=0,
        max_size=settings.copiers + 3,
        max_inactive_connection_lifetime=0,
        timeout=settings.connect_timeout_seconds,
        command_timeout=settings.statement_timeout_seconds + ANSWER_SECONDS,
        reset=_as_it_is,
        server_settings={
            "application_name": "tidemark ingest",
            "role": ROLE,
            "search_path": "pg_catalog",
            "statement_timeout": statement_timeout_ms,
            "idle_in_transaction_session_timeout": statement_timeout_ms,
            "default_transaction_isolation": "read committed",
            "jit": "off",
        },
    )


async def _as_it_is(_: object) -> None:
    """Nothing of a session is ever changed but inside a transaction: there is nothing to reset."""


@asynccontextmanager
async def connected(pool: Pool) -> AsyncIterator[Connection]:
    """A connection of the pool; raises `DatabaseAwayError` when there is none to be had.

    One on which the server did not answer in time, or was not waited for, is closed at once: asyncpg would ask
    the server to cancel the statement, and wait for its word.
    """
    try:
        connection = await pool.acquire()
    except DATABASE_ERRORS as error:
        raise DatabaseAwayError from error
    except ValueError:  # of a parameter in the address: its text may be a piece of the password
        raise DatabaseAwayError(f"DATABASE_URL is not of the form {FORM}") from None
    try:
        yield connection
    except UNCERTAIN:
        _close(connection)
        raise
    finally:
        await pool.release(connection)


@asynccontextmanager
async def transaction(connection: Connection, lock_seconds: float) -> AsyncIterator[None]:
    """A transaction of a connection's that waits for any lock no longer than this, committed when all goes well."""
    begin = f"BEGIN; SET LOCAL lock_timeout = {round(lock_seconds * 1000)}"
    await connection.execute(begin, timeout=ANSWER_SECONDS)
    try:
        yield
    except UNCERTAIN:
        raise  # the connection is about to be closed
    except BaseException:
        await _roll_back(connection)
        raise
    await connection.execute("COMMIT")


async def _roll_back(connection: Connection) -> None:
    try:
        await connection.execute("ROLLBACK", timeout=ANSWER_SECONDS)
    except DATABASE_ERRORS:  # the error before it is the one to tell
        _close(connection)


def _close(connection: Connection) -> None:
    with suppress(asyncpg.InterfaceError):  # lost, and not the pool's any more
        connection.terminate()


class Watch:
    """Looks again and again whether the database is there and migrated; knows what the server is."""

    def __init__(self, pool: Pool, instruments: Instruments) -> None:
        self._pool = pool
        self._instruments = instruments.database
        self.not_ready: str | None = "the database has not answered yet"
        self.edition: dict[str, Any] | None = None

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            await self._look()
            await asyncio.sleep(WATCH_SECONDS)

    async def _look(self) -> None:
        try:
            async with connected(self._pool) as connection:
                answer = await connection.fetchrow(READY, timeout=ANSWER_SECONDS)
        except DATABASE_ERRORS as error:
            self._found(_reason(error))
        else:
            assert answer is not None, "a SELECT without FROM has one row"
            edition, is_read_only, _ = answer
            self._know(json.loads(edition))
            if is_read_only:  # a session goes on with what was the default when it began: try with new ones
                await self._pool.expire_connections()
            self._found("the database is read-only" if is_read_only else None)

    def _found(self, reason: str | None) -> None:
        if reason != self.not_ready:
            if reason is None:
                log.info("the database is ready", **(self.edition or {}))
            else:
                log.warning("the database is not ready", reason=reason)
        self.not_ready = reason
        self._instruments.up.set(reason is None)

    def _know(self, edition: dict[str, Any]) -> None:
        if edition != self.edition:
            self.edition = edition
            self._instruments.info.clear()
            self._instruments.info.labels(**edition).set(1)


def _reason(error: BaseException) -> str:
    if sqlstate(error) in ("3F000", "42883", "42P01"):
        return "the database has no Tidemark schema yet: run python -m sql migrate"
    if sqlstate(error) in ("22023", "42704"):
        return f"the database has no role {ROLE} yet: run python -m sql migrate"
    if sqlstate(error) == "42501":
        return f"the database refuses ingest: {summary(error)}: run python -m sql migrate, or grant {ROLE}"
    return f"the database does not answer: {summary(error)}"
