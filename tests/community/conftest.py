"""A community edition of TimescaleDB: the server of `DATABASE_URL` if it is one, else one in WebAssembly.

The latter is a package of npm, installed beside this file and run by Node: PostgreSQL and TimescaleDB for real, with
one connection at a time and nobody who runs jobs but the tests (`CALL run_job`). Rows are loaded by INSERT, since COPY
ends it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from sql.migrate import migrate
from tests.community.stored import Stored, connected
from tests.conftest import with_database

HERE = Path(__file__).parent
OLDEST_NODE = 20
INSTALL_SECONDS = 300


def edition_of(url: str) -> str:
    """The edition of the server at `url`."""
    with psycopg.connect(url) as connection:
        row = connection.execute("SELECT current_setting('timescaledb.license', true)").fetchone()
        return "community" if row == ("timescale",) else "apache"


@pytest.fixture(scope="session")
def community_url() -> Iterator[str]:
    """The address of a migrated database of a community server, with the owner's rights; its jobs rest."""
    named = os.environ.get("DATABASE_URL")
    server = database_on(named) if named and edition_of(named) == "community" else run_by_node()
    with server as url:
        migrate(url)
        yield url


@contextmanager
def database_on(server_url: str) -> Iterator[str]:
    """The URL of a database of our own on a server, dropped in the end."""
    name = f"tidemark_test_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(server_url, autocommit=True) as server:
        server.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        try:
            url = with_database(server_url, name)
            with psycopg.connect(url, autocommit=True) as connection:
                connection.execute("CREATE EXTENSION IF NOT EXISTS timescaledb")
                connection.execute("SELECT _timescaledb_functions.stop_background_workers()")
            yield url
        finally:
            server.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@contextmanager
def run_by_node() -> Iterator[str]:
    """The URL of a server that Node runs until the end."""
    require_node()
    install()
    process = subprocess.Popen(
        ["node", HERE / "server.mjs"], cwd=HERE, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            said = process.stdout.readline()
            assert said.startswith("listening on "), f"server.mjs ended with {process.wait()}; its lines above say why"
            yield f"postgresql://postgres:postgres@127.0.0.1:{said.split()[-1]}/template1?sslmode=disable"
        finally:
            process.stdin.close()


def require_node() -> None:
    """Skip the test without a Node that is new enough."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("there is no Node, and DATABASE_URL names no community server: npm and Node 20 are needed")
    version = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True).stdout
    if int(version.lstrip("v").split(".")[0]) < OLDEST_NODE:
        pytest.skip(f"Node is {version.strip()}, and {OLDEST_NODE} is needed")


def install() -> None:
    """Install what package-lock.json pins, unless it is there."""
    lock = HERE / "package-lock.json"
    installed = HERE / "node_modules" / ".installed.json"
    if installed.exists() and installed.read_bytes() == lock.read_bytes():
        return
    done = subprocess.run(
        ["npm", "ci", "--legacy-peer-deps", "--ignore-scripts", "--no-audit", "--no-fund"],
        cwd=HERE,
        capture_output=True,
        text=True,
        check=False,
        timeout=INSTALL_SECONDS,
    )
    assert done.returncode == 0, f"npm ci failed:\n{done.stderr}"
    shutil.copyfile(lock, installed)


@pytest.fixture
def stored(community_url: str) -> Iterator[Stored]:
    """A measurement of the test's own, and a connection to look at it, with the owner's rights."""
    with connected(community_url) as connection:
        stored = Stored(connection)
        try:
            yield stored
        finally:
            stored.close()
