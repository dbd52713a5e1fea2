"""The connections of query to a server: pooled, with the role and the bounds of query, watched for readiness.

The database need not be there when the process starts, and may go away and come back. Every error of the
driver's that is not a fault of ours becomes an answer here, and nowhere else:

    statement timeout, a result past double precision   400, the client can ask for less
    no connection, a lost or a silent one, trouble      503 with Retry-After, the same request will do later
    a table that was dropped since it was looked up     503 likewise
    a right that was taken from the role                503 likewise, once it has it again
    a table that somebody has changed                   400, other metrics do
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import aclosing, asynccontextmanager, contextmanager, suppress
from typing import TypeVar

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg_pool import AsyncConnectionPool, PoolTimeout, TooManyRequests
from pydantic import SecretStr

from query import limits
from query.assumptions import Changed, Misfit
from query.conditions import Planned, Statement
from query.connection import Connection
from query.instruments import Instruments
from query.settings import QuerySettings
from query.tables import BATCH_ROWS, Batches, Row
from query.watch import ROLE, Watch, summary
from service import logs
from service.errors import BadRequest, HttpError, Unavailable

log = logs.get(__name__)

POOL_RETRY_SECONDS = 2.0
"""How long the pool tries a failed connection again by itself; the next request makes it begin anew."""

MISFITS = (
    psycopg.errors.CannotCoerce,
    psycopg.errors.DatatypeMismatch,
    psycopg.errors.InvalidParameterValue,
    psycopg.errors.InvalidTextRepresentation,
    psycopg.errors.UndefinedFunction,
    psycopg.errors.WrongObjectType,
)
"""What comes of a column, or a table, of another type."""

T = TypeVar("T")


class Database:
    """The pool of one server and its watch. `running` is their life; `fetch` and `stream` run a statement."""

    def __init__(
        self, name: str, url: SecretStr, settings: QuerySettings, instruments: Instruments, on_look: Callable[[], None]
    ) -> None:
        address = conninfo(url, settings)
        self.name = name
        """`primary` or `replica`, for people and instruments."""
        self.watch = Watch(name, address, settings.connect_timeout_seconds, instruments, on_look=on_look)
        self._settings = settings
        self._patience_seconds = settings.statement_timeout_seconds + settings.connect_timeout_seconds
        """The server would have ended the statement by then."""
        self._instruments = instruments.statements
        self._pool = AsyncConnectionPool(
            address,
            connection_class=Connection,
            kwargs={"autocommit": True},
            open=False,
            min_size=1,
            max_size=settings.connections,
            max_waiting=settings.max_waiting,
            timeout=settings.wait_seconds,
            reconnect_timeout=POOL_RETRY_SECONDS,
            configure=self._configure,
            check=self._check,
            name=name,
        )
        instruments.servers.connections.labels(name).set_function(lambda: self._pool.get_stats()["pool_size"])
        instruments.servers.waiting.labels(name).set_function(lambda: self._pool.get_stats()["requests_waiting"])

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Connect in the background and watch, within the block."""
        # The pool would log every failed attempt; the watch says once that the database is away, and why.
        logging.getLogger("psycopg.pool").setLevel(logging.ERROR)
        async with self._pool:
            watch = asyncio.create_task(self.watch.run())
            yield
            watch.cancel()
            with suppress(asyncio.CancelledError):
                await watch

    async def fetch(self, name: str, statement: Statement) -> list[Row]:
        """All rows of a statement; `name` is for the instruments.

        Raises `Unavailable`, or `BadRequest` where the client can ask for less; other faults as psycopg does.
        When the caller is cancelled, so is the statement.
        """
        with self._measured(name):
            connection = await self._pool.getconn()
            try:
                text, parameters, planned = statement
                await self._told(connection, planned)
                rows = await self._heard(connection.read.rows(text, parameters, prepare=planned != "each"))
            finally:
                await self._given_back(connection)
        self._instruments.rows.labels(name).inc(len(rows))
        return rows

    async def stream(self, name: str, statement: Statement, size: int = BATCH_ROWS) -> Batches:
        """The rows of a statement, at most `size` at a time, as the server makes them: never all are in memory.

        Raises as `fetch` does, also in the middle. The connection is in use until the end: who stops before it must
        close the generator, which cancels the statement.
        """
        with self._measured(name):
            connection = await self._pool.getconn()
            try:
                text, parameters, planned = statement
                await self._told(connection, planned)
                async with aclosing(connection.read.batches(text, parameters, size, prepare=planned != "each")) as rows:
                    while (batch := await self._heard(anext(rows, None))) is not None:
                        self._instruments.rows.labels(name).inc(len(batch))
                        yield batch
            finally:
                await self._given_back(connection)

    @contextmanager
    def _measured(self, name: str) -> Iterator[None]:
        """Time a statement that succeeds within the block; make answers of the errors of one that fails."""
        if self.watch.not_ready is not None:
            raise Unavailable(self.watch.not_ready)
        began = time.perf_counter()
        try:
            yield
        except psycopg.Error as error:
            self._instruments.errors.labels(error.sqlstate or "none").inc()
            answer = self._answer_to(error, time.perf_counter() - began)
            if answer is None:
                raise
            raise answer from error
        self._instruments.seconds.labels(name).observe(time.perf_counter() - began)

    async def _given_back(self, connection: Connection) -> None:
        """Give a connection back to the pool, which takes one at a time, and hands it to who waits for one.

        Who is cancelled while it waits for that would take the connection and its place along: so a task of its own
        waits, where there may be a wait. Who waits for a connection is one, when it has just given up.
        """
        pool, returned = self._pool, self._pool.putconn(connection)
        may_wait = pool._waiting or pool._lock.locked() or pool._lock._waiters
        await (asyncio.shield(returned) if may_wait else returned)

    async def _told(self, connection: Connection, planned: Planned) -> None:
        """Tell the server how to plan what comes next, where it does otherwise."""
        wanted = planned == "once" and self._settings.prepared_statements > 0
        if planned != "either" and wanted != connection.keeps_plans:
            await self._heard(connection.keep_plans(wanted=wanted))

    async def _heard(self, said: Awaitable[T]) -> T:
        """What the server says. Raises `Unavailable` when it hangs, or nothing has come from it for whatever reason.

        Such a server takes what is sent, so that its connection does not look broken, and ends no statement itself.
        """
        try:
            async with asyncio.timeout(self._patience_seconds):
                return await said
        except TimeoutError:
            self._instruments.errors.labels("none").inc()
            reason = f"nothing was heard from it for {self._patience_seconds:g} s"
            log.warning("the database failed a statement", server=self.name, sqlstate=None, error=reason)
            raise Unavailable(f"the database failed: {reason}") from None

    async def _configure(self, connection: Connection) -> None:
        connection.set_up(self._settings.prepared_statements)

    async def _check(self, connection: Connection) -> None:
        """Called by the pool before it lends a connection; it lends another when this one is dead.

        A server that has ended a connection, or is about to, has said so: then there is something to be read. To ask
        it each time would be a round trip for every statement.
        """
        if not connection.has_news:
            return
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
            return limits.beyond_doubles()
        if isinstance(error, psycopg.errors.UndefinedTable | psycopg.errors.UndefinedColumn):
            # Found in the catalog a moment before: somebody has dropped a rollup, or a measurement, since.
            log.warning("what a statement reads is gone", sqlstate=error.sqlstate, error=summary(error))
            return Changed(f"what the request is about was changed while it was answered, or by hand: {summary(error)}")
        if isinstance(error, psycopg.errors.InsufficientPrivilege):
            log.warning("the database refuses a statement", role=ROLE, sqlstate=error.sqlstate, error=summary(error))
            return Unavailable(f"the database refuses its role {ROLE}: {summary(error)}")
        if isinstance(error, psycopg.DataError) and error.sqlstate is None:
            return BadRequest(
                f"{summary(error)}: what is read was written around ingest; allowed: times before the year 10000, or "
                "to ask for other measurements"
            )
        if isinstance(error, MISFITS):
            log.warning("what a statement reads was changed", sqlstate=error.sqlstate, error=summary(error))
            return Misfit(summary(error))
        if isinstance(error, PoolTimeout | TooManyRequests):
            return Unavailable(
                f"no database connection was free in time (QUERY_CONNECTIONS allows {settings.connections}, "
                f"QUERY_MAX_WAITING {settings.max_waiting} requests to wait for one, QUERY_WAIT_SECONDS "
                f"{settings.wait_seconds} seconds); send fewer requests at a time, or ask for less in each"
            )
        if isinstance(error, psycopg.OperationalError | psycopg.InterfaceError):
            reason = summary(error)
            log.warning("the database failed a statement", server=self.name, sqlstate=error.sqlstate, error=reason)
            return Unavailable(f"the database failed: {reason}")
        return None


def conninfo(url: SecretStr, settings: QuerySettings) -> str:
    """The address with what every connection of query starts with; the address's own options come first."""
    given = conninfo_to_dict(url.get_secret_value())
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
