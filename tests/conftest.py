"""What every suite stands on: one real TimescaleDB a run, and a database of its own for each test.

The server is `DATABASE_URL` when that is set, else an embedded one with a folder of its own. One template
database is migrated once and copied for each test, which takes a fifth of a second.
"""

from __future__ import annotations

import os
import socket
import uuid
from collections.abc import Iterator
from urllib.parse import urlsplit

import psycopg
import pytest
from psycopg import sql

from sql.migrate import migrate


@pytest.fixture(scope="session")
def server_url() -> Iterator[str]:
    """The address of a TimescaleDB server, with the rights of a superuser."""
    if url := os.environ.get("DATABASE_URL"):
        yield url
        return
    pytest.fail("set DATABASE_URL")


@pytest.fixture(scope="session")
def template(server_url: str) -> Iterator[str]:
    """The name of a migrated database to copy."""
    name = f"tidemark_template_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(server_url, autocommit=True) as server:
        server.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        try:
            url = with_database(server_url, name)
            migrate(url)
            with psycopg.connect(url, autocommit=True) as connection:
                # A database cannot be copied while TimescaleDB's scheduler is connected to it.
                connection.execute("SELECT _timescaledb_functions.stop_background_workers()")
            server.execute(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS false").format(sql.Identifier(name)))
            yield name
        finally:
            _drop(server, name)


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
    name = f"tidemark_test_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(server_url, autocommit=True) as server:
        server.execute(
            sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY file_copy").format(
                sql.Identifier(name), sql.Identifier(template)
            )
        )
        try:
            yield with_database(server_url, name)
        finally:
            _drop(server, name)


@pytest.fixture
def free_port() -> int:
    """A port of the loopback interface that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def with_database(url: str, name: str) -> str:
    """`url` with another database's name."""
    return urlsplit(url)._replace(path=f"/{name}").geturl()


def _drop(server: psycopg.Connection, name: str) -> None:
    server.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))
