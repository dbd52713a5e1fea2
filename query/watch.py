"""The watch of a server: whether it answers, whether it is migrated, what it says of itself, again and again."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import psycopg
from psycopg import sql

from query.instruments import SERVER_FACTS, Instruments
from query.standing import ServerState
from service import logs

log = logs.get(__name__)

ROLE = "tidemark_query"
NEEDED_MIGRATION = 13
WATCH_SECONDS = 1.0

STATE = """
    SELECT catalog.edition(), (SELECT coalesce(max(number), 0) FROM catalog.migration), (
        SELECT n.nspname FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace
        WHERE e.extname = 'pg_trgm' AND has_schema_privilege(n.oid, 'USAGE')), s.*
    FROM catalog.server_state() AS s
"""


class Watch:
    """Looks at one server from a connection of its own."""

    def __init__(
        self, name: str, conninfo: str, timeout_seconds: float, instruments: Instruments, *, on_look: Callable[[], None]
    ) -> None:
        self._name = name
        self._conninfo = conninfo
        self._timeout_seconds = timeout_seconds
        self._instruments = instruments.servers
        self._on_look = on_look
        self._hurry = asyncio.Event()
        self._looked = asyncio.Event()
        self.gone = asyncio.Event()
        """Set while the server does not answer."""
        self.not_ready: str | None = f"the {name} has not answered yet"
        self.edition: dict[str, Any] | None = None
        self.migration: int | None = None
        self.similarity: sql.Identifier | None = None
        """The function that tells how similar names are; None without the extension pg_trgm."""
        self.state: ServerState | None = None

    async def run(self) -> None:
        """Look until cancelled. A connection may be lost alone: only a new one tells whether the server is."""
        answered = False
        try:
            while True:
                try:
                    async with self._connected() as connection:
                        while True:
                            self._found(await self._look(connection))
                            answered = True
                            await self._pause()
                except (psycopg.Error, TimeoutError) as error:
                    if isinstance(error, TimeoutError):
                        self.gone.set()  # it hangs: nobody need wait for what it was asked
                    if not answered:
                        self._found(_reason(error))
                        await self._pause()
                    answered = False
        except Exception:
            log.exception("the watch of the database failed", server=self._name)
            raise
        finally:
            self.not_ready = "the database is no longer watched"

    async def state_since(self, moment: float, seconds: float) -> ServerState | None:
        """What the server says when asked after `moment` (by `time.monotonic`).

        None when it does not answer, or not within `seconds`.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while self.state is None or self.state.asked_at < moment:
                    if self.gone.is_set():
                        return None
                    self._hurry.set()
                    self._looked.clear()
                    await self._looked.wait()
                return self.state
        return None

    async def _pause(self) -> None:
        """Until the next look; shorter when somebody waits for it."""
        self._looked.set()
        with suppress(TimeoutError):
            async with asyncio.timeout(WATCH_SECONDS):
                await self._hurry.wait()
        self._hurry.clear()

    async def _look(self, connection: psycopg.AsyncConnection) -> str | None:
        """What is wrong with a server that answers; None when nothing is."""
        asked_at = time.monotonic()
        edition, migration, trigrams, *state = await self._ask(connection)
        if edition != self.edition:
            if self.edition is not None:
                self._instruments.info.remove(*self._facts(self.edition))
            self._instruments.info.labels(*self._facts(edition)).set(1)
            self.edition = edition
        self.migration = migration
        self.similarity = None if trigrams is None else sql.Identifier(trigrams, "word_similarity")
        self.state = ServerState(asked_at, *state)
        if migration < NEEDED_MIGRATION:
            return f"the database is at migration {migration}, {NEEDED_MIGRATION} is needed: run python -m sql migrate"
        return None

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[psycopg.AsyncConnection]:
        """A connection that is closed in the end without a word: the server may not listen."""
        connection = await psycopg.AsyncConnection.connect(self._conninfo, autocommit=True)
        try:
            yield connection
        finally:
            await connection.close()

    async def _ask(self, connection: psycopg.AsyncConnection) -> tuple[Any, ...]:
        """What the server says of itself. Raises `TimeoutError`."""

        async def row() -> tuple[Any, ...]:
            (found,) = await (await connection.execute(STATE)).fetchall()
            return found

        asking = asyncio.create_task(row())
        try:
            done, _ = await asyncio.wait((asking,), timeout=self._timeout_seconds)
        finally:
            abandon(asking)
        if not done:
            await asyncio.sleep(0)  # it lets go of the connection's socket, which is about to be closed
            raise TimeoutError
        return asking.result()

    def _facts(self, edition: dict[str, Any]) -> list[str]:
        return [self._name, *(edition[fact] for fact in SERVER_FACTS)]

    def _found(self, reason: str | None) -> None:
        if reason != self.not_ready:
            if reason is None:
                log.info("the database is ready", server=self._name, migration=self.migration, **(self.edition or {}))
            else:
                log.warning("the database is not ready", server=self._name, reason=reason)
        self.not_ready = reason
        self._instruments.up.labels(self._name).set(reason is None)
        if reason is None:
            self.gone.clear()
        else:
            self.gone.set()
        self._on_look()


def abandon(task: asyncio.Task[Any]) -> None:
    """Cancel what nobody waits for any more; nor is its end waited for: the driver asks the server to cancel first."""
    if not task.done():
        task.add_done_callback(_forget)
        task.cancel()


def _forget(task: asyncio.Task[Any]) -> None:
    """Look at its outcome, as somebody must."""
    if not task.cancelled():
        task.exception()


def summary(error: Exception) -> str:
    """The first line of what the driver says; it has the server's address, and no password."""
    text = str(error) or type(error).__name__
    return text.splitlines()[0]


def _reason(error: psycopg.Error | TimeoutError) -> str:
    if isinstance(error, psycopg.Error) and error.sqlstate in ("3F000", "42883", "42P01"):
        return "the database has no Tidemark schema yet: run python -m sql migrate"
    if f'role "{ROLE}"' in str(error):  # a connection that fails to start has no SQLSTATE
        return f"query cannot act as the role {ROLE}: run python -m sql migrate ({summary(error)})"
    return f"the database does not answer: {summary(error)}"
