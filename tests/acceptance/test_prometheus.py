"""A real Prometheus, with the compose file's command and configuration: it takes every instrument of both services."""

from __future__ import annotations

import json
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from ruamel.yaml import YAML

from tests.acceptance.test_compose import Stack
from tests.conftest import DEADLINE_SECONDS, POLL_SECONDS, ROOT, Commands
from tests.debian_package import unpacked
from tests.workers import port_nobody_has

CONFIGURATION = ROOT / "grafana" / "prometheus.yml"


@pytest.fixture(scope="module")
def program() -> Path:
    """Debian's program."""
    return unpacked("prometheus") / "usr/bin/prometheus"


@pytest.fixture
def stack(commands: Commands, folder: Path) -> Stack:
    """The services of the compose file, with ingest and query running."""
    compose = YAML(typ="safe", pure=True).load(ROOT / "docker-compose.yml")
    stack = Stack(compose, commands, folder)
    migrate = stack.start("migrate")
    assert migrate.process.wait(DEADLINE_SECONDS) == 0, migrate.text()
    for name in stack.ports:
        stack.start(name).until("the database is ready")
    return stack


class Prometheus:
    """The server, asked over its API."""

    def __init__(self, port: int) -> None:
        self._base = f"http://127.0.0.1:{port}/api/v1"

    def ask(self, path: str, **parameters: str) -> Any:
        """The data of an answer."""
        with urllib.request.urlopen(f"{self._base}/{path}?{urllib.parse.urlencode(parameters)}", timeout=30) as answer:
            return json.load(answer)["data"]

    def healths(self) -> dict[str, tuple[str, str]]:
        """The state of each target by its service, and the error of its last scrape."""
        return {
            target["labels"]["service"]: (target["health"], target["lastError"])
            for target in self.ask("targets")["activeTargets"]
        }


@pytest.fixture
def prometheus(program: Path, stack: Stack, folder: Path) -> Iterator[Prometheus]:
    """Started as in the compose file, but with other ports and paths, and with a scrape each second."""
    compose = YAML(typ="safe", pure=True).load(ROOT / "docker-compose.yml")
    configuration = CONFIGURATION.read_text(encoding="utf-8").replace("15s", "1s").replace("10s", "1s")
    for name, port in stack.ports.items():
        configuration = configuration.replace(f"{name}:{ {'ingest': 8086, 'query': 8080}[name] }", f"127.0.0.1:{port}")
    file = folder / "prometheus.yml"
    file.write_text(configuration, encoding="utf-8")
    port = port_nobody_has()
    paths = {"/etc/prometheus/prometheus.yml": str(file), "/prometheus": str(folder / "tsdb")}
    arguments = []
    for argument in compose["services"]["prometheus"]["command"]:
        option, _, value = argument.partition("=")
        arguments.append(f"{option}={paths.get(value, value)}")
    log = folder / "prometheus.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [program, *arguments, f"--web.listen-address=127.0.0.1:{port}"], stdout=out, stderr=out
        )
    try:
        _until_ready(port, process, log)
        yield Prometheus(port)
    finally:
        process.terminate()
        process.wait(DEADLINE_SECONDS)


def _until_ready(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while True:
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/-/ready", timeout=5):
                return
        except OSError:
            time.sleep(POLL_SECONDS)


def test_it_takes_everything(prometheus: Prometheus, stack: Stack) -> None:
    """Both services are up, by their names, and every sample that they expose is in Prometheus."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while (healths := prometheus.healths()) != {"ingest": ("up", ""), "query": ("up", "")}:
        assert time.monotonic() < deadline, healths
        time.sleep(POLL_SECONDS)
    for service, port in stack.ports.items():
        exposed = {
            sample.name for family in text_string_to_metric_families(_exposed(port)) for sample in family.samples
        }
        assert f"{service}_database_up" in exposed
        while missing := exposed - set(prometheus.ask("label/__name__/values", **{"match[]": _of(service)})):
            assert time.monotonic() < deadline, missing
            time.sleep(POLL_SECONDS)
        (found,) = prometheus.ask("query", query=f"{service}_database_up{_of(service)}")["result"]
        assert found["value"][1] == "1"


def _of(service: str) -> str:
    return f'{{job="tidemark",service="{service}"}}'


def _exposed(port: int) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as answer:
        text: str = answer.read().decode()
    return text
