"""What every suite stands on: one real TimescaleDB a worker, and a database of its own for each test.

The server is `DATABASE_URL` when that is set, else an embedded one with a folder of its own. One template
database is migrated once and copied for each test, which takes a fifth of a second.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import hypothesis
import psutil
import psycopg
import pytest
from prometheus_client.parser import text_string_to_metric_families
from psycopg import sql
from xdist.remote import Producer
from xdist.workermanage import NodeManager

from service.settings import home
from sql.embedded import prepare, sole_use
from sql.leftovers import processes
from sql.migrate import migrate
from sql.postmaster import running
from sql.settings import Embedded
from tests.workers import ByFile, port_nobody_has

ROOT = Path(__file__).parents[1]

# How long an example takes is the machine's doing: Hypothesis would have each be done within a fifth of a second.
hypothesis.settings.register_profile("patient", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("patient")

DEADLINE_SECONDS = 120.0
"""For conditions that come about in moments; only a fault takes this long."""

POLL_SECONDS = 0.05

FIRST_ON_A_SERVER = 20_261_125
"""The advisory lock of whoever migrates a template: the first one on a server makes its roles."""

GATE = sql.SQL("""
    CREATE TABLE public.gate (is_open boolean NOT NULL);
    INSERT INTO public.gate VALUES (false);
    GRANT SELECT ON public.gate TO tidemark_ingest;
    CREATE FUNCTION public.wait_at_gate() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        WHILE NOT (SELECT is_open FROM public.gate) LOOP
            PERFORM pg_sleep(0.01);
        END LOOP;
        RETURN NEW;
    END $$;
    CREATE TRIGGER wait_at_gate BEFORE INSERT ON {} FOR EACH ROW EXECUTE FUNCTION public.wait_at_gate();
""")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> ByFile:
    """Share the tests out by the file."""
    config.option.loadscopereorder = False
    NodeManager.EXIT_TIMEOUT = DEADLINE_SECONDS  # it has no option for this: what a worker has started must be stopped
    return ByFile(config, log)


@pytest.fixture(scope="session")
def server_url() -> Iterator[str]:
    """The address of a TimescaleDB server, with the rights of a superuser."""
    if url := os.environ.get("DATABASE_URL"):
        yield url
        return
    with open_folder() as path:
        settings = Embedded(home=path, engine=engine_folder(), database_port=port_nobody_has())
        with sole_use(settings.home, print):
            cluster = prepare(settings, print)
            with running(cluster, print):
                url = cluster.addresses.url("owner")
                with psycopg.connect(url, autocommit=True) as server:
                    # Databases are copied faster; the tests of crashes run servers of their own.
                    server.execute("ALTER SYSTEM SET fsync = off")
                    server.execute("SELECT pg_reload_conf()")
                yield url


@pytest.fixture(scope="session")
def template(server_url: str) -> Iterator[str]:
    """The name of a migrated database to copy."""
    name = f"tidemark_template_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(server_url, autocommit=True) as server:
        server.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        try:
            url = with_database(server_url, name)
            server.execute("SELECT pg_advisory_lock(%s)", [FIRST_ON_A_SERVER])
            migrate(url)
            server.execute("SELECT pg_advisory_unlock(%s)", [FIRST_ON_A_SERVER])
            _stop_jobs(url)  # a database cannot be copied while TimescaleDB's scheduler is connected to it
            server.execute(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS false").format(sql.Identifier(name)))
            yield name
        finally:
            _drop(server, name)


@pytest.fixture(scope="session")
def is_community(server_url: str, template: str) -> bool:
    """Whether the server's TimescaleDB is the community edition."""
    with copied(server_url, template) as url, psycopg.connect(url) as connection:
        return connection.execute("SELECT catalog.edition() ->> 'edition'").fetchone() == ("community",)


@pytest.fixture(autouse=True)
def enough_of_an_edition(request: pytest.FixtureRequest) -> None:
    """Skip a test that is marked `community` where the server's TimescaleDB is the Apache edition."""
    if request.node.get_closest_marker("community") and not request.getfixturevalue("is_community"):
        pytest.skip("needs TimescaleDB's community edition: set DATABASE_URL to a server that has it")


@pytest.fixture
def empty_database(server_url: str) -> Iterator[str]:
    """The URL of a database with nothing in it, dropped after the test."""
    name = f"tidemark_test_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(server_url, autocommit=True) as server:
        server.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        try:
            yield with_database(server_url, name)
        finally:
            _drop(server, name)


@pytest.fixture
def database(server_url: str, template: str) -> Iterator[str]:
    """The URL of a migrated database of the test's own, with its owner's rights, dropped after the test."""
    with copied(server_url, template) as url:
        yield url


@contextmanager
def copied(server_url: str, template: str, tablespace: str = "pg_default") -> Iterator[str]:
    """The URL of a copy of `template`, dropped in the end."""
    name = f"tidemark_test_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(server_url, autocommit=True) as server:
        server.execute(
            sql.SQL("CREATE DATABASE {} TEMPLATE {} TABLESPACE {} STRATEGY file_copy").format(
                *map(sql.Identifier, (name, template, tablespace))
            )
        )
        try:
            url = with_database(server_url, name)
            _stop_jobs(url)  # one would compress, or drop, what a test has just stored
            yield url
        finally:
            _drop(server, name)


