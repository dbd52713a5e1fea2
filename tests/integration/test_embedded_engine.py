"""The engine: fetched from Debian's mirrors, found when installed, and one clear line when it cannot be had.

What is fetched is real: the tests that fetch are skipped where no Debian mirror answers.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from urllib.request import urlopen

import pytest

from sql import debian, engine
from sql.engine import EngineError
from tests.conftest import DEADLINE_SECONDS, POLL_SECONDS, Commands, open_folder

FETCH_SECONDS = 600.0
"""Forty megabytes come from a mirror, and are unpacked and patched."""


@pytest.fixture(scope="module")
def unfetched() -> Iterator[Path]:
    """A folder for an engine, in which an earlier attempt may have left something."""
    with open_folder() as path:
        yield path / "engine"


def apt_environment(folder: Path, sources: str) -> dict[str, str]:
    """Environment variables that make these the sources of the system's apt."""
    (folder / "sources.list").write_text(sources)
    configuration = folder / "apt.conf"
    configuration.write_text(
        f'Dir::Etc::sourcelist "{folder}/sources.list"; Dir::Etc::sourceparts "-"; Acquire::Retries "0";\n'
    )
    return {"APT_CONFIG": str(configuration)}


def require_mirror() -> None:
    """Skip the test where no Debian mirror answers."""
    try:
        mirror = debian.source().mirrors.main
        with urlopen(f"{mirror}dists/{debian.SUITE}/InRelease", timeout=30):
            return
    except (debian.DebianError, OSError) as error:
        pytest.skip(f"no Debian mirror answers here: {error}")


def refusal(commands: Commands, **environment: str) -> str:
    """The one line with which `sql serve` ends when no engine is there and `environment` is added."""
    wanted = {**commands.environment, "TIDEMARK_ENGINE": str(commands.home / "engine"), **environment}
    done = commands.run("sql", "serve", env=wanted)
    assert done.returncode == 1, done.stdout
    (line,) = done.stderr.splitlines()
    assert line.startswith("python -m sql: no TimescaleDB here, and it cannot be fetched: ")
    assert line.endswith("; set DATABASE_URL to a PostgreSQL server that has TimescaleDB, or use docker compose")
    return line


def test_an_interrupted_fetch_is_done_again(commands: Commands, unfetched: Path) -> None:
    """Killed while it unpacks, an engine is not used; the next start fetches it, whole, and leaves nothing else."""
    require_mirror()
    commands.environment["TIDEMARK_ENGINE"] = str(unfetched)
    interrupted = commands.start("sql", "serve")
    interrupted.until("unpacking", FETCH_SECONDS)
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not list(unfetched.glob("root.new/usr/*")):
        assert time.monotonic() < deadline
        time.sleep(POLL_SECONDS)
    interrupted.process.kill()
    interrupted.process.wait()
    assert not (unfetched / "root").exists()

    commands.start("sql", "serve").until("the database answers", FETCH_SECONDS)

    assert sorted(path.name for path in unfetched.iterdir()) == ["lock", "root"]


def test_the_engine_is_for_every_account_to_read(unfetched: Path) -> None:
    """Its programs run, and any account may read and run them, but only their owner may change them."""
    require_mirror()
    found = engine.private(unfetched, print)
    told = subprocess.run([found.programs / "postgres", "--version"], capture_output=True, text=True, check=True)
    assert f"(PostgreSQL) {found.major}." in told.stdout
    for path in (unfetched / "root", found.programs, found.programs / "postgres"):
        assert path.stat().st_uid == os.geteuid()
        assert path.stat().st_mode & 0o777 == 0o755


def test_a_moved_engine_is_not_used(commands: Commands, unfetched: Path, folder: Path, free_port: int) -> None:
    """Its programs look for their libraries where it was made: elsewhere it is made anew."""
    require_mirror()
    engine.private(unfetched, print)
    shutil.copytree(unfetched, commands.home / "engine", symlinks=True, copy_function=os.link)
    sources = f"deb http://127.0.0.1:{free_port}/debian bookworm main\n"
    assert "apt-get update failed" in refusal(commands, **apt_environment(folder, sources))


