"""How the tests are shared out among the workers of pytest-xdist (`pytest -n 2`), and what each has to itself.

A worker is a process with folders, ports and a server of its own, unless DATABASE_URL names one: then with databases.
"""

from __future__ import annotations

import os
import random
import socket
from collections.abc import Iterator
from contextlib import suppress
from itertools import chain, cycle
from pathlib import PurePosixPath

from xdist.scheduler import LoadScopeScheduling

TOGETHER = (
    "tests/acceptance/page",  # installs a browser where there is none
    "tests/community",  # starts a server in WebAssembly
    "tests/faults",  # starts a server with fsync
    "tests/integration/grafana",  # logs in as one account, whose password it changes
)
"""Folders whose tests share what is dear to start, or what may be one for all workers: one of them runs all."""

PORTS = range(20_000, 32_000)
"""Below those that Linux gives to connections: a port that is left for a while is not taken meanwhile."""


class ByFile(LoadScopeScheduling):  # type: ignore[misc] # xdist has no types
    """Gives the tests of a file, or of a folder of `TOGETHER`, to one worker, in the order of `testpaths`."""

    def _split_scope(self, nodeid: str) -> str:
        file = PurePosixPath(nodeid.partition("::")[0])
        return next((folder for folder in TOGETHER if file.is_relative_to(folder)), str(file))


def _own_ports() -> Iterator[int]:
    """The ports of this worker, again and again, from any on: another run may be under way beside this one."""
    number = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    ports = PORTS[number :: int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))]
    begin = random.randrange(len(ports))
    return cycle(chain(ports[begin:], ports[:begin]))


_ports = _own_ports()


def port_nobody_has() -> int:
    """A port of the loopback interface that nobody listens on, and that no other test is given soon."""
    for _ in PORTS:
        port = next(_ports)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise AssertionError(f"no port of {PORTS} is free")
