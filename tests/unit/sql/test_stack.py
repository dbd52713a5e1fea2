from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from honcho.environ import parse_procfile

from sql import stack
from sql.settings import Stack


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Stack:
    """Settings of which some are not as usual."""
    for name in ("DATABASE_URL", "AGENT_URL", "AGENT_INSTRUMENTS_URLS", "TIDEMARK_ACCOUNT", "TIDEMARK_ENGINE"):
        monkeypatch.delenv(name, raising=False)
    return Stack(home=tmp_path, INGEST_PORT=9001, INGEST_HOST="0.0.0.0", database_port=9003)


def test_the_processes_are_told_the_settings(settings: Stack, tmp_path: Path) -> None:
    """Each under its own name, also when it came as an option; the agent is told where ingest is."""
    told = stack.variables(settings)
    assert told["TIDEMARK_HOME"] == str(tmp_path)
    assert told["TIDEMARK_DATABASE_PORT"] == "9003"
    assert told["INGEST_PORT"] == "9001"
    assert told["AGENT_URL"] == "http://127.0.0.1:9001"
    assert told["AGENT_INSTRUMENTS_URLS"] == "http://127.0.0.1:9001/metrics,http://127.0.0.1:8080/metrics"
    assert "TIDEMARK_ACCOUNT" not in told
    assert not [name for name in told if name.endswith("DATABASE_URL")]


def test_the_agent_goes_where_the_user_says(settings: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    """A named address is left as it is, and so is the list of services to read."""
    monkeypatch.setenv("AGENT_URL", "http://elsewhere:1")
    monkeypatch.setenv("AGENT_INSTRUMENTS_URLS", "")
    assert not {"AGENT_URL", "AGENT_INSTRUMENTS_URLS"} & set(stack.variables(settings))


def test_the_programs_are_those_of_this_environment(settings: Stack) -> None:
    """Whatever python the PATH has first."""
    path = stack.variables(settings)["PATH"].split(os.pathsep)
    assert Path(path[0]) == Path(sys.executable).parent
    assert path[1:] == os.environ["PATH"].split(os.pathsep)


def test_the_procfile_runs_every_part() -> None:
    """The database under the name by which it is left out when the user has a server."""
    processes = parse_procfile((stack.ROOT / "Procfile").read_text(encoding="utf-8")).processes
    assert set(processes) == {stack.DATABASE_PROCESS, "ready", "maintain", "ingest", "query", "agent"}
    assert all(line.startswith("python -m ") for line in processes.values())
