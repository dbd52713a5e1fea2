"""The systems under test: each started as a user would start it, on free ports of the loopback interface."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import psycopg
from psycopg import sql

from service.settings import home
from sql import command, debian
from sql.migrate import migrate

PEERS = ("victoria-metrics", "influxdb")
START_SECONDS = 30.0


class System(ABC):
    """One that takes line protocol over HTTP."""

    name: str
    write_url: str
    json_url: str = ""
    """Where it takes JSON, if it does."""

    @property
    @abstractmethod
    def pids(self) -> dict[str, int]:
        """Its processes, by name."""

    @abstractmethod
    def count(self, measurement: str, field: str) -> int:
        """How many values of a field it holds, asked by its own means."""

    def holds(self) -> Mapping[float, float]:
        """How often its event loop was held at most so long, in seconds; nothing of a system that does not tell."""
        return {}

    def settled(self, measurement: str, field: str, expected: int) -> int:
        """The count, once it has reached `expected` or has not grown for a while."""
        last, since = -1, time.monotonic()
        while (found := self.count(measurement, field)) < expected and time.monotonic() - since < 10:
            if found != last:
                last, since = found, time.monotonic()
            time.sleep(0.2)
        return found


class Tidemark(System):
    """Our own ingest, on a database of its own."""

    name = "tidemark"

    def __init__(self, url: str, ingest: subprocess.Popen[bytes], port: int, postmaster: int) -> None:
        self._url = url
        self._pids = {"ingest": ingest.pid, "postgresql": postmaster}
        self._base = f"http://127.0.0.1:{port}"
        self.write_url = f"{self._base}/write"
        self.json_url = f"{self._base}/api/v1/points"

    @property
    def pids(self) -> dict[str, int]:
        """Ingest, and PostgreSQL with all its backends."""
        return self._pids

    def holds(self) -> Mapping[float, float]:
        """By its instruments, all workers together."""
        found: defaultdict[float, float] = defaultdict(float)
        for line in _get(f"{self._base}/metrics").decode().splitlines():
            if line.startswith("ingest_loop_held_seconds_bucket"):
                found[float(line.partition('le="')[2].partition('"')[0])] += float(line.rpartition(" ")[2])
        return found

    def count(self, measurement: str, field: str) -> int:
        """Count the rows that have the field."""
        statement = sql.SQL("SELECT count({}) FROM {}").format(
            sql.Identifier(field), sql.Identifier("points", measurement)
        )
        with psycopg.connect(self._url) as connection:
            row = connection.execute(statement).fetchone()
        assert row is not None
        return int(row[0])


class VictoriaMetrics(System):
    """VictoriaMetrics, single node."""

    name = "victoria-metrics"

    def __init__(self, process: subprocess.Popen[bytes], port: int) -> None:
        self.port = port
        self._process = process
        self._base = f"http://127.0.0.1:{port}"
        self.write_url = f"{self._base}/write"

    @property
    def pids(self) -> dict[str, int]:
        """One process."""
        return {"victoria-metrics": self._process.pid}

    def count(self, measurement: str, field: str) -> int:
        """Flush what is in memory only, then count samples over all time."""
        _get(f"{self._base}/internal/force_flush")
        query = f'sum(count_over_time({{__name__="{measurement}_{field}"}}[100y]))'
        answer = json.loads(_get(f"{self._base}/api/v1/query?query={urllib.parse.quote(query)}&nocache=1"))
        result = answer["data"]["result"]
        return int(result[0]["value"][1]) if result else 0


class InfluxDB(System):
    """InfluxDB 1."""

    name = "influxdb"

    def __init__(self, process: subprocess.Popen[bytes], port: int) -> None:
        self.port = port
        self._process = process
        self._base = f"http://127.0.0.1:{port}"
        self.write_url = f"{self._base}/write?db=bench"

    @property
    def pids(self) -> dict[str, int]:
        """One process."""
        return {"influxdb": self._process.pid}

    def count(self, measurement: str, field: str) -> int:
        """Count the field's values."""
        query = urllib.parse.quote(f'SELECT count("{field}") FROM "{measurement}"')
        answer = json.loads(_get(f"{self._base}/query?db=bench&q={query}"))
        series = answer["results"][0].get("series")
        return int(series[0]["values"][0][1]) if series else 0


