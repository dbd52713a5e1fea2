"""The processes that faults strike: an embedded database of the suite's own, and ingest."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

import aiohttp
import psutil
import psycopg
from psycopg import sql

from sql import addresses
from sql.addresses import Role
from sql.migrate import migrate
from tests.conftest import DEADLINE_SECONDS, Commands, Running, kill, sum_of, with_database
from tests.workers import port_nobody_has

POLL_SECONDS = 0.05


@dataclass
class Server:
    """An embedded database, with fsync, run by `python -m sql serve`."""

    commands: Commands
    template: str = ""
    _serving: Running = field(init=False)

    def start(self) -> None:
        """Start it, and wait until it answers; what the last run left is ended first."""
        self._serving = self.commands.start("sql", "serve")
        self._serving.until("the database answers")

    def recover(self) -> None:
        """Start it if a fault that has itself failed has left it stopped."""
        self.resume()
        if self._serving.process.poll() is not None:
            self.start()

    def stop(self, number: signal.Signals) -> None:
        """Send its postmaster a signal that ends it: SIGKILL, SIGQUIT (immediate) or SIGINT (fast)."""
        self.postmaster().send_signal(number)
        self._serving.process.wait(DEADLINE_SECONDS)

    def pause(self) -> None:
        """Let none of its processes run, the postmaster first, which would start others."""
        postmaster = self.postmaster()
        postmaster.suspend()
        for process in self.commands.postgres():
            with suppress(psutil.NoSuchProcess):
                process.suspend()

    def resume(self) -> None:
        """Let all of them go on."""
        for process in self.commands.postgres():
            with suppress(psutil.NoSuchProcess):
                process.resume()

    def postmaster(self) -> psutil.Process:
        """The process that leads the others."""
        return psutil.Process(int((self.commands.home / "data" / "postmaster.pid").read_text().split()[0]))

    def url(self, role: Role, database: str) -> str:
        """The address of a database for `role`."""
        kept = addresses.kept(self.commands.home / addresses.FILE)
        return with_database(kept[addresses.VARIABLES[role]], database)

    def connect(self, database: str = addresses.DATABASE) -> psycopg.Connection:
        """A connection with its owner's rights, each statement committed."""
        return psycopg.connect(self.url("owner", database), autocommit=True)

    def make_template(self) -> None:
        """Migrate a database to copy, which nobody may connect to any more."""
        name = "tidemark_template"
        with self.connect() as server:
            server.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
            migrate(self.url("owner", name))
            with self.connect(name) as connection:
                connection.execute("SELECT _timescaledb_functions.stop_background_workers()")
            server.execute(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS false").format(sql.Identifier(name)))
        self.template = name

    @contextmanager
    def database(self, tablespace: str = "pg_default") -> Iterator[str]:
        """The name of a migrated database, dropped in the end."""
        name = f"tidemark_fault_{uuid.uuid4().hex[:12]}"
        # With fsync the log is written sooner than hundreds of files.
        create = sql.SQL("CREATE DATABASE {} TEMPLATE {} TABLESPACE {} STRATEGY wal_log")
        self.recover()
        with self.connect() as server:
            server.execute(create.format(*map(sql.Identifier, (name, self.template, tablespace))))
        try:
            yield name
        finally:
            self.recover()
            with self.connect() as server:
                server.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))

    def close(self) -> None:
        """Stop it."""
        self.resume()
        self.commands.close()
        kill(self.commands.postgres())


@dataclass
class Ingest:
    """`python -m ingest` on a port that it keeps, however often it is started."""

    commands: Commands
    settings: dict[str, str]
    port: int = field(default_factory=port_nobody_has)
    running: Running = field(init=False)
    started: list[Running] = field(default_factory=list)
    """All that ran on the port, the last one included."""

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def _environment(self) -> dict[str, str]:
        return self.commands.environment | self.settings | {"INGEST_PORT": str(self.port)}

    def logged(self, text: str) -> int:
        """How often its logs have this, those of earlier runs included."""
        return sum(running.text().count(text) for running in self.started)

    async def start(self, module: str = "ingest", *arguments: str) -> None:
        """Start it, and wait until it listens."""
        self.running = self.commands.start(module, *arguments, env=self._environment)
        self.started.append(self.running)
        await asyncio.to_thread(self.running.until, "listening")

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run one of its commands, with its settings, to the end."""
        return self.commands.run("ingest", *arguments, env=self._environment)

    async def stop(self, number: signal.Signals) -> int:
        """Send a signal that ends it; its status."""
        return await asyncio.to_thread(self.running.stop, number)

    async def until_drained(self) -> None:
        """Wait until it is ready, and keeps nothing for the database any more."""
        async with aiohttp.ClientSession(self.url) as session, asyncio.timeout(DEADLINE_SECONDS):
            while not await self._is_drained(session):
                assert self.running.process.poll() is None, self.running.text()
                await asyncio.sleep(POLL_SECONDS)

    async def _is_drained(self, session: aiohttp.ClientSession) -> bool:
        try:
            async with session.get("/readyz") as ready, session.get("/metrics") as metrics:
                return ready.status == 200 and not sum_of(
                    await metrics.text(), "ingest_spool_entries", {"kind": "waiting"}
                )
        except aiohttp.ClientError:
            return False
