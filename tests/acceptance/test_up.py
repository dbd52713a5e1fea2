"""`python -m sql up`, which is what `make up` runs: all of Tidemark as real processes, on ports of its own."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import psutil
import psycopg
import pytest

from tests.conftest import DEADLINE_SECONDS, POLL_SECONDS, ROOT, Commands, Running, kill, open_folder
from tests.workers import port_nobody_has

READY = "  try   "
PARTS = ("db", "ready", "maintain", "ingest", "query", "agent")


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    """A home folder whose database is made once, by the first test that runs everything."""
    with open_folder() as path:
        yield path / "home"


@pytest.fixture
def stack(commands: Commands, home: Path) -> Commands:
    """Commands with a home folder that tests share, and with ports of their own."""
    commands.home = home
    commands.environment |= {
        "TIDEMARK_HOME": str(home),
        "INGEST_PORT": str(port_nobody_has()),
        "QUERY_PORT": str(port_nobody_has()),
        "AGENT_INTERVAL_SECONDS": "0.5",
    }
    return commands


def up(stack: Commands) -> Running:
    """Everything, and ready."""
    running = stack.start("sql", "up")
    running.until(READY)
    return running


def family(running: Running) -> list[psutil.Process]:
    """The launcher and all processes below it."""
    launcher = psutil.Process(running.process.pid)
    return [launcher, *launcher.children(recursive=True)]


def parts(running: Running) -> dict[str, psutil.Process]:
    """The process of each part that was started."""
    found = re.findall(r"system +\| (\w+) started \(pid=(\d+)\)", running.text())
    return {name: psutil.Process(int(number)) for name, number in found}


def until(holds: Callable[[], Any]) -> Any:
    """Wait until `holds` returns something true, and return that."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not (found := holds()):
        assert time.monotonic() < deadline
        time.sleep(POLL_SECONDS)
    return found


def require_gone(processes: list[psutil.Process], stack: Commands) -> None:
    """Fail when one of `processes`, or one of the database's, stays."""
    _, alive = psutil.wait_procs([*processes, *stack.postgres()], timeout=DEADLINE_SECONDS)
    assert not alive
    assert not stack.postgres()


def push(stack: Commands, point: dict[str, object]) -> None:
    """Push a point over HTTP."""
    url = f"http://127.0.0.1:{stack.environment['INGEST_PORT']}/api/v1/points"
    with urlopen(
        Request(url, json.dumps(point).encode(), {"Content-Type": "application/json"}), timeout=DEADLINE_SECONDS
    ) as answer:
        assert answer.status == 204


def ask(stack: Commands, parameters: str) -> list[dict[str, Any]]:
    """The series of an answer over HTTP; none where the measurement or the field is not there yet."""
    url = f"http://127.0.0.1:{stack.environment['QUERY_PORT']}/api/v1/aggregate?{parameters}"
    try:
        with urlopen(url, timeout=DEADLINE_SECONDS) as answer:
            series: list[dict[str, Any]] = json.load(answer)["series"]
            return series
    except HTTPError as error:
        if error.code != 404:
            raise
        return []


def shown(running: Running, name: str) -> str:
    """What the banner has after `name`."""
    found = re.search(rf"ready +\|   {name} +(.*)", running.text())
    assert found is not None
    return found[1]


def test_everything_runs_and_its_history_stays(stack: Commands) -> None:
    """Points that were acknowledged are there over HTTP and over SQL, also after every process was killed."""
    running = up(stack)
    push(stack, {"host": "web-1", "cpu_usage": 12.5})
    push(stack, {"host": "web-1", "cpu_usage": 13.5})
    assert ask(stack, "metric=metrics.cpu_usage&by=host") == [{"tags": {"host": "web-1"}, "value": 13.0}]
    # The agent's second reading is the first from which a share of time can be told.
    until(lambda: ask(stack, "metric=cpu.usage_user&by=host&start=-1h"))

    killed = family(running)
    kill([*killed, *stack.postgres()])
    require_gone(killed, stack)

    again = up(stack)
    assert ask(stack, "metric=metrics.cpu_usage&by=host") == [{"tags": {"host": "web-1"}, "value": 13.0}]
    _, url = shlex.split(shown(again, "SQL"))
    with psycopg.connect(url) as connection:
        assert connection.execute(
            "SELECT host, AVG(cpu_usage) FROM metrics WHERE time > NOW() - INTERVAL '1 hour' GROUP BY host"
        ).fetchall() == [("web-1", 13.0)]
        assert connection.execute("SELECT * FROM cpu ORDER BY time DESC LIMIT 5").fetchall()
    assert shown(again, "try").startswith(f"curl '127.0.0.1:{stack.environment['QUERY_PORT']}/api/v1/aggregate?")
    assert re.fullmatch(r"\d[^ ]*, (Apache|Community) edition, on PostgreSQL [\d.]+.*", shown(again, "TimescaleDB"))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_stops_cleanly(stack: Commands, number: signal.Signals) -> None:
    """Every part ends by itself and with status 0, nothing stays, and no error was told on the way."""
    running = up(stack)
    processes = family(running)
    assert running.stop(number) == 0
    require_gone(processes, stack)
    ended = dict(re.findall(r"system +\| (\w+) stopped \(rc=(-?\d+)\)", running.text()))
    assert ended == dict.fromkeys(PARTS, "0")
    assert "Traceback" not in running.text()
    assert "SIGKILL" not in running.text()


