"""InfluxDB's own clients write to a real ingest process, as they come."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from influxdb import InfluxDBClient as Version1
from influxdb.exceptions import InfluxDBClientError
from influxdb_client import InfluxDBClient as Version2
from influxdb_client import Point, WritePrecision
from influxdb_client.client.write_api import SYNCHRONOUS, WriteOptions

from tests.conftest import DEADLINE_SECONDS, copied
from tests.workers import port_nobody_has


@pytest.fixture(scope="module")
def database(server_url: str, template: str) -> Iterator[str]:
    """The database of all tests here, each of which writes measurements of its own."""
    with copied(server_url, template) as url:
        yield url


@pytest.fixture(scope="module")
def ingest(database: str) -> Iterator[str]:
    """The address of `python -m ingest` on that database."""
    port = port_nobody_has()
    environment = {**os.environ, "DATABASE_URL": database, "INGEST_PORT": str(port)}
    process = subprocess.Popen([sys.executable, "-m", "ingest"], env=environment)
    try:
        _wait(f"http://127.0.0.1:{port}/readyz", process)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        assert process.wait(DEADLINE_SECONDS) == 0


def _wait(url: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while time.monotonic() < deadline:
        assert process.poll() is None, "ingest ended"
        try:
            urllib.request.urlopen(url, timeout=5).close()
        except (urllib.error.URLError, ConnectionError):
            time.sleep(0.05)
        else:
            return
    pytest.fail("ingest did not become ready")


def rows(database: str, measurement: str) -> list[tuple[object, ...]]:
    """What is stored, without the tags."""
    with psycopg.connect(database) as connection:
        found = connection.execute(f'SELECT * FROM metrics."{measurement}" ORDER BY time, host').fetchall()
    return [(row[0], row[1], *row[3:]) for row in found]


def test_version_2_writes_at_once(ingest: str, database: str) -> None:
    """A synchronous write of points of all types is stored, strings left out."""
    moment = datetime(2026, 11, 22, 8, 0, 0, 123456, tzinfo=UTC)
    with Version2(ingest, token="any", org="any") as client:
        assert client.ping()
        with pytest.deprecated_call():  # the client would have us ping; others still ask
            assert client.health().status == "pass"
        client.write_api(write_options=SYNCHRONOUS).write(
            "any",
            record=[
                Point("weather")
                .tag("host", "a b,c=d")
                .field("rain", 3)
                .field("wet", True)
                .field("wind", 1.5)
                .time(moment),
                Point("weather").tag("host", "x").field("rain", 4).field("sky", 'a "quoted" sky').time(moment),
            ],
        )
    assert rows(database, "weather") == [(moment, "a b,c=d", 3, 1, 1.5), (moment, "x", 4, None, None)]


@pytest.mark.parametrize(
    ("precision", "kept"),
    [
        (WritePrecision.S, timedelta(seconds=1)),
        (WritePrecision.MS, timedelta(milliseconds=1)),
        (WritePrecision.US, timedelta(microseconds=1)),
        (WritePrecision.NS, timedelta(microseconds=1)),
    ],
)
def test_version_2_precisions(ingest: str, database: str, precision: WritePrecision, kept: timedelta) -> None:
    """A time is stored as finely as the client sends it."""
    moment = datetime(2026, 11, 22, 8, 0, 0, 123456, tzinfo=UTC)
    with Version2(ingest, token="any", org="any") as client:
        point = Point(f"in_{precision}").field("f", 1.0).time(moment, write_precision=precision)
        client.write_api(write_options=SYNCHRONOUS).write("any", record=point, write_precision=precision)
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    assert rows(database, f"in_{precision}") == [(moment - (moment - epoch) % kept, None, 1.0)]


def test_version_2_batches(ingest: str, database: str) -> None:
    """The batching writer delivers everything, gzip and all, and reports no error."""
    errors: list[object] = []
    start = datetime(2026, 11, 22, tzinfo=UTC)
    with (
        Version2(ingest, token="any", org="any", enable_gzip=True) as client,
        client.write_api(
            write_options=WriteOptions(batch_size=500, flush_interval=200),
            error_callback=lambda *error: errors.append(error),
        ) as writer,
    ):
        for number in range(5_000):
            point = Point("load").tag("host", f"h{number % 7}").field("value", number)
            writer.write("any", record=point.time(start + timedelta(seconds=number)))
    assert errors == []
    assert [row[2] for row in rows(database, "load")] == list(range(5_000))


def test_version_2_hears_what_was_rejected(ingest: str, database: str) -> None:
    """The client's error carries our message, and the good line is stored."""
    with Version2(ingest, token="any", org="any") as client, pytest.raises(Exception, match="partial write") as raised:
        client.write_api(write_options=SYNCHRONOUS).write("any", record="some f=1 1700000000000000000\nsome f=")
    assert "line 2" in str(raised.value)
    assert [row[2] for row in rows(database, "some")] == [1]


def test_version_1_makes_its_database_and_writes(ingest: str, database: str) -> None:
    """Version 1 pings, makes and finds its database, and writes points, lines and batches."""
    host, port = ingest.removeprefix("http://").split(":")
    client = Version1(host, int(port), "user", "secret", "my db")
    try:
        assert client.ping() == "1.8.10"
        client.create_database("my db")
        assert {"name": "my db"} in client.get_list_database()
        point = {"measurement": "cpu", "tags": {"host": "a"}, "time": 1_700_000_000, "fields": {"idle": 99.5, "n": 7}}
        assert client.write_points([point], time_precision="s", retention_policy="rp", consistency="all")
        many = [{**point, "time": 1_700_000_001 + number} for number in range(1_000)]
        assert client.write_points(many, time_precision="s", batch_size=100)
        assert client.write_points(["cpu,host=b idle=1.5 1700000000"], time_precision="s", protocol="line")
        with pytest.raises(InfluxDBClientError, match="partial write"):
            client.write_points(["cpu idle=1 1700000000", "cpu idle="], time_precision="s", protocol="line")
        with pytest.raises(InfluxDBClientError, match="only CREATE DATABASE and SHOW DATABASES"):
            client.query("SELECT * FROM cpu")
    finally:
        client.close()
    assert len(rows(database, "cpu")) == 1_003
