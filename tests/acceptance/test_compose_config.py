"""docker-compose.yml as Docker Compose itself reads it: Debian's package of it, unpacked, without a Docker engine."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from sql import command, debian
from sql.command import CommandError
from sql.debian import DebianError
from tests.acceptance.test_compose import example
from tests.conftest import ROOT, engine_folder

PLUGIN = "usr/libexec/docker/cli-plugins/docker-compose"


@pytest.fixture(scope="module")
def compose() -> Path:
    """The program, fetched once a machine beside the engine; skipped where Debian's packages cannot be had."""
    folder = engine_folder().with_name("docker-compose")
    if not folder.exists():
        unfinished = folder.with_name("docker-compose.new")
        shutil.rmtree(unfinished, ignore_errors=True)
        (unfinished / "apt").mkdir(parents=True)
        try:
            for package in debian.fetch(debian.source(), ["docker-compose"], unfinished / "apt", print):
                command.run("unpacking Docker Compose", ["dpkg-deb", "--extract", package, unfinished])
        except (CommandError, DebianError) as error:
            pytest.skip(f"Debian's docker-compose cannot be had here: {error}")
        shutil.rmtree(unfinished / "apt")
        unfinished.rename(folder)
    return folder / PLUGIN


def config(compose: Path, secrets: dict[str, str], *profiles: str) -> subprocess.CompletedProcess[str]:
    """What `docker compose config` says with these secrets in the environment."""
    asked = [word for profile in profiles for word in ("--profile", profile)]
    return subprocess.run(
        [
            compose,
            *asked,
            "--file",
            ROOT / "docker-compose.yml",
            "--env-file",
            "/dev/null",
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
    assert both["ingest"]["environment"]["INGEST_DATABASE_URL"].endswith(":word@db:5432/tidemark")


@pytest.mark.parametrize("missing", example())
def test_a_secret_that_is_missing_is_named(compose: Path, missing: str) -> None:
    """Nothing starts without it, and the message says which it is and where it belongs."""
    answer = config(compose, {name: "word" for name in example() if name != missing})
    assert answer.returncode != 0
    assert missing in answer.stderr
    assert "write it into .env" in answer.stderr
