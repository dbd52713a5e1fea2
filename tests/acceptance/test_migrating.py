"""The schema is brought up to date while ingest runs: nothing is lost, nor refused for longer than it is retried."""

from __future__ import annotations

import http.client
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from urllib.request import urlopen

import psycopg
import pytest

from sql import migrate as module
from sql.migrate import migrate, migrations
from tests.conftest import DEADLINE_SECONDS, POLL_SECONDS, Commands
from tests.workers import port_nobody_has

EARLIER = 5
"""The last migration before stored data had policies."""

HOURS = 30
"""Points are written over so many hours up to now, so that there are chunks to be compressed and rolled up."""


@dataclass
class Load:
    """A client that writes one body after the other; each has points of two measurements, now and then a new field."""

    port: int
    number: int
    answers: Counter[int] = field(default_factory=Counter)
    acknowledged: int = 0

    def __post_init__(self) -> None:
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=DEADLINE_SECONDS)
        now = int(time.time())
        while not self._is_over.is_set():
            place = self.acknowledged
            moment = now - place * 97 % (HOURS * 3600)
            new = f",new_{place // 50}=1" if place % 50 == 49 else ""
            series = f"client={self.number}"
            body = f"first,{series} f={place}{new} {moment}\nm_{place // 100},{series} f=1 {moment}"
            connection.request("POST", "/write?precision=s", body)
            answer = connection.getresponse()
            answer.read()
            self.answers[answer.status] += 1
            self.acknowledged += answer.status == 204
        connection.close()

    def until(self, acknowledged: int) -> None:
        """Wait until so many more bodies are acknowledged."""
        wanted = self.acknowledged + acknowledged
        deadline = time.monotonic() + DEADLINE_SECONDS
        while self.acknowledged < wanted:
            assert time.monotonic() < deadline, self.answers
            assert self._thread.is_alive()
            time.sleep(POLL_SECONDS)

    def stop(self) -> None:
        """Send no more."""
        self._is_over.set()
        self._thread.join()


@pytest.fixture
def loads(commands: Commands, empty_database: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Load]]:
    """Two clients of an ingest that writes into a database with the earlier schema."""
    with monkeypatch.context() as earlier:
        earlier.setattr(module, "migrations", lambda: migrations()[:EARLIER])
        migrate(empty_database)
    port = port_nobody_has()
    commands.environment |= {"DATABASE_URL": empty_database, "INGEST_PORT": str(port), "INGEST_SPOOL": "off"}
    commands.start("ingest")
    until_ready(port)
    loads = [Load(port, number) for number in range(2)]
    try:
        yield loads
    finally:
        for load in loads:
            load.stop()


def until_ready(port: int) -> None:
    """Wait until ingest is ready."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while True:
        try:
            urlopen(f"http://127.0.0.1:{port}/readyz").close()
        except OSError:
            assert time.monotonic() < deadline
            time.sleep(POLL_SECONDS)
        else:
            return


def test_while_ingest_runs(loads: list[Load], commands: Commands, empty_database: str) -> None:
    """Every point that was acknowledged before, during and after is there; every one is; and all have policies."""
    for load in loads:
        load.until(120)
    done = commands.run("sql", "migrate")
    assert done.returncode == 0, done.stderr
    for load in loads:
        load.until(20)
    done = commands.run("sql", "maintain", "--once")
    assert done.returncode == 0, done.stderr
    for load in loads:
        load.until(120)
        load.stop()
    assert {status for load in loads for status in load.answers} == {204}
    with psycopg.connect(empty_database) as connection:
        for load in loads:
            stored = connection.execute(
                "SELECT count(f), count(DISTINCT f) FROM metrics.first WHERE tags ->> 'client' = %s", [str(load.number)]
            ).fetchone()
            # A second point of one time, after all of the hours are over, would be the same point.
            assert stored == (load.acknowledged, load.acknowledged)
        assert connection.execute(
            "SELECT count(*) FILTER (WHERE r.retained IS NULL) FROM catalog.measurement m "
            "LEFT JOIN catalog.retention r ON r.measurement_id = m.id"
        ).fetchone() == (waiting(connection),)


def waiting(connection: psycopg.Connection) -> int:
    """How many measurements have points that must be rolled up before any can expire: none without rollups."""
    row = connection.execute(
        "SELECT count(DISTINCT measurement_id) FROM catalog.rollup WHERE retained IS NULL"
    ).fetchone()
    assert row is not None
    return int(row[0])
