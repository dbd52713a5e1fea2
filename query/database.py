"""The connections of query: pooled, with the role and the bounds of query, watched for readiness.

The database need not be there when the process starts, and may go away and come back. Every error of the
driver's that is not a fault of ours becomes an answer here, and nowhere else:

    statement timeout, a result past double precision   400, the client can ask for less
    no connection, a lost one, a server in trouble      503 with Retry-After, the same request will do later
    a table that was dropped since it was looked up     503 likewise
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager, suppress
from typing import Any, LiteralString, cast

import psycopg
from aiohttp import web
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg_pool import AsyncConnectionPool, PoolTimeout, TooManyRequests

from query import limits
from query.instruments import SERVER_FACTS, Instruments
from query.settings import QuerySettings
from query.tables import BATCH_ROWS, Batches
from service import logs
from service.errors import BadRequest, HttpError, Unavailable

log = logs.get(__name__)

ROLE = "tidemark_query"
NEEDED_MIGRATION = 11
WATCH_SECONDS = 1.0
POOL_RETRY_SECONDS = 2.0
"""How long the pool tries a failed connection again by itself; the next request makes it begin anew."""

STATE = """
    SELECT catalog.edition(), (SELECT coalesce(max(number), 0) FROM catalog.migration), (
        SELECT n.nspname FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace
        WHERE e.extname = 'pg_trgm' AND has_schema_privilege(n.oid, 'USAGE'))
