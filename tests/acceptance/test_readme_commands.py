"""The commands that the README shows run, and answer as it shows."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import time
from typing import Any
from urllib.request import Request, urlopen

import psycopg
import pytest

from tests.conftest import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")
CONSOLE = re.findall(r"```console\n\$ (.*?)\n(.*?)```", README, re.DOTALL)
POSITION = re.compile(r"[0-9A-F]+-[0-9A-F]+/[0-9A-F]+")
"""Of the database's log: no two are the same."""
STATEMENTS = [
    statement.strip()
    for block in re.findall(r"```sql\n(.*?)```", README, re.DOTALL)
    for statement in block.split(";")
    if statement.strip()
]
TIMES = re.compile(r"\d{4}-\d\d-\d\dT[0-9:.]+Z")
AGENTS_POINTS = (
    "cpu,host=vm,cpu=cpu-total usage_user=50.5\n"
    "mem,host=vm used_percent=5.6\n"
    "net,host=vm bytes_recv=1000 {before}\n"
    "net,host=vm bytes_recv=6000 {now}\n"
)


@pytest.fixture
def services(served: dict[str, str]) -> dict[str, str]:
    """Both services, and what an agent would have pushed: their addresses by those shown."""
    now = time.time_ns()
    points = AGENTS_POINTS.format(before=now - 5 * 10**9, now=now).encode()
    with urlopen(Request(f"http://{served['127.0.0.1:8086']}/write", points)) as answer:
        assert answer.status == 204
    return served


def shape(value: Any) -> Any:
    """A JSON value without what differs from run to run: members and kinds are left; of an array, its first."""
    if isinstance(value, dict):
        return {key: shape(item) for key, item in value.items()}
    if isinstance(value, list):
        return [shape(item) for item in value[:1]]
    return "number" if isinstance(value, (int, float)) else type(value).__name__


def require_like(shown: str, found: str) -> None:
    """Fail unless an answer is like the one shown: its status and headers, its JSON, or its CSV but for the times."""
    if shown.startswith(("HTTP/", "Tidemark-")):
        lines = POSITION.sub("position", found).splitlines()
        assert all(line in lines for line in POSITION.sub("position", shown).splitlines())
    elif shown and not shown.startswith("{"):
        assert TIMES.sub("time", found).splitlines() == TIMES.sub("time", shown).splitlines()
    elif shown:
        abridged = shown.endswith(", ...}\n")
        expected, answer = json.loads(shown.replace(", ...}", "}")), json.loads(found)
        assert shape({key: answer[key] for key in expected} if abridged else answer) == shape(expected)
    else:
        assert found == ""


@pytest.mark.skipif(shutil.which("curl") is None, reason="the README's commands use curl, which is not installed")
def test_the_readmes_commands_run(services: dict[str, str], database: str) -> None:
    """In order, on fresh services: each curl answers as shown, each statement gives rows to the query role."""
    assert len(CONSOLE) >= 6
    for command, shown in CONSOLE:
        for address, own in services.items():
            command = command.replace(address, own)
        # The progress of a transfer is not of interest, and a failure to connect must fail the test.
        done = subprocess.run(
            ["bash", "-c", command.replace("curl ", "curl -sS ", 1)], capture_output=True, text=True, check=True
        )
        require_like(shown, done.stdout)
    with psycopg.connect(database, options="-c role=tidemark_query -c search_path=metrics,public") as connection:
        for statement in STATEMENTS:
            assert connection.execute(statement).fetchall(), statement
