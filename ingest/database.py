"""The connections of ingest: made when needed, with the role and the bounds of ingest, watched for readiness."""

from __future__ import annotations

import asyncio
import json
from typing import Any, TypeAlias

import asyncpg

from ingest.instruments import Instruments
from ingest.settings import IngestSettings
from ingest.sqlstates import sqlstate, summary
from service import logs

log = logs.get(__name__)

ROLE = "tidemark_ingest"
WATCH_SECONDS = 1.0
READY = "SELECT catalog.edition()::text"

DATABASE_ERRORS = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, TimeoutError)
"""What a call of asyncpg's may raise when the server, the network or the statement fails."""

Pool: TypeAlias = "asyncpg.Pool[asyncpg.Record]"
Connection: TypeAlias = "asyncpg.pool.PoolConnectionProxy[asyncpg.Record]"


def create_pool(settings: IngestSettings) -> Pool:
    """A pool, to be opened; it connects when a connection is asked for: the database need not be there yet.

    One connection for each copier, and two more to learn series and to look whether the database is there.
    """
    return asyncpg.create_pool(
        settings.database_url.get_secret_value(),
        min_size=0,
        max_size=settings.copiers + 2,
        max_inactive_connection_lifetime=0,
        timeout=settings.connect_timeout_seconds,
        command_timeout=settings.statement_timeout_seconds + 5,
        reset=_as_it_is,
        server_settings={
            "application_name": "tidemark ingest",
            "role": ROLE,
            "search_path": "pg_catalog",
            "statement_timeout": str(round(settings.statement_timeout_seconds * 1000)),
            "jit": "off",
        },
    )


async def _as_it_is(_: object) -> None:
    """Nothing of a session is ever changed but inside a transaction: there is nothing to reset."""


class Watch:
    """Looks again and again whether the database is there and migrated; knows what the server is."""

    def __init__(self, pool: Pool, instruments: Instruments) -> None:
        self._pool = pool
        self._instruments = instruments
        self.not_ready: str | None = "the database has not answered yet"
        self.edition: dict[str, Any] | None = None

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            await self._look()
            await asyncio.sleep(WATCH_SECONDS)

    async def _look(self) -> None:
        try:
            answer = await self._pool.fetchval(READY, timeout=5)
        except DATABASE_ERRORS as error:
            self._found(_reason(error))
        else:
            self._know(json.loads(answer))
            self._found(None)

    def _found(self, reason: str | None) -> None:
        if reason != self.not_ready:
            if reason is None:
                log.info("the database is ready", **(self.edition or {}))
            else:
                log.warning("the database is not ready", reason=reason)
        self.not_ready = reason
        self._instruments.database_up.set(reason is None)

    def _know(self, edition: dict[str, Any]) -> None:
        if edition != self.edition:
            self.edition = edition
            self._instruments.database_info.clear()
            self._instruments.database_info.labels(**edition).set(1)


def _reason(error: BaseException) -> str:
    if sqlstate(error) in ("3F000", "42883", "42P01"):
        return "the database has no Tidemark schema yet: run python -m sql migrate"
    if sqlstate(error) in ("22023", "42704"):
        return f"the database has no role {ROLE} yet: run python -m sql migrate"
    return f"the database does not answer: {summary(error)}"
