"""Requests to keep."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import pytest

from ingest.spool.entry import Request
from ingest.spool.store import Store

ROOMY_BYTES = 1 << 30


class Make(Protocol):
    """Makes a request."""

    def __call__(self, number: int, size_bytes: int = ...) -> Request:
        """One that tells itself from all others by its number."""


@pytest.fixture
def make() -> Make:
    """Requests by number, received a second apart."""

    def request(number: int, size_bytes: int = 40) -> Request:
        line = f"cpu,host=web-{number} usage={number}\n".encode()
        body = (line * (size_bytes // len(line) + 1))[:size_bytes]
        received_us = 1_800_000_000_000_000 + number * 1_000_000
        return Request("influx", 1, received_us, received_us - 10, received_us + 10, number % 7 + 1, body)

    return request


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The spool's folder, not made yet."""
    return tmp_path / "var" / "spool"


@pytest.fixture
def store(folder: Path) -> Iterator[Store]:
    """A roomy store."""
    with Store(folder, max_bytes=ROOMY_BYTES) as opened:
        yield opened


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of one mebibyte."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("mounting a small disk is not permitted here")
    yield disk
    subprocess.run(["umount", disk], check=True)
