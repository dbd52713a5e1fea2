"""The real `python -m query`, asked over HTTP."""

from __future__ import annotations

import gzip
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO, Any

import psycopg
import pyarrow as pa
import pytest
import zstandard
from psycopg import sql

from query.settings import QuerySettings
from tests.conftest import with_database

ROOT = Path(__file__).parents[2]

DEADLINE_SECONDS = 60.0
"""For conditions that come about in moments; only a fault takes this long."""

ASK = "/api/v1/aggregate?metric=cpu.usage_user&fn=avg,max&by=host&start=-1h"

SETTINGS = {"QUERY_SHUTDOWN_SECONDS": "0.2", "QUERY_STATEMENT_TIMEOUT_SECONDS": "3600"}
"""A statement that ends before the deadline was not ended by its timeout."""

SERIES = 1_000
SECONDS = 1_000
MOST_BYTES = 100_000_000
CHUNK_BYTES = 1 << 20

DAY = (datetime.now(UTC) - timedelta(days=1)).date().isoformat()
ASK_ALL = f"metric=cpu.v&by=host&step=1s&start={DAY}T00:00:00Z&end={DAY}T01:00:00Z"


def until(condition: Callable[[], object], what: str) -> None:
    """Wait for `condition` to hold."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"{what}: not in {DEADLINE_SECONDS} seconds"
        time.sleep(0.02)


def environment(home: Path, **variables: str) -> dict[str, str]:
    """The environment of a process that knows no database but the one that `variables` name."""
    kept = {name: value for name, value in os.environ.items() if not name.endswith("DATABASE_URL")}
    return {**kept, "TIDEMARK_HOME": str(home), **variables}


class Process:
    """A running `python -m query`."""

    def __init__(self, url: str, port: int, folder: Path) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.log = folder / "query.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "query", "--port", str(port)],
                cwd=ROOT,
                env=environment(folder, QUERY_DATABASE_URL=url, **SETTINGS),
                stderr=log,
            )

    def get(self, path: str) -> tuple[int, Any]:
        """The status and the JSON of a GET; status 0 while nobody listens."""
        try:
            with urllib.request.urlopen(f"{self.url}{path}", timeout=DEADLINE_SECONDS) as response:
                return response.status, json.load(response)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)
        except urllib.error.URLError:
            assert self.process.poll() is None, self.log.read_text()
            return 0, None

    def until_ready(self) -> None:
        """Wait for the process to say that it can answer."""
        until(lambda: self.get("/readyz")[0] == 200, "ready")

    def until_not_ready(self, because: str) -> None:
        """Wait for the process to say that it cannot, and why."""

        def is_not() -> bool:
            status, body = self.get("/readyz")
            return status == 503 and because in body["message"]

        until(is_not, f"not ready because {because}")

    def stop(self) -> None:
        """Ask the process to end, and see it end well."""
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(DEADLINE_SECONDS) == 0, self.log.read_text()


StartQuery = Callable[[str], Process]


@pytest.fixture
def start_query(free_port: int, tmp_path: Path) -> Iterator[StartQuery]:
    """Start `python -m query` on a free port with a database's URL; it is ended after the test."""
    started: list[Process] = []

    def start(url: str) -> Process:
        started.append(Process(url, free_port, tmp_path))
        return started[0]

    yield start
    for process in started:
        process.process.kill()
        process.process.wait()


@pytest.fixture
def unborn(server_url: str) -> Iterator[str]:
    """The URL of a database that does not exist yet; dropped after the test if it came to be."""
    name = f"tidemark_test_{uuid.uuid4().hex[:12]}"
    yield with_database(server_url, name)
    with psycopg.connect(server_url, autocommit=True) as server:
        server.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))


def store_cpu(url: str) -> None:
    """Two points of web-1 and one of web-2, minutes ago."""
    with psycopg.connect(url) as connection:
        connection.execute("SELECT catalog.ensure_fields('cpu', '{usage_user}')")
        connection.execute(
            """
            INSERT INTO points.cpu (time, series_id, usage_user)
            SELECT now() - ago, ids[series], value
            FROM catalog.ensure_series('cpu', ARRAY['{"host": "web-1"}', '{"host": "web-2"}']::jsonb[]) AS ids,
                (VALUES (interval '2 min', 1, 10), ('1 min', 1, 20), ('1 min', 2, 7)) AS p (ago, series, value)
            """
        )


WANTED = [
    {"tags": {"host": "web-1"}, "values": {"cpu.usage_user": {"avg": 15.0, "max": 20.0}}},
    {"tags": {"host": "web-2"}, "values": {"cpu.usage_user": {"avg": 7.0, "max": 7.0}}},
]