@pytest.mark.parametrize("place", ["root/.profile", "root.old/x", "notes.txt"])
def test_the_files_of_others_are_left_alone(folder: Path, place: str) -> None:
    """A folder that has other things than an engine gets none, and nothing in it is replaced: think of `/`."""
    others = folder / "engine" / place
    others.parent.mkdir(parents=True)
    others.write_text("mine", encoding="utf-8")
    (folder / "engine" / "root").mkdir(exist_ok=True)
    with pytest.raises(EngineError, match=rf"^{folder}/engine has what is no part of an engine \(.*TIDEMARK_ENGINE"):
        engine.private(folder / "engine", print)
    assert others.read_text(encoding="utf-8") == "mine"
    assert not (folder / "engine" / "lock").exists()


def test_an_installed_engine_is_found(shared_engine: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """pg_config on the PATH leads to a server with TimescaleDB; where there is no server, it leads nowhere."""
    private = engine.private(shared_engine, print)
    monkeypatch.setenv("PATH", f"{private.programs}:{os.environ['PATH']}")
    found = engine.installed()
    assert found is not None
    assert found == private or found.major > private.major

    shutil.copy(private.programs / "pg_config", folder)
    monkeypatch.setenv("PATH", str(folder))
    without = engine.installed()
    assert without is None or without.programs != folder


def test_without_apt(commands: Commands, folder: Path) -> None:
    """A system without apt is told so."""
    assert "this system has no apt-get" in refusal(commands, PATH=str(folder))


def test_on_another_architecture(commands: Commands, folder: Path) -> None:
    """The line says which one it is, and which ones would do."""
    dpkg = folder / "dpkg"
    dpkg.write_text("#!/bin/sh\necho riscv64\n")
    dpkg.chmod(0o755)
    line = refusal(commands, PATH=f"{folder}:{os.environ['PATH']}")
    assert "its architecture is riscv64, not amd64 or arm64" in line


@pytest.mark.parametrize(
    ("module", "name", "missing"),
    [(debian, "KEYRINGS", "the package debian-archive-keyring"), (engine, "TIME_ZONES", "the package tzdata")],
)
def test_without_a_file_of_the_system(
    folder: Path, monkeypatch: pytest.MonkeyPatch, module: ModuleType, name: str, missing: str
) -> None:
    """The line names the package that has it."""
    absent = folder / "absent"
    monkeypatch.setattr(module, name, (absent,) if name == "KEYRINGS" else absent)
    with pytest.raises(EngineError, match=missing):
        engine.private(folder / "engine", print)


def test_without_a_debian_mirror(commands: Commands, folder: Path) -> None:
    """A system whose apt knows other archives only is told so, and those are not asked."""
    environment = apt_environment(folder, "deb http://127.0.0.1:9/ubuntu noble main universe\n")
    assert "apt's configuration names no Debian mirror" in refusal(commands, **environment)


def test_with_a_broken_apt_configuration(commands: Commands, folder: Path) -> None:
    """What apt says of its own configuration is passed on."""
    assert "asking apt for its mirrors failed: Malformed" in refusal(commands, **apt_environment(folder, "deb http\n"))


def test_with_a_mirror_that_does_not_answer(commands: Commands, folder: Path, free_port: int) -> None:
    """What apt says of its mirror is passed on, and the next attempt starts afresh."""
    environment = apt_environment(folder, f"deb http://127.0.0.1:{free_port}/debian bookworm main\n")
    for _ in range(2):
        line = refusal(commands, **environment)
        assert f"apt-get update failed: Failed to fetch http://127.0.0.1:{free_port}/debian/dists/trixie" in line
        assert "Connection refused" in line or "Could not connect" in line


def test_without_room(folder: Path) -> None:
    """A full disk is noticed before anything is fetched."""
    with pytest.raises(EngineError, match=rf"{folder} has \d+ MB free .* needs \d+ MB: make room"):
        engine.require_space(folder, shutil.disk_usage(folder).total * 2)