"""

Query = sql.Composed | LiteralString
Rows = AsyncGenerator[tuple[Any, ...], None]


class Database:
    """The pool and its watch. `opened` is the resource of an application; `fetch` runs a statement."""

    def __init__(self, settings: QuerySettings, instruments: Instruments) -> None:
        self._settings = settings
        self._instruments = instruments
        self._conninfo = conninfo(settings)
        self._pool = AsyncConnectionPool(
            self._conninfo,
            # A plan is made for each statement's own range of time: only so are the other chunks left out.
            kwargs={"autocommit": True, "prepare_threshold": None},
            open=False,
            min_size=1,
            max_size=settings.connections,
            max_waiting=settings.max_waiting,
            timeout=settings.wait_seconds,
            reconnect_timeout=POOL_RETRY_SECONDS,
            check=self._check,
            name="query",
        )
        instruments.connections.set_function(lambda: self._pool.get_stats()["pool_size"])
        instruments.waiting.set_function(lambda: self._pool.get_stats()["requests_waiting"])
        self.not_ready: str | None = "the database has not answered yet"
        self.edition: dict[str, Any] | None = None
        self.migration: int | None = None
        self.similarity: sql.Identifier | None = None
        """The function that tells how similar names are; None without the extension pg_trgm."""

    async def opened(self, _: web.Application) -> AsyncIterator[None]:
        """Connect in the background and watch, until the application stops."""
        # The pool would log every failed attempt; the watch says once that the database is away, and why.
        logging.getLogger("psycopg.pool").setLevel(logging.ERROR)
        async with self._pool:
            watch = asyncio.create_task(self._watch())
            yield
            watch.cancel()
            with suppress(asyncio.CancelledError):
                await watch

    async def fetch(
        self, name: str, statement: Query, parameters: Mapping[str, Any] | None = None
    ) -> list[tuple[Any, ...]]:
        """All rows of a statement; `name` is for the instruments.

        Raises `Unavailable`, or `BadRequest` where the client can ask for less; other faults as psycopg does.
        When the caller is cancelled, so is the statement.
        """
        async with (
            self._measured(name),
            self._pool.connection() as connection,
            connection.cursor(binary=True) as cursor,
        ):
            await cursor.execute(statement, parameters)
            rows = await cursor.fetchall()
        self._instruments.rows.labels(name).inc(len(rows))
        return rows

    async def stream(self, name: str, statement: Query, parameters: Mapping[str, Any] | None = None) -> Batches:
        """The rows of a statement in batches, as the server makes them: never all of them are in memory.

        Raises as `fetch` does, also in the middle. The connection is in use until the end: who stops before it must
        close the generator, which cancels the statement.
        """
        async with (
            self._measured(name),
            self._pool.connection() as connection,
            connection.cursor(binary=True) as cursor,
        ):
            stream = cast(Rows, cursor.stream(statement, parameters, size=BATCH_ROWS))  # declared as a mere iterator
            async with aclosing(stream) as rows:
                batch = []
                async for row in rows:
                    batch.append(row)
                    if len(batch) == BATCH_ROWS:
                        self._instruments.rows.labels(name).inc(len(batch))
                        yield batch
                        batch = []
            self._instruments.rows.labels(name).inc(len(batch))
            yield batch

    @asynccontextmanager
    async def _measured(self, name: str) -> AsyncIterator[None]:
        """Time a statement that succeeds within the block; make answers of the errors of one that fails."""
        if self.not_ready is not None:
            raise Unavailable(self.not_ready)
        began = time.perf_counter()
        try:
            yield
        except psycopg.Error as error:
            self._instruments.database_errors.labels(error.sqlstate or "none").inc()
            answer = self._answer_to(error, time.perf_counter() - began)
            if answer is None:
                raise
            raise answer from error
        self._instruments.statement_seconds.labels(name).observe(time.perf_counter() - began)

    async def _check(self, connection: psycopg.AsyncConnection) -> None:
        """Called by the pool before it lends a connection; it lends another when this one is dead."""
        try:
            await AsyncConnectionPool.check_connection(connection)
        except psycopg.Error:
            # One is dead, so after a restart of the server all are: to try them one by one would take too long.
            await self._pool.drain()
            raise

    def _answer_to(self, error: psycopg.Error, seconds: float) -> HttpError | None:
        settings = self._settings
        if isinstance(error, psycopg.errors.QueryCanceled) and seconds >= settings.statement_timeout_seconds:
            return limits.too_slow(settings)
        if isinstance(error, psycopg.errors.NumericValueOutOfRange):
            return BadRequest(
                "fn: the sum of these points is beyond double precision (1.8e308); allowed: a shorter range, "
                "fewer series, or another function",
                parameter="fn",
            )
        if isinstance(error, psycopg.errors.UndefinedTable | psycopg.errors.UndefinedColumn):
            # Found in the catalog a moment before: somebody has dropped a rollup, or a measurement, since.
            log.warning("what a statement reads is gone", sqlstate=error.sqlstate, error=_summary(error))
            return Unavailable("what the request is about was changed while it was answered")
        if isinstance(error, PoolTimeout | TooManyRequests):
            return Unavailable(
                f"no database connection was free in time (QUERY_CONNECTIONS allows {settings.connections}, "
                f"QUERY_MAX_WAITING {settings.max_waiting} requests to wait for one, QUERY_WAIT_SECONDS "
                f"{settings.wait_seconds} seconds); send fewer requests at a time, or ask for less in each"
            )
        if isinstance(error, psycopg.OperationalError | psycopg.InterfaceError):
            log.warning("the database failed a statement", sqlstate=error.sqlstate, error=_summary(error))
            return Unavailable(f"the database failed: {_summary(error)}")
        return None

    async def _watch(self) -> None:
        """Look again and again. A connection may be lost alone: only a new one tells whether the database is."""
        answered = False
        try:
            while True:
                try:
                    async with await psycopg.AsyncConnection.connect(self._conninfo, autocommit=True) as connection:
                        while True:
                            self._found(await self._look(connection))
                            answered = True
                            await asyncio.sleep(WATCH_SECONDS)
                except (psycopg.Error, TimeoutError) as error:
                    if not answered:
                        self._found(_reason(error))
                        await asyncio.sleep(WATCH_SECONDS)
                    answered = False
        except Exception:
            log.exception("the watch of the database failed")
            raise
        finally:
            self.not_ready = "the database is no longer watched"

    async def _look(self, connection: psycopg.AsyncConnection) -> str | None:
        """What is wrong with a database that answers; None when nothing is."""
        async with asyncio.timeout(self._settings.connect_timeout_seconds):
            cursor = await connection.execute(STATE)
            ((edition, migration, trigrams),) = await cursor.fetchall()
        if edition != self.edition:
            self.edition = edition
            self._instruments.database_info.clear()
            self._instruments.database_info.labels(*(edition[fact] for fact in SERVER_FACTS)).set(1)
        self.migration = migration
        self.similarity = None if trigrams is None else sql.Identifier(trigrams, "word_similarity")
        if migration < NEEDED_MIGRATION:
            return f"the database is at migration {migration}, {NEEDED_MIGRATION} is needed: run python -m sql migrate"
        return None

    def _found(self, reason: str | None) -> None:
        if reason != self.not_ready:
            if reason is None:
                log.info("the database is ready", migration=self.migration, **(self.edition or {}))
            else:
                log.warning("the database is not ready", reason=reason)
        self.not_ready = reason
        self._instruments.database_up.set(reason is None)


def conninfo(settings: QuerySettings) -> str:
    """The address with what every connection of query starts with; the address's own options come first."""
    given = conninfo_to_dict(settings.database_url.get_secret_value())
    ours: dict[str, str | int] = {
        "role": ROLE,
        "search_path": "metrics,public",
        "statement_timeout": round(settings.statement_timeout_seconds * 1000),
        # When this process dies, or is stopped in the middle, the server finds out by itself.
        "client_connection_check_interval": "1s",
        "default_transaction_read_only": "on",
        "TimeZone": "UTC",
        "jit": "off",
    }
    options = [str(given.pop("options", ""))] + [f"-c {name}={value}" for name, value in ours.items()]
    defaults: dict[str, str | int | None] = {
        "application_name": "tidemark query",
        "connect_timeout": settings.connect_timeout_seconds,
        # A server that vanishes without a word is noticed in half a minute.
        "keepalives_idle": 10,
        "keepalives_interval": 5,
        "keepalives_count": 4,
    }
    return make_conninfo("", **{**defaults, **given, "options": " ".join(options).strip()})


def _reason(error: psycopg.Error | TimeoutError) -> str:
    if isinstance(error, psycopg.Error) and error.sqlstate in ("3F000", "42883", "42P01"):
        return "the database has no Tidemark schema yet: run python -m sql migrate"
    if f'role "{ROLE}"' in str(error):  # a connection that fails to start has no SQLSTATE
        return f"query cannot act as the role {ROLE}: run python -m sql migrate ({_summary(error)})"
    return f"the database does not answer: {_summary(error)}"


def _summary(error: Exception) -> str:
    """The first line of what the driver says; it has the server's address, and no password."""
    text = str(error) or type(error).__name__
    return text.splitlines()[0]
