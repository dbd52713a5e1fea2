"""Programs of Debian 13 for tests: their packages unpacked once a machine, beside the embedded engine."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from sql import command, debian, lock
from tests.conftest import engine_folder


def unpacked(package: str) -> Path:
    """The folder that has a package's files; the test is skipped where Debian's packages cannot be had."""
    folder = engine_folder().parent / package
    root = folder / "root"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with lock.waited_for(folder / "lock"):
            if not root.exists():
                _unpack(package, folder, root)
    except (command.CommandError, debian.DebianError) as error:
        pytest.skip(f"Debian's {package} cannot be had here: {error}")
    return root


def _unpack(package: str, folder: Path, root: Path) -> None:
    with tempfile.TemporaryDirectory(dir=folder) as work:
        unfinished = Path(work) / "root"
        for deb in debian.fetch(debian.source(), [package], Path(work), print):
            command.run(f"unpacking {deb.name}", ["dpkg-deb", "--extract", deb, unfinished])
        unfinished.rename(root)
