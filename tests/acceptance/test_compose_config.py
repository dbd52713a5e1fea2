"""docker-compose.yml as Docker Compose itself reads it: Debian's package of it, unpacked, without a Docker engine."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.acceptance.test_compose import example
from tests.conftest import ROOT
from tests.debian_package import unpacked

PLUGIN = "usr/libexec/docker/cli-plugins/docker-compose"


@pytest.fixture(scope="module")
def compose() -> Path:
    """The program; skipped where Debian's packages cannot be had."""
    return unpacked("docker-compose") / PLUGIN


def config(
    compose: Path, secrets: dict[str, str], *profiles: str, file: Path = Path(os.devnull)
) -> subprocess.CompletedProcess[str]:
    """What `docker compose config` says with these secrets in the environment, and with an .env."""
    asked = [word for profile in profiles for word in ("--profile", profile)]
    return subprocess.run(
        [
            compose,
            *asked,
            "--file",
            ROOT / "docker-compose.yml",
            "--env-file",
            file,
            "config",
            "--format",
            "json",
        ],
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": os.environ["PATH"], "HOME": "/nonexistent", **secrets},
        timeout=60,
    )


def test_it_is_understood(compose: Path) -> None:
    """With every secret set, and with each agent asked for or none."""
    secrets = dict.fromkeys(example(), "word")
    always = json.loads(config(compose, secrets).stdout)["services"]
    assert set(always) == {"db", "migrate", "ingest", "query", "maintain", "agent", "grafana"}
    both = json.loads(config(compose, secrets, "prometheus", "telegraf").stdout)["services"]
    assert set(both) - set(always) == {"prometheus", "telegraf"}
    assert both["ingest"]["environment"]["PGPASSWORD"] == "word"


def test_a_secret_may_have_any_sign(compose: Path, tmp_path: Path) -> None:
    """In single quotes, as env.example says, a password is what it is; only such a quote has a backslash before it."""
    file = tmp_path / "env"
    file.write_text("".join(f"{name}=' @/:%2F?#&\"$x ${{y}} ü\\'s '\n" for name in example()), encoding="utf-8")
    services = json.loads(config(compose, {}, file=file).stdout)["services"]
    # What it prints can be read as a compose file again, where a $ is written twice.
    for name in ("migrate", "ingest", "query", "maintain"):
        assert services[name]["environment"]["PGPASSWORD"] == " @/:%2F?#&\"$$x $${y} ü's "


@pytest.mark.parametrize("missing", example())
def test_a_secret_that_is_missing_is_named(compose: Path, missing: str) -> None:
    """Nothing starts without it, and the message says which it is and where it belongs."""
    answer = config(compose, {name: "word" for name in example() if name != missing})
    assert answer.returncode != 0
    assert missing in answer.stderr
    assert "write it into .env" in answer.stderr