def test_several_workers_of_ingest(stack: Commands) -> None:
    """INGEST_WORKERS reaches ingest; all of its workers take part, and all end with the rest."""
    stack.environment["INGEST_WORKERS"] = "2"
    running = up(stack)
    processes = family(running)
    assert len(parts(running)["ingest"].children()) == 2
    push(stack, {"host": "web-1", "workers": 2})
    assert running.stop() == 0
    require_gone(processes, stack)
    assert re.search(r"system +\| ingest stopped \(rc=0\)", running.text())
    assert "Traceback" not in running.text()


def test_it_stops_while_it_starts(stack: Commands) -> None:
    """A Ctrl-C in the first moment leaves nothing behind."""
    running = stack.start("sql", "up")
    running.until("started (pid=")
    processes = family(running)
    assert running.stop(signal.SIGINT) == 0
    require_gone(processes, stack)
    assert "Traceback" not in running.text()


def test_a_part_that_ends_ends_all(stack: Commands) -> None:
    """The launcher says so, and fails."""
    running = up(stack)
    processes = family(running)
    parts(running)["query"].kill()
    assert running.process.wait(DEADLINE_SECONDS) == 1
    require_gone(processes, stack)
    assert "query stopped (rc=-9)" in " ".join(running.text().split())
    assert running.text().endswith("a process ended, so everything was stopped; its lines above say why\n")


def test_killing_the_launcher_ends_all(stack: Commands) -> None:
    """No part goes on without it, so that the next start finds its ports free."""
    running = up(stack)
    processes = family(running)
    running.process.kill()
    require_gone(processes, stack)


def test_a_reader_that_goes_away_ends_all(stack: Commands) -> None:
    """As in `make up | head`: nobody would know that it still runs."""
    command = [sys.executable, "-m", "sql", "up"]
    with subprocess.Popen(command, env=stack.environment, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if "the database answers" in line:
                break
        processes = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
        process.stdout.close()
        require_gone(processes, stack)


def test_a_second_one_is_refused(stack: Commands) -> None:
    """The first is named, and goes on."""
    running = up(stack)
    second = stack.run("sql", "up")
    assert (second.returncode, second.stdout) == (1, "")
    assert second.stderr == f"python -m sql: Tidemark is already running (pid {running.process.pid})\n"
    served = stack.run("sql", "serve")
    assert (
        served.stderr == f"python -m sql: the embedded database is already running (pid {parts(running)['db'].pid})\n"
    )
    push(stack, {"host": "web-1", "still": 1})


@pytest.mark.parametrize("variable", ["INGEST_PORT", "QUERY_PORT", "TIDEMARK_DATABASE_PORT"])
def test_a_taken_port_is_refused(stack: Commands, variable: str) -> None:
    """Before anything starts; the line names the port, its holder and the setting."""
    port = int(stack.environment[variable])
    with socket.create_server(("127.0.0.1", port)):
        done = stack.run("sql", "up")
    assert (done.returncode, done.stdout) == (1, "")
    holder = f"{psutil.Process().name()} (pid {os.getpid()})"
    assert done.stderr == f"python -m sql: port {port} is taken by {holder}: end that, or set {variable}\n"


@pytest.mark.parametrize("variable", ["QUERY_PORT", "TIDEMARK_DATABASE_PORT"])
def test_one_port_for_two_is_refused(stack: Commands, variable: str) -> None:
    """Before anything starts; the line names both settings."""
    stack.environment[variable] = port = stack.environment["INGEST_PORT"]
    done = stack.run("sql", "up")
    assert (done.returncode, done.stdout) == (1, "")
    reason = f"INGEST_PORT and {variable} are both {port}: set one of them to another port"
    assert done.stderr == f"python -m sql: {reason}\n"


def test_a_server_of_the_users(stack: Commands, empty_database: str) -> None:
    """With DATABASE_URL no database is started; that one is brought up to date and used."""
    stack.environment["DATABASE_URL"] = empty_database
    running = up(stack)
    assert parts(running).keys() == {*PARTS} - {"db"}
    assert stack.postgres() == []
    push(stack, {"host": "web-1", "cpu_usage": 12.5})
    assert ask(stack, "metric=metrics.cpu_usage&by=host") == [{"tags": {"host": "web-1"}, "value": 12.5}]
    with psycopg.connect(empty_database) as connection:
        assert connection.execute("SELECT cpu_usage FROM metrics.metrics").fetchall() == [(12.5,)]
    assert running.stop() == 0
    password = psycopg.conninfo.conninfo_to_dict(empty_database).get("password")
    assert password is None or str(password) not in running.text()


def test_a_server_that_does_not_answer(stack: Commands, free_port: int) -> None:
    """After a bounded wait everything stops, with a line that says what was waited for."""
    stack.environment |= {
        "DATABASE_URL": f"postgresql://me:secret@127.0.0.1:{free_port}/metrics",
        "TIDEMARK_READY_SECONDS": "1",
    }
    done = stack.run("sql", "up")
    assert done.returncode == 1
    assert "the database is not ready in time (TIDEMARK_READY_SECONDS): nothing answers at its address" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr, done.stdout
    assert "secret" not in done.stdout + done.stderr