@pytest.fixture
def free_port() -> int:
    """A port of the loopback interface that nobody listens on now."""
    return port_nobody_has()


@pytest.fixture
def folder() -> Iterator[Path]:
    """An empty folder that every account of this machine can reach, which `tmp_path` is not under root."""
    with open_folder() as path:
        yield path


@pytest.fixture(scope="session")
def shared_engine() -> Path:
    """The folder of the engine that all embedded databases of the tests share: it is fetched once a machine."""
    return engine_folder()


def engine_folder() -> Path:
    """`TIDEMARK_ENGINE`, else where an embedded database that is not a test's has it."""
    named = os.environ.get("TIDEMARK_ENGINE")
    return Path(named) if named else home() / "engine"


@contextmanager
def open_folder(place: Path | None = None) -> Iterator[Path]:
    """A temporary folder that every account can reach, in `place` if that is named."""
    path = Path(tempfile.mkdtemp(prefix="tidemark-test-", dir=place)).resolve()
    try:
        path.chmod(0o755)
        yield path
    finally:
        shutil.rmtree(path)


@dataclass
class Running:
    """A command under way, whose lines are kept."""

    process: subprocess.Popen[bytes]
    output: Path

    def text(self) -> str:
        """All that it has printed."""
        return self.output.read_text(encoding="utf-8", errors="replace")

    def until(self, wanted: str, deadline_seconds: float = DEADLINE_SECONDS) -> str:
        """Wait until it has printed `wanted`, and return all that it has printed; fail when it ends before."""
        deadline = time.monotonic() + deadline_seconds
        while wanted not in self.text():
            assert self.process.poll() is None, self.text()
            assert time.monotonic() < deadline, self.text()
            time.sleep(POLL_SECONDS)
        return self.text()

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal, wait for the end, and return the status."""
        self.process.send_signal(number)
        return self.process.wait(DEADLINE_SECONDS)


@dataclass
class Commands:
    """Runs `python -m ...` as real processes that have a home folder and a database port of their own."""

    home: Path
    environment: dict[str, str]
    started: list[Running] = field(default_factory=list)

    def run(self, module: str, *arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
        """Run to the end; `options` are those of `subprocess.run`."""
        command = [sys.executable, "-m", module, *arguments]
        options = {"env": self.environment, "cwd": ROOT, "check": False, "timeout": DEADLINE_SECONDS, **options}
        return subprocess.run(command, capture_output=True, text=True, **options)

    def start(self, module: str, *arguments: str, **options: Any) -> Running:
        """Start, and go on; it is stopped after the test."""
        output = self.home.with_name(f"{self.home.name}.{len(self.started)}.log")
        command = [sys.executable, "-m", module, *arguments]
        with output.open("wb") as file:
            options = {"env": self.environment, "cwd": ROOT, "stdin": subprocess.DEVNULL, **options}
            process = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT, **options)
        self.started.append(Running(process, output))
        return self.started[-1]

    def postgres(self) -> list[psutil.Process]:
        """PostgreSQL's processes that work in the home folder."""
        return processes(self.home / "data")

    def close(self) -> None:
        """Stop what is left, and wait until nothing works in the home folder any more.

        What was started last goes first: a database that has no clients any more stops at once.
        """
        for command in reversed(self.started):
            if command.process.poll() is None:
                command.stop()
        psutil.wait_procs(self.postgres(), timeout=DEADLINE_SECONDS)


@pytest.fixture
def commands(folder: Path, shared_engine: Path, free_port: int) -> Iterator[Commands]:
    """Tidemark's commands with an embedded database of their own that is not there yet."""
    commands = commands_in(folder, shared_engine, free_port)
    try:
        yield commands
    finally:
        commands.close()


def commands_in(folder: Path, engine: Path, database_port: int) -> Commands:
    """Tidemark's commands with a home in `folder`; nothing of our own environment's settings reaches them."""
    ours = ("TIDEMARK_", "DATABASE_URL", "INGEST_", "QUERY_", "AGENT_")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    environment |= {
        "TIDEMARK_HOME": str(folder / "home"),
        "TIDEMARK_ENGINE": str(engine),
        "TIDEMARK_DATABASE_PORT": str(database_port),
    }
    return Commands(folder / "home", environment)


def kill(processes: Iterable[psutil.Process]) -> None:
    """Kill all of them; the end of one may be the end of another."""
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.kill()


def sum_of(metrics: str, instrument: str, labels: dict[str, str]) -> float:
    """The sum of an instrument's samples that have these labels, in the text of /metrics."""
    return sum(
        sample.value
        for family in text_string_to_metric_families(metrics)
        for sample in family.samples
        if sample.name == instrument and labels.items() <= sample.labels.items()
    )


def with_database(url: str, name: str) -> str:
    """`url` with another database's name."""
    return urlsplit(url)._replace(path=f"/{name}").geturl()


def gate(measurement: str) -> sql.Composed:
    """Makes a gate before a measurement: what is written there waits until `public.gate` says that it is open."""
    return GATE.format(sql.Identifier("points", measurement))


def _stop_jobs(url: str) -> None:
    """Let no job of a database run by itself; `CALL run_job` goes on working."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("SELECT _timescaledb_functions.stop_background_workers()")


def _drop(server: psycopg.Connection, name: str) -> None:
    server.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))
