"""What docs/operating.md shows does what it says: backups, data that is brought along, and deleting."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from urllib.request import Request, urlopen

import psycopg
import pytest

from sql.addresses import as_role
from sql.engine import find
from sql.migrate import migrate
from tests.conftest import ROOT, Commands

DOCUMENT = (ROOT / "docs" / "operating.md").read_text(encoding="utf-8")
NEEDS_CURL = pytest.mark.skipif(shutil.which("curl") is None, reason="the commands use curl, which is not installed")


def block(language: str, word: str) -> str:
    """The document's one block of code that has `word`."""
    (found,) = (text for text in re.findall(rf"```{language}\n(.*?)```", DOCUMENT, re.DOTALL) if word in text)
    return str(found)


class Shell:
    """The shell that the document speaks of: PostgreSQL's programs and ours on its PATH, the addresses as variables."""

    def __init__(self, commands: Commands, engine: Path) -> None:
        self._commands = commands
        self._path = f"{find(engine, print).programs}:{Path(sys.executable).parent}"

    def run(self, script: str, folder: Path, **variables: str) -> str:
        """Run a block to its end, which must be a good one; what it printed."""
        environment = self._commands.environment | variables
        environment |= {"PATH": f"{self._path}:{environment['PATH']}", "PYTHONPATH": str(ROOT)}
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script], cwd=folder, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture
def shell(commands: Commands, shared_engine: Path) -> Shell:
    """A shell in which the document's commands run."""
    return Shell(commands, shared_engine)


def write(served: dict[str, str], lines: str) -> None:
    """Push lines."""
    with urlopen(Request(f"http://{served['127.0.0.1:8086']}/write", lines.encode())) as answer:
        assert answer.headers["Tidemark-Durability"] == "committed"


def ask(served: dict[str, str], **parameters: str) -> Any:
    """The series of an aggregate."""
    with urlopen(f"http://{served['127.0.0.1:8080']}/api/v1/aggregate?{urlencode(parameters)}") as answer:
        return json.loads(answer.read())["series"]


def stored(url: str, measurement: str) -> list[tuple[Any, ...]]:
    """The rows of a measurement's view, in order."""
    with psycopg.connect(url) as connection:
        return connection.execute(f"SELECT * FROM metrics.{measurement} ORDER BY time, tags".encode()).fetchall()


def test_what_is_deleted_is_gone_and_can_come_back(served: dict[str, str], database: str) -> None:
    """Answers that were kept do not have it; what is written afterwards is there."""
    now = time.time_ns()
    long_ago = now - 40 * 86_400 * 10**9
    hosts = "".join(f"cpu,host=web-{n} f={n} {at}\n" for n in (1, 2) for at in (long_ago, now))
    write(served, hosts + "weather f=1\n")
    by_host = {"metric": "cpu.f", "fn": "count", "by": "host", "start": "-50d", "end": str(now // 10**9 + 60)}
    assert [one["value"] for one in ask(served, **by_host)] == [2, 2]
    with psycopg.connect(database, autocommit=True) as owner:
        owner.execute(block("sql", "DELETE FROM points.cpu").encode())
        assert [one["value"] for one in ask(served, **by_host)] == [1, 2]
        owner.execute("DELETE FROM points.cpu p USING catalog.series s WHERE s.id = p.series_id AND s.host = 'web-1'")
        owner.execute(block("sql", "DELETE FROM catalog.series").encode())
        owner.execute(block("sql", "drop_measurement").encode())
        assert owner.execute("SELECT count(*) FROM catalog.series").fetchone() == (1,)
    write(served, f"cpu,host=web-1 f=3 {now}\nweather f=2 {now}\n")
    assert [row[3] for row in stored(database, "cpu")] == [2.0, 3.0, 2.0]
    assert [row[3] for row in stored(database, "weather")] == [2.0]


@NEEDS_CURL
def test_data_is_brought_along(
    served: dict[str, str], database: str, empty_database: str, shell: Shell, tmp_path: Path
) -> None:
    """From a database of ours into an ingest, as JSON, and from a file of lines as InfluxDB exports them."""
    migrate(empty_database)
    with psycopg.connect(empty_database, autocommit=True) as connection:
        connection.execute("SELECT * FROM catalog.ensure_fields('cpu', ARRAY['f', 'g \"x\"'])")
        connection.execute(
            "SELECT * FROM catalog.ensure_series('cpu', %s::jsonb[])", [['{"host": "a\\\\b", "k": "é"}']]
        )
        connection.execute(
            'INSERT INTO points.cpu (time, series_id, f, "g ""x""") '
            "SELECT now() - n * interval '1 second', id, n, nullif(n, 2) FROM catalog.series, generate_series(1, 3) n"
        )
    moved = block("sh", "json_build_object").replace("127.0.0.1:8086", served["127.0.0.1:8086"])
    assert shell.run(moved, tmp_path, QUERY=as_role(empty_database, "query")) == ""
    assert stored(database, "cpu") == stored(empty_database, "cpu")

    now = time.time_ns()
    exported = f"# DML\n# CONTEXT-DATABASE:telegraf\nmem,host=a used=1i {now}\nmem,host=b used=2i {now}\n"
    (tmp_path / "telegraf.lp").write_text(exported, encoding="utf-8")
    split = block("sh", "influx_inspect").partition("\n")[2].replace("127.0.0.1:8086", served["127.0.0.1:8086"])
    assert shell.run(split, tmp_path) == ""
    assert [row[1] for row in stored(database, "mem")] == ["a", "b"]


def test_a_backup_is_restored(
    served: dict[str, str], database: str, empty_database: str, shell: Shell, tmp_path: Path
) -> None:
    """Into an empty database, which has the same points then, and goes on as the first would."""
    write(served, "cpu,host=a f=1\ncpu,host=b f=2,g=3\n")
    shell.run(block("sh", "pg_dump"), tmp_path, OWNER=database)
    shell.run(block("sh", "pg_restore"), tmp_path, NEW=empty_database)
    assert stored(empty_database, "cpu") == stored(database, "cpu")
    with psycopg.connect(empty_database) as connection:
        rows = connection.execute("SELECT column_name FROM catalog.ensure_fields('cpu', ARRAY['g', 'h'])").fetchall()
        assert sorted(rows) == [("f",), ("g",), ("h",)]
