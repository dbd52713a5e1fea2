"""A real Redis: the system's, else Debian's, fetched once a machine and run by the C library of the private engine."""

from __future__ import annotations

import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest

from sql import command, debian, lock
from tests.conftest import DEADLINE_SECONDS, POLL_SECONDS, engine_folder
from tests.workers import port_nobody_has

PACKAGES = ("redis-tools", "libjemalloc2", "liblzf1", "libatomic1")
"""Of Debian 13; what else the program needs is in the engine."""


@dataclass
class RedisServer:
    """A server on the loopback interface, without a disk, that can be frozen and stopped."""

    program: list[str]
    port: int = field(default_factory=port_nobody_has)
    _process: subprocess.Popen[bytes] = field(init=False)

    @property
    def url(self) -> str:
        """Its address."""
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Start it, and wait until it answers."""
        options = ["--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        self._process = subprocess.Popen(
            [*self.program, *options, "--dir", tempfile.gettempdir()], stdout=subprocess.DEVNULL
        )
        deadline = time.monotonic() + DEADLINE_SECONDS
        while not self._answers():
            assert self._process.poll() is None, "Redis ended by itself"
            assert time.monotonic() < deadline
            time.sleep(POLL_SECONDS)

    def freeze(self) -> None:
        """Let it answer nobody, and refuse nobody."""
        psutil.Process(self._process.pid).suspend()

    def thaw(self) -> None:
        """Let it go on."""
        psutil.Process(self._process.pid).resume()

    def stop(self) -> None:
        """End it."""
        self._process.kill()
        self._process.wait()

    def _answers(self) -> bool:
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
            connection.sendall(b"PING\r\n")
            return connection.recv(16).startswith(b"+PONG")
        return False


@contextmanager
def redis_server() -> Iterator[RedisServer]:
    """A server, until the end of the block; the test is skipped where there can be none."""
    server = RedisServer(_program())
    server.start()
    try:
        yield server
    finally:
        server.stop()


def _program() -> list[str]:
    if installed := shutil.which("redis-server"):
        return [installed]
    engine = engine_folder() / "root"
    loaders = sorted(engine.glob("usr/lib/*-linux-gnu/ld-linux*.so.*"))
    if not loaders:
        pytest.skip("no redis-server is installed, and there is no private engine whose C library could run Debian's")
    folder = engine_folder().parent / "redis"
    try:
        _fetch(folder)
    except (debian.DebianError, command.CommandError) as error:
        pytest.skip(f"no redis-server is installed, and Debian's cannot be fetched: {error}")
    libraries = folder / "root" / loaders[0].parent.relative_to(engine)
    # Debian's program is redis-check-rdb unless it is called by its other name.
    return [
        *(str(loaders[0]), "--library-path", f"{libraries}:{loaders[0].parent}", "--argv0", "redis-server"),
        str(folder / "root/usr/bin/redis-check-rdb"),
    ]


def _fetch(folder: Path) -> None:
    """Unpack the packages in `folder`, unless that has been done."""
    folder.mkdir(parents=True, exist_ok=True)
    root = folder / "root"
    with lock.waited_for(folder / "lock"):
        if root.exists():
            return
        with tempfile.TemporaryDirectory(dir=folder) as work:
            unpacked = Path(work) / "root"
            for deb in debian.fetch(debian.source(), PACKAGES, Path(work), print):
                command.run(f"unpacking {deb.name}", ["dpkg-deb", "--extract", deb, unpacked])
            unpacked.rename(root)
