"""How the Makefile sets .venv up, by make, venv and pip themselves: lists of nothing to install need no network."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import DEADLINE_SECONDS, ROOT

NEEDS = "installing what Tidemark needs into .venv\n"
CHECKS = "installing what its checks need into .venv\n"
OF_MAKE = {"MAKEFLAGS", "MAKELEVEL", "MAKEOVERRIDES", "MFLAGS"}
"""What a make, which may be running these tests, tells those that it runs."""


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A folder with the Makefile, and with a space in its name."""
    folder = tmp_path / "a clone"
    folder.mkdir()
    shutil.copy(ROOT / "Makefile", folder)
    for name in ("requirements.lock", "requirements-dev.lock"):
        (folder / name).touch()
    return folder


def make(clone: Path, target: str) -> subprocess.Popen[str]:
    """Make a target, with all that is printed on standard output."""
    return subprocess.Popen(
        ["make", f"PYTHON={sys.executable}", target],
        cwd=clone,
        env={name: value for name, value in os.environ.items() if name not in OF_MAKE},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def printed(running: subprocess.Popen[str], status: int = 0) -> str:
    """What it printed until it ended with that status."""
    text, _ = running.communicate(timeout=DEADLINE_SECONDS)
    assert running.returncode == status, text
    return text


def test_two_at_once(clone: Path) -> None:
    """As `make up` and `make test` in a new clone: each has what it needs in the end, and it was installed once."""
    both = [make(clone, ".venv/runtime.stamp"), make(clone, ".venv/dev.stamp")]
    text = "".join([printed(running) for running in both])
    assert (text.count(NEEDS), text.count(CHECKS)) == (1, 1)
    assert "up to date" in printed(make(clone, ".venv/dev.stamp"))


def test_what_failed_is_made_anew(clone: Path) -> None:
    """A list that cannot be installed fails, and counts as not installed until it could be."""
    lock = clone / "requirements.lock"
    lock.write_text("none-such @ file:///nowhere/none_such-1-py3-none-any.whl --hash=sha256:" + 64 * "0" + "\n")
    for _ in range(2):
        assert NEEDS in printed(make(clone, ".venv/runtime.stamp"), status=2)
    lock.write_text("")
    assert NEEDS in printed(make(clone, ".venv/runtime.stamp"))
    assert "up to date" in printed(make(clone, ".venv/runtime.stamp"))


def test_a_list_that_changed_is_installed(clone: Path) -> None:
    """By whoever needs it next, and what is built on it again."""
    printed(make(clone, ".venv/dev.stamp"))
    (clone / "requirements.lock").touch()
    for made in (clone / "requirements-dev.lock", *clone.glob(".venv/*.stamp")):
        os.utime(made, (0, 0))  # clocks of files are coarse
    assert printed(make(clone, ".venv/dev.stamp")).endswith(NEEDS + CHECKS)


def test_a_python_that_cannot_do(clone: Path) -> None:
    """It is named, and nothing is left."""
    running = subprocess.run(
        ["make", "PYTHON=none-such", ".venv/runtime.stamp"], cwd=clone, capture_output=True, text=True, check=False
    )
    assert running.returncode == 2
    assert running.stderr.startswith("there is no none-such: install Python 3.11 or later, or name one with PYTHON=\n")
    assert not (clone / ".venv").exists()
