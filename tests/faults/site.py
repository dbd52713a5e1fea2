"""Where a fault strikes: a database, an ingest that writes into it, ways between them, and a load."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg import sql

from ingest.spool.store import survey
from tests.conftest import open_folder
from tests.faults.ledger import Ledger, Report, Row, compare
from tests.faults.load import MEASUREMENTS, Load
from tests.faults.processes import Ingest, Server
from tests.relay import Relay, relay_to

SETTINGS = {
    "INGEST_BODY_TIMEOUT_SECONDS": "2",
    "INGEST_STATEMENT_TIMEOUT_SECONDS": "2",
    "INGEST_SHUTDOWN_SECONDS": "10",
}
"""Shorter than they are for people: each of these times passes while a test looks on."""

RETRY_SECONDS = ("0.5", "4")
"""Of which the seed chooses: ingest waits for the end of a short trouble, or lets clients feel it."""

FOUND = "SELECT tags ->> 'series', extract(epoch FROM time)::float8, a, b FROM metrics.{}"


@dataclass(frozen=True)
class Site:
    """One load on one database."""

    server: Server
    database: str
    """The name of the database."""
    home: Path
    """The folder in which ingest keeps what is its own."""
    ingest: Ingest
    front: Relay
    """Between the clients and ingest."""
    back: Relay
    """Between ingest and the database."""
    load: Load
    ledger: Ledger
    chance: random.Random
    small_disk: Path | None
    """The small disk that the database is on, if it is."""
    small_spool: Path | None
    """The small disk that the spool is on, if it is."""
    pause_seconds: float
    """How long the database is paused."""

    def connect(self) -> psycopg.Connection:
        """A connection to the database with its owner's rights, past all relays."""
        return self.server.connect(self.database)

    def disconnect(self) -> int:
        """Terminate the connections of ingest, and wait for their ends; their number."""
        with self.server.connect() as owner:
            return len(
                owner.execute(
                    "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity "
                    "WHERE datname = %s AND application_name = 'tidemark ingest'",
                    [self.database],
                ).fetchall()
            )

    async def random_moment(self) -> None:
        """Let the load go on for a while that the seed decides."""
        await self.load.is_acknowledged(self.chance.randint(1, 40))

    @property
    def spool(self) -> Path:
        """The folder of ingest's spool."""
        return self.home / "spool"

    def set_aside(self) -> list[Path]:
        """The files that ingest has set aside."""
        return [entry.path for slot in survey(self.spool).values() for entry in slot.quarantined]

    async def judge(self) -> Report:
        """Wait until the system has recovered, and compare the database with the ledger."""
        await self.ingest.until_drained()
        with self.connect() as owner:
            rows = [row for measurement in MEASUREMENTS for row in _rows(owner, measurement)]
        return compare(self.ledger, rows)


Strike = Callable[[Site], Awaitable[None]]
"""A fault: it strikes, and in the end has put everything right again. Its name is a function's, its line a docstring's.

While it does harm, it may wait for clients to suffer, or for a time, but for nothing that another fault could prevent.
"""


def _rows(owner: psycopg.Connection, measurement: str) -> Iterator[Row]:
    statement = sql.SQL(FOUND).format(sql.Identifier(measurement))
    try:
        found = owner.execute(statement).fetchall()
    except psycopg.errors.UndefinedTable:  # then there are no rows, whatever was acknowledged
        return
    for series, time, a, b in found:
        yield (measurement, series, time), a, b


@dataclass(frozen=True)
class Ground:
    """What all sites of a run share."""

    server: Server
    small_disk: Path | None
    """A disk of a few megabytes, where one may be mounted; a tablespace named `small` is on it."""
    small_spool: Path | None
    """Another one, for spools."""
    pause_seconds: float

    @asynccontextmanager
    async def site(
        self,
        chance: random.Random,
        *,
        relayed: bool = False,
        on_small_disk: bool = False,
        on_small_spool: bool = False,
    ) -> AsyncIterator[Site]:
        """A new database with a load that runs until the body ends; with both relays in the way, or none."""
        tablespace = "small" if on_small_disk else "pg_default"
        spool = self.small_spool if on_small_spool else None
        with open_folder(spool) as home, self.server.database(tablespace) as database:
            url = self.server.url("ingest", database)
            async with (
                relay_to(url) as back,
                self._ingest(back.through(url) if relayed else url, home, chance) as ingest,
                relay_to(ingest.url) as front,
            ):
                ledger = Ledger()
                yield Site(
                    server=self.server,
                    database=database,
                    home=home,
                    ingest=ingest,
                    front=front,
                    back=back,
                    load=Load(front.through(ingest.url) if relayed else ingest.url, chance, ledger),
                    ledger=ledger,
                    chance=chance,
                    small_disk=self.small_disk if on_small_disk else None,
                    small_spool=spool,
                    pause_seconds=self.pause_seconds,
                )

    @asynccontextmanager
    async def _ingest(self, url: str, home: Path, chance: random.Random) -> AsyncIterator[Ingest]:
        """An ingest that writes to the database at `url`, and is killed when the body ends."""
        settings = SETTINGS | {
            "INGEST_DATABASE_URL": url,
            "TIDEMARK_HOME": str(home),
            "INGEST_RETRY_SECONDS": chance.choice(RETRY_SECONDS),
        }
        ingest = Ingest(self.server.commands, settings)
        await ingest.start()
        try:
            yield ingest
        finally:
            ingest.running.process.kill()
            ingest.running.process.wait()