def test_from_before_the_database_to_after_its_restart(
    start_query: StartQuery, unborn: str, template: str, server_url: str
) -> None:
    """The process starts before its database exists, answers when it does, and survives its going and coming."""
    query = start_query(unborn)
    name = urllib.parse.urlsplit(unborn).path[1:]
    query.until_not_ready(f'database "{name}" does not exist')
    assert query.get("/healthz") == (200, {"status": "ok"})
    assert query.get(ASK)[0] == 503
    with psycopg.connect(server_url, autocommit=True) as server:
        server.execute(
            sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY file_copy").format(
                sql.Identifier(name), sql.Identifier(template)
            )
        )
        query.until_ready()
        store_cpu(unborn)
        status, answer = query.get(ASK)
        assert (status, answer["series"]) == (200, WANTED)

        disconnect = sql.SQL("SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity WHERE datname = {}").format(
            sql.Literal(name)
        )
        server.execute(disconnect)
        assert query.get(ASK)[1]["series"] == WANTED

        server.execute(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS false").format(sql.Identifier(name)))
        server.execute(disconnect)
        query.until_not_ready("does not answer")
        assert query.get(ASK)[0] == 503
        server.execute(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS true").format(sql.Identifier(name)))
    query.until_ready()
    assert query.get(ASK)[1]["series"] == WANTED
    query.stop()
    assert "Traceback" not in query.log.read_text()


def waiting_for_lock(url: str) -> list[tuple[Any, ...]]:
    """The statements of query's that stand before a lock."""
    with psycopg.connect(url) as looker:
        return looker.execute(
            "SELECT pid FROM pg_stat_activity WHERE datname = current_database() "
            "AND application_name = 'tidemark query' AND wait_event_type = 'Lock'"
        ).fetchall()


@contextmanager
def statement_under_way(query: Process, url: str) -> Iterator[socket.socket]:
    """The connection of a client whose statement runs, and will until the end of the block."""
    with psycopg.connect(url) as owner:
        owner.execute("LOCK TABLE points.cpu IN ACCESS EXCLUSIVE MODE")
        address = urllib.parse.urlsplit(query.url)
        with socket.create_connection((address.hostname, address.port)) as client:
            client.sendall(f"GET {ASK} HTTP/1.1\r\nHost: {address.netloc}\r\n\r\n".encode())
            until(lambda: waiting_for_lock(url), "the statement runs")
            yield client


def test_a_client_that_leaves_stops_its_statement(start_query: StartQuery, database: str) -> None:
    """When a client hangs up, the server has nothing of its request left to do."""
    store_cpu(database)
    query = start_query(database)
    query.until_ready()
    with statement_under_way(query, database) as client:
        client.close()
        until(lambda: not waiting_for_lock(database), "the statement is cancelled")
    assert query.get(ASK)[1]["series"] == WANTED


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_an_end_does_not_leave_a_statement_behind(start_query: StartQuery, database: str, number: int) -> None:
    """A stop waits for QUERY_SHUTDOWN_SECONDS and no longer; then, or when killed, nothing of it runs on."""
    store_cpu(database)
    query = start_query(database)
    query.until_ready()
    with statement_under_way(query, database):
        query.process.send_signal(number)
        assert query.process.wait(DEADLINE_SECONDS) == (0 if number == signal.SIGTERM else -number)
        until(lambda: not waiting_for_lock(database), "the statement is cancelled")
    assert "Traceback" not in query.log.read_text()


def test_nobody_listens_where_the_database_should_be(start_query: StartQuery) -> None:
    """With nothing at the database's address the process runs, says so, and stops when asked."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, and never listening: nobody else can take it meanwhile
        query = start_query(f"postgresql://me:hunter2@127.0.0.1:{taken.getsockname()[1]}/x")
        query.until_not_ready("refused")
        query.stop()
    assert "hunter2" not in query.log.read_text()


def run(folder: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """`python -m query` run to its end."""
    return subprocess.run(
        [sys.executable, "-m", "query", *arguments],
        cwd=ROOT,
        env=environment(folder, **variables),
        capture_output=True,
        text=True,
        timeout=DEADLINE_SECONDS,
        check=False,
    )


def test_help_lists_every_setting(tmp_path: Path) -> None:
    """`--help` has a flag and a line for each setting."""
    shown = run(tmp_path, "--help")
    assert shown.returncode == 0
    for name in QuerySettings.model_fields:
        assert f"--{name.replace('_', '-')}" in shown.stdout


def test_without_a_database_it_says_what_to_set(tmp_path: Path) -> None:
    """With no database named, one line says which variable to set, and the status is 2."""
    ended = run(tmp_path)
    assert ended.returncode == 2
    (line,) = ended.stderr.splitlines()
    assert "DATABASE_URL" in line


def test_a_taken_port_is_one_line(tmp_path: Path) -> None:
    """A port that somebody else has ends the process with status 1 and names the port."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        ended = run(tmp_path, "--port", port, DATABASE_URL="postgresql://127.0.0.1:1/x", QUERY_LOG_LEVEL="error")
    assert ended.returncode == 1
    (line,) = ended.stderr.splitlines()
    assert f"127.0.0.1:{port}" in line


@pytest.fixture
def million(database: str) -> str:
    """A database with a million points of a thousand series."""
    with psycopg.connect(database) as connection:
        connection.execute("SELECT catalog.ensure_fields('cpu', '{v}')")
        connection.execute(
            "SELECT catalog.ensure_series('cpu', array_agg(jsonb_build_object('host', format('host_%%s', i)))) "
            "FROM generate_series(1, %s) i",
            [SERIES],
        )
        connection.execute(
            "INSERT INTO points.cpu (time, series_id, v) SELECT %s::timestamptz + second * interval '1 s', "
            "s.id, s.id / 7.0 + second FROM catalog.series s, generate_series(0, %s - 1) second",
            [f"{DAY}Z", SECONDS],
        )
    return database


def test_a_stop_in_the_middle_of_an_answer_is_a_reset(
    million: str, start_query: StartQuery, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To a client of HTTP/1.0 the end of its connection is the end of an answer: a stop must not look like it."""
    monkeypatch.setenv("QUERY_MAX_VALUES", str(SERIES * SECONDS))
    monkeypatch.setenv("QUERY_MAX_HELD_BYTES", "0")
    query = start_query(million)
    query.until_ready()
    address = urllib.parse.urlsplit(query.url)
    with socket.create_connection((address.hostname, address.port)) as client:
        client.sendall(f"GET /api/v1/aggregate?{ASK_ALL} HTTP/1.0\r\n\r\n".encode())
        assert client.recv(1)
        query.process.send_signal(signal.SIGTERM)
        until(lambda: "a request was ended by the stop" in query.log.read_text(), "the stop")
        with pytest.raises(ConnectionResetError):
            b"".join(iter(lambda: client.recv(CHUNK_BYTES), b""))
    assert query.process.wait(DEADLINE_SECONDS) == 0
    assert "Traceback" not in query.log.read_text()


def memory(process: int, name: str) -> int:
    """A figure of /proc/PID/status, in bytes."""
    for line in Path(f"/proc/{process}/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    raise AssertionError(name)


def count(text: bytes) -> Callable[[IO[bytes]], int]:
    """Counts a text in what is read, which never is in memory as a whole here either."""

    def counted(answer: IO[bytes]) -> int:
        found, last = 0, b""
        while chunk := answer.read(CHUNK_BYTES):
            found += (last + chunk).count(text)
            last = chunk[-(len(text) - 1) :] if len(text) > 1 else b""
        return found

    return counted


def count_arrow(answer: IO[bytes]) -> int:
    """Counts the rows of a stream."""
    return sum(batch.num_rows for batch in pa.ipc.open_stream(answer))


FORMS: list[tuple[str, str, Callable[[IO[bytes]], int]]] = [
    ("json", "identity", count(f'["{DAY}T'.encode())),
    ("csv", "gzip", count(f",{DAY}T".encode())),
    ("ndjson", "zstd", count(b"\n")),
    ("arrow", "identity", count_arrow),
]
DECODERS: dict[str, Callable[[Any], Any]] = {
    "identity": lambda answer: answer,
    "gzip": lambda answer: gzip.GzipFile(fileobj=answer),
    "zstd": lambda answer: zstandard.ZstdDecompressor().stream_reader(answer),
}


def test_a_million_points_cost_less_than_a_hundred_megabytes(
    million: str, start_query: StartQuery, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The peak of the process while it sends all points, over what it had before, in every format."""
    monkeypatch.setenv("QUERY_MAX_VALUES", str(SERIES * SECONDS))
    query = start_query(million)
    query.until_ready()
    peaks = {}
    for form, coding, counted in FORMS:
        url = f"{query.url}/api/v1/aggregate?{ASK_ALL}&format={form}"
        asked = urllib.request.Request(url, headers={"Accept-Encoding": coding})
        Path(f"/proc/{query.process.pid}/clear_refs").write_text("5")  # begins a new peak, says proc(5)
        before = memory(query.process.pid, "VmRSS")
        with urllib.request.urlopen(asked, timeout=DEADLINE_SECONDS) as answer:
            assert answer.headers.get("Content-Encoding", "identity") == coding
            assert counted(DECODERS[coding](answer)) == SERIES * SECONDS
        peaks[form, coding] = memory(query.process.pid, "VmHWM") - before
    assert max(peaks.values()) < MOST_BYTES, peaks
