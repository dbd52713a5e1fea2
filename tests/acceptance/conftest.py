"""What the tests of documented commands have in common: both services on ports of their own."""

from __future__ import annotations

import time
from collections.abc import Iterator
from urllib.error import URLError
from urllib.request import urlopen

import pytest

from tests.conftest import DEADLINE_SECONDS, POLL_SECONDS, Commands
from tests.workers import port_nobody_has


@pytest.fixture
def served(commands: Commands, database: str) -> Iterator[dict[str, str]]:
    """Ingest and query on ports of their own: their addresses by those that the documents show."""
    ports = {"8086": port_nobody_has(), "8080": port_nobody_has()}
    commands.environment |= {
        "DATABASE_URL": database,
        "INGEST_PORT": str(ports["8086"]),
        "QUERY_PORT": str(ports["8080"]),
    }
    started = [commands.start("ingest"), commands.start("query")]
    try:
        for port in ports.values():
            until_ready(port)
        yield {f"127.0.0.1:{shown}": f"127.0.0.1:{port}" for shown, port in ports.items()}
    finally:
        for one in started:
            one.stop()


def until_ready(port: int) -> None:
    """Wait until a service is ready."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while time.monotonic() < deadline:
        try:
            urlopen(f"http://127.0.0.1:{port}/readyz").close()
        except (URLError, ConnectionError):
            time.sleep(POLL_SECONDS)
        else:
            return
    pytest.fail("a service did not become ready")