@contextmanager
def tidemark(url: str, postmaster: int, **settings: str) -> Iterator[Tidemark]:
    """A migrated database at `url` and an ingest that writes into it."""
    migrate(url)
    port = free_port()
    # On the disk of the home folder, as a user's would be, but not a user's.
    with tempfile.TemporaryDirectory(prefix="spool-", dir=home()) as spool:
        environment = {"DATABASE_URL": url, "INGEST_PORT": str(port), "INGEST_SPOOL_DIRECTORY": spool, **settings}
        with _process([sys.executable, "-m", "ingest"], environment) as ingest:
            _wait(f"http://127.0.0.1:{port}/readyz", ingest)
            yield Tidemark(url, ingest, port, postmaster)


@contextmanager
def query(url: str, **settings: str) -> Iterator[int]:
    """A query service on the database at `url`, with room for the largest answers; its port."""
    port = free_port()
    environment = {"DATABASE_URL": url, "QUERY_PORT": str(port), "QUERY_MAX_VALUES": str(10**8), **settings}
    with _process([sys.executable, "-m", "query"], environment) as process:
        _wait(f"http://127.0.0.1:{port}/readyz", process)
        yield port


@contextmanager
def victoria_metrics(folder: Path) -> Iterator[VictoriaMetrics]:
    """VictoriaMetrics with its data in `folder`."""
    port = free_port()
    program = _peer_program("victoria-metrics")
    arguments = [f"-storageDataPath={folder}", f"-httpListenAddr=127.0.0.1:{port}", "-retentionPeriod=100y"]
    with _process([str(program), *arguments], {}) as process:
        _wait(f"http://127.0.0.1:{port}/health", process)
        yield VictoriaMetrics(process, port)


@contextmanager
def influxdb(folder: Path) -> Iterator[InfluxDB]:
    """InfluxDB with its data in `folder`."""
    port, rpc = free_port(), free_port()
    configuration = folder / "influxdb.conf"
    folder.mkdir(parents=True, exist_ok=True)
    configuration.write_text(
        f"""\
reporting-disabled = true
bind-address = "127.0.0.1:{rpc}"
[meta]
  dir = "{folder}/meta"
[data]
  dir = "{folder}/data"
  wal-dir = "{folder}/wal"
  index-version = "tsi1"
  max-series-per-database = 0
[http]
  bind-address = "127.0.0.1:{port}"
  log-enabled = false
[logging]
  level = "error"
"""
    )
    program = _peer_program("influxd")
    with _process([str(program), "-config", str(configuration)], {}) as process:
        _wait(f"http://127.0.0.1:{port}/ping", process)
        _get(f"http://127.0.0.1:{port}/query", b"q=CREATE+DATABASE+bench")
        yield InfluxDB(process, port)


def _peer_program(name: str) -> Path:
    """A peer's program out of Debian's packages, fetched once, as the embedded engine's are."""
    folder = home() / "bench" / "peers"
    if not folder.exists():
        unfinished = folder.with_name("peers.new")
        shutil.rmtree(unfinished, ignore_errors=True)
        (unfinished / "apt").mkdir(parents=True)
        for package in debian.fetch(debian.source(), PEERS, unfinished / "apt", _say):
            command.run("unpacking a peer", ["dpkg-deb", "--extract", package, unfinished])
        shutil.rmtree(unfinished / "apt")
        unfinished.rename(folder)
    return folder / "usr" / "bin" / name


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")


@contextmanager
def _process(arguments: list[str], environment: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        arguments, env={**os.environ, **environment}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        yield process
    finally:
        process.terminate()
        process.wait(timeout=60)


def _wait(url: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise SystemExit(f"{process.args!r} ended with {process.returncode}")
        try:
            _get(url)
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise SystemExit(f"{url} did not answer within {START_SECONDS:g} s")


def _get(url: str, data: bytes | None = None) -> bytes:
    with urllib.request.urlopen(url, data, timeout=60) as answer:  # noqa: S310 - our own loopback addresses
        content: bytes = answer.read()
    return content


def free_port() -> int:
    """A port of the loopback interface that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
