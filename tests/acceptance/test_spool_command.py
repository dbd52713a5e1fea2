"""`python -m ingest spool`: what people see of the spool, and what they can do with it."""

from __future__ import annotations

import json
import urllib.request
from pathlib import Path
from typing import Any

import psycopg
import pytest

from ingest.spool.entry import Request
from ingest.spool.store import Store
from tests.conftest import DEADLINE_SECONDS, Commands
from tests.workers import port_nobody_has

T = 1_700_000_000
ROOMY_BYTES = 1 << 30


def request(number: int, body: bytes | None = None, protocol: str = "influx") -> Request:
    """A request of one point, in seconds."""
    at_us = (T + number) * 1_000_000
    text = body if body is not None else b"m,host=a f=%d %d" % (number, T + number)
    return Request(protocol, 10**9, at_us, at_us, at_us, 1, text)


@pytest.fixture
def spool(commands: Commands) -> Path:
    """A spool that a process left: two entries, and one set aside."""
    folder = commands.home / "spool"
    with Store(folder, max_bytes=ROOMY_BYTES) as store:
        store.append([request(1), request(2)])
        store.append([request(3, b'{"host": "b", "f": 3}\n', "ndjson")])
        store.quarantine(store.append([request(4)]), "the database refuses a value")
    return folder


def shown(commands: Commands) -> list[dict[str, Any]]:
    """What `show` tells of each entry."""
    done = commands.run("ingest", "spool", "show", "--json-lines")
    assert (done.returncode, done.stderr) == (0, "")
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_what_is_there_is_shown(commands: Commands, spool: Path) -> None:
    """To people and to programs: where each entry is, what it holds, since when, and why it was set aside."""
    found = shown(commands)
    assert [(one["state"], one["requests"], one["points"], one["reason"]) for one in found] == [
        ("waits", 2, 2, None),
        ("waits", 1, 1, None),
        ("set aside", 1, 1, "the database refuses a value"),
    ]
    assert [one["received"] for one in found] == [f"2023-11-14T22:13:2{second}Z" for second in (1, 3, 4)]
    assert all(Path(one["file"]).stat().st_size <= one["bytes"] for one in found)
    told = commands.run("ingest", "spool", "show").stdout
    assert f"{spool}: 2 entries of 3 points: waits" in told
    assert f"{spool}: 1 entries of 1 points: set aside" in told
    assert all(one["file"] in told for one in found)


def test_what_is_there_is_exported(commands: Commands, spool: Path) -> None:
    """Every body as it came, those set aside by themselves; a damaged entry is named, and the rest is printed."""
    done = commands.run("ingest", "spool", "export")
    exported = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(one["protocol"], one["precision_ns"], one["points"]) for one in exported] == [
        ("influx", 10**9, 1),
        ("influx", 10**9, 1),
        ("ndjson", 10**9, 1),
    ]
    assert [one["body"] for one in exported][::2] == [f"m,host=a f=1 {T + 1}", '{"host": "b", "f": 3}\n']
    aside = commands.run("ingest", "spool", "export", "--quarantined")
    assert [json.loads(line)["body"] for line in aside.stdout.splitlines()] == [f"m,host=a f=4 {T + 4}"]
    damaged = Path(shown(commands)[0]["file"])
    damaged.write_bytes(damaged.read_bytes()[:-1])
    left = commands.run("ingest", "spool", "export")
    assert (left.returncode, len(left.stdout.splitlines())) == (1, 1)
    assert str(damaged) in left.stderr


def test_what_is_there_is_written_now(commands: Commands, spool: Path, database: str) -> None:
    """`replay` needs no running ingest, ends when all is written, and with --quarantined takes what was set aside."""
    commands.environment["DATABASE_URL"] = database
    first = commands.run("ingest", "spool", "replay")
    assert (first.returncode, first.stdout.splitlines()[-1]) == (0, "all is written"), first.stderr
    rows = "SELECT f FROM metrics.{} ORDER BY f"
    with psycopg.connect(database) as connection:
        assert connection.execute(rows.format("m").encode()).fetchall() == [(1.0,), (2.0,)]
        assert connection.execute(rows.format("metrics").encode()).fetchall() == [(3.0,)]
    assert [one["state"] for one in shown(commands)] == ["set aside"]
    second = commands.run("ingest", "spool", "replay", "--quarantined")
    assert second.returncode == 0
    assert "1 entries that were set aside are tried again" in second.stdout
    assert shown(commands) == []
    with psycopg.connect(database) as connection:
        assert connection.execute(rows.format("m").encode()).fetchall() == [(1.0,), (2.0,), (4.0,)]


def test_replay_into_the_embedded_database(commands: Commands, spool: Path, database: str) -> None:
    """Where no database is named, it is the one whose addresses the home folder has, as for every other command."""
    (commands.home / "database.env").write_text(f"INGEST_DATABASE_URL={database}\n", encoding="utf-8")
    done = commands.run("ingest", "spool", "replay")
    assert (done.returncode, done.stdout, done.stderr.count("DATABASE_URL")) == (0, "all is written\n", 0)
    with psycopg.connect(database) as connection:
        assert connection.execute("SELECT count(*) FROM metrics.m").fetchone() == (2,)


def test_replay_without_a_database(commands: Commands, spool: Path, free_port: int) -> None:
    """Nothing is lost: it ends when its time is over, and says what is left."""
    commands.environment["DATABASE_URL"] = f"postgresql://nobody@127.0.0.1:{free_port}/none"
    done = commands.run("ingest", "spool", "replay", "--timeout-seconds", "0.5")
    assert (done.returncode, done.stdout.splitlines()[-1]) == (1, "2 entries are left")
    assert [one["state"] for one in shown(commands)] == ["waits", "waits", "set aside"]


def test_beside_an_ingest_that_runs(commands: Commands, free_port: int) -> None:
    """What it keeps is shown and exported; `replay` leaves it in its hands, and says so."""
    commands.environment |= {
        "DATABASE_URL": f"postgresql://nobody@127.0.0.1:{free_port}/none",
        "INGEST_RETRY_SECONDS": "0.2",
        "INGEST_PORT": str(port_nobody_has()),
    }
    commands.start("ingest").until("listening")
    place = f"http://127.0.0.1:{commands.environment['INGEST_PORT']}/write?precision=s"
    sent = urllib.request.Request(place, data=b"m,host=a f=1 %d" % T, method="POST")
    with urllib.request.urlopen(sent, timeout=DEADLINE_SECONDS) as answer:
        assert (answer.status, answer.headers["Tidemark-Durability"]) == (204, "spooled")
    assert [(one["state"], one["points"]) for one in shown(commands)] == [("waits", 1)]
    exported = commands.run("ingest", "spool", "export").stdout
    assert json.loads(exported)["body"] == f"m,host=a f=1 {T}"
    done = commands.run("ingest", "spool", "replay", "--timeout-seconds", "0.5")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-2:] == ["all is written", "1 entries more are in the hands of an ingest that runs"]
    assert len(shown(commands)) == 1


def test_a_spool_that_is_not_there(commands: Commands) -> None:
    """An empty one is shown; nothing is made by looking."""
    assert shown(commands) == []
    assert not (commands.home / "spool").exists()
