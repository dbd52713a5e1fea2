"""docker-compose.yml, without Docker: its form, its promises, and its commands run as plain processes."""

from __future__ import annotations

import json
import os
import re
import secrets
import subprocess
import sys
import time
import urllib.request
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import psycopg
import pytest
from ruamel.yaml import YAML

from sql import passwords
from tests.conftest import DEADLINE_SECONDS, POLL_SECONDS, ROOT, Commands, Running
from tests.workers import port_nobody_has

VARIABLE = re.compile(r"\$\{(\w+):\?[^}]*\}")
"""How the file names a secret: it has no default, and its absence stops everything with a word."""
OURS = ("migrate", "ingest", "query", "maintain", "agent")
EXAMPLE = ROOT / "env.example"


def example() -> list[str]:
    """The variables that env.example asks for."""
    return re.findall(r"^(\w+)=''$", EXAMPLE.read_text(encoding="utf-8"), re.MULTILINE)


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    """The file, anchors resolved."""
    loaded: dict[str, Any] = YAML(typ="safe", pure=True).load(ROOT / "docker-compose.yml")
    return loaded


def test_it_is_of_the_specifications_form() -> None:
    """The schema of the compose specification has nothing against it."""
    checked = subprocess.run(
        [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", "docker-compose.yml"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )
    assert checked.returncode == 0, checked.stdout


def test_secrets_have_no_defaults(compose: dict[str, Any]) -> None:
    """Every password comes from a variable without a default, and env.example asks for just these, all empty."""
    text = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
    assert sorted(set(VARIABLE.findall(text))) == sorted(example())
    assert not re.findall(r"\$\{\w+(?!\w*:\?)", text), "a variable that has a default, or may be missing"
    for service in compose["services"].values():
        for name, value in service.get("environment", {}).items():
            if "PASSWORD" in name:
                assert VARIABLE.fullmatch(str(value)), name


def test_only_loopback_is_published(compose: dict[str, Any]) -> None:
    """Ingest, query and Grafana are reached from this machine alone; nothing else is."""
    published = {name: port for name, service in compose["services"].items() for port in service.get("ports", [])}
    assert all(port.startswith("127.0.0.1:") for port in published.values())
    assert set(published) <= {"ingest", "query", "grafana"}


def test_every_service_is_pinned_bounded_and_restarted(compose: dict[str, Any]) -> None:
    """Images have versions, memory and processors have bounds, logs are rotated, and what fails is started again.

    An engine refuses a limit of more processors than there are, so those that may need more have a weight.
    """
    for name, service in compose["services"].items():
        image = service["image"]
        assert re.search(r":v?\d+\.\d+\.\d+", image), image
        limits = service["deploy"]["resources"]["limits"]
        assert limits["memory"], name
        assert "cpu_shares" in service if "cpus" not in limits else float(limits["cpus"]) <= 1, name
        assert service["restart"] in ("unless-stopped", "on-failure:5"), name
        assert service["logging"]["options"]["max-size"], name
        assert "healthcheck" in service or name in OURS, name  # ours have the image's


def test_the_image_is_built_once(compose: dict[str, Any]) -> None:
    """Several builds of it at once fail where an engine keeps its images in containerd; nor is it ever pulled."""
    assert [name for name in OURS if "build" in compose["services"][name]] == ["migrate"]
    assert len({compose["services"][name]["image"] for name in OURS}) == 1
    assert {compose["services"][name]["pull_policy"] for name in OURS} == {"never"}


def test_ours_may_do_nothing(compose: dict[str, Any]) -> None:
    """Our own services have no capabilities, write nowhere but into volumes, and cannot gain privileges."""
    for name in OURS:
        service = compose["services"][name]
        assert service["read_only"], name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name


def test_what_is_mounted_is_there_and_cannot_be_written(compose: dict[str, Any]) -> None:
    """Files of this repository and folders of the host are mounted read-only; the rest are named volumes."""
    for name, service in compose["services"].items():
        for volume in service.get("volumes", []):
            source, _, *mode = volume.split(":")
            if source.startswith((".", "/")):
                assert mode == ["ro"], volume
                assert (ROOT / source).exists(), volume
            else:
                assert source in compose["volumes"], name


def test_agents_are_asked_for(compose: dict[str, Any]) -> None:
    """Prometheus and Telegraf run only for those who name their profile; everything else always does."""
    profiles = {name: service["profiles"] for name, service in compose["services"].items() if "profiles" in service}
    assert profiles == {"prometheus": ["prometheus"], "telegraf": ["telegraf"]}


def test_the_image_holds_what_runs(compose: dict[str, Any]) -> None:
    """The Dockerfile copies and compiles each package that a command starts, runs as nobody, and makes no volume."""
    dockerfile = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    assert set(re.findall(r"^COPY (\w+) /opt", dockerfile, re.MULTILINE)) == {"service", "sql", "ingest", "query"}
    assert re.search(r"^USER \d+:\d+$", dockerfile, re.MULTILINE)
    assert all(re.search(r":\d+\.\d+\.\d+", image) for image in re.findall(r"^FROM (\S+)", dockerfile, re.MULTILINE))
    assert not re.search(r"^VOLUME", dockerfile, re.MULTILINE)
    compiled = re.findall(r"[\w.]+__main__", dockerfile)
    for name in OURS:
        command = compose["services"][name]["command"]
        assert command[:2] == ["python", "-m"], name
        assert (ROOT / command[2].replace(".", "/") / "__main__.py").exists(), name
        assert f"{command[2]}.__main__" in compiled, name


class Stack:
    """The file's services as plain processes: their commands, with their environments, on a database of the test's."""

    def __init__(self, compose: dict[str, Any], commands: Commands, folder: Path) -> None:
        self._services = compose["services"]
        self._commands = commands
        commands.start("sql", "serve").until("the database answers")
        owner = commands.run("sql", "url").stdout.strip()
        address = urlsplit(owner)
        self._secrets = {name: f" {secrets.token_urlsafe(12)}@/:%2F?#&'\"\\$x ${{y}} ü漢 " for name in example()}
        passwords.give(owner, {"tidemark": self._secrets["TIDEMARK_OWNER_PASSWORD"]})
        self.ports = {"ingest": port_nobody_has(), "query": port_nobody_has()}
        self._words = {
            "db:5432": f"127.0.0.1:{address.port}",
            "//ingest:": "//127.0.0.1:",
            "//query:": "//127.0.0.1:",
            ":8086": f":{self.ports['ingest']}",
            ":8080": f":{self.ports['query']}",
        }
        self._home = folder / "container"

    def environment(self, name: str) -> dict[str, str]:
        """A service's environment, but for where it writes and listens, and how often an agent reads."""
        found = {"PATH": os.environ["PATH"], "TIDEMARK_HOME": str(self._home)}
        for variable, value in self._services[name].get("environment", {}).items():
            text = VARIABLE.sub(lambda match: self._secrets[match[1]], str(value))
            for word, here in self._words.items():
                text = text.replace(word, here)
            found[variable] = text
        if name == "agent":
            found["AGENT_INTERVAL_SECONDS"] = "0.5"
        if name in self.ports:
            found[f"{name.upper()}_PORT"] = str(self.ports[name])
        return found

    def start(self, name: str) -> Running:
        """Start a service's command."""
        _, _, module, *arguments = self._services[name]["command"]
        return self._commands.start(module, *arguments, env=self.environment(name))

    def as_owner(self) -> str:
        """The database's address with the owner's new password."""
        return self._url("tidemark", self._secrets["TIDEMARK_OWNER_PASSWORD"])

    def as_grafana(self) -> str:
        """The database's address with the account and the password that Grafana has."""
        return self._url("grafana_reader", self.environment("grafana")["TIDEMARK_GRAFANA_PASSWORD"])

    def _url(self, account: str, password: str) -> str:
        address = self.environment("grafana")["TIDEMARK_DATABASE_ADDRESS"]
        return f"postgresql://{account}:{quote(password, safe='')}@{address}/tidemark"

    def is_healthy(self, name: str) -> bool:
        """What the image's own check says."""
        check = re.search(r"CMD (\[.*\])\n", (ROOT / "Dockerfile").read_text(encoding="utf-8"))
        assert check is not None
        _, *arguments = json.loads(check[1])
        return subprocess.run([sys.executable, *arguments], env=self.environment(name), check=False).returncode == 0


@pytest.fixture
def stack(compose: dict[str, Any], commands: Commands, folder: Path) -> Stack:
    """The services, none of them started."""
    return Stack(compose, commands, folder)


def test_the_services_work_together(stack: Stack) -> None:
    """Migrate gives the roles their passwords, whatever signs are in them; the others log in as themselves, take points
    and tell of them.
    """
    migrate = stack.start("migrate")
    assert migrate.process.wait(DEADLINE_SECONDS) == 0, migrate.text()
    for name in stack.ports:
        stack.start(name).until("the database is ready")
        assert stack.is_healthy(name)
    point = b'{"host": "web-1", "cpu_usage": 12.5}'
    with urllib.request.urlopen(f"http://127.0.0.1:{stack.ports['ingest']}/api/v1/points", point) as answer:
        assert answer.headers["Tidemark-Durability"] == "committed"
    url = f"http://127.0.0.1:{stack.ports['query']}/api/v1/aggregate?metric=metrics.cpu_usage&by=host"
    with urllib.request.urlopen(url) as answer:
        assert json.load(answer)["series"] == [{"tags": {"host": "web-1"}, "value": 12.5}]
    with psycopg.connect(stack.as_owner()) as connection:
        rows = connection.execute(
            "SELECT DISTINCT usename FROM pg_stat_activity "
            "WHERE application_name IN ('tidemark ingest', 'tidemark query')"
        ).fetchall()
    assert {name for (name,) in rows} == {"tidemark_ingest", "tidemark_query"}
    maintain, agent = stack.start("maintain"), stack.start("agent")
    maintain.until("maintaining")
    until_there(stack.as_grafana(), "SELECT FROM tidemark_at('1s') WHERE query_database_up = 1", agent)
    assert maintain.stop() == 0
    assert agent.stop() == 0


GROWING = (psycopg.errors.UndefinedFunction, psycopg.errors.UndefinedColumn)
"""What a reader hears of a measurement that does not have its fields yet."""


def until_there(url: str, statement: str, by: Running) -> None:
    """Wait until a statement has rows, which a process makes."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    with psycopg.connect(url, autocommit=True) as connection:
        while True:
            with suppress(*GROWING):
                if connection.execute(statement.encode()).fetchall():
                    return
            assert by.process.poll() is None, by.text()
            assert time.monotonic() < deadline, by.text()
            time.sleep(POLL_SECONDS)
