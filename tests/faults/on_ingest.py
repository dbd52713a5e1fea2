"""Faults that strike the process of ingest."""

from __future__ import annotations

import asyncio
import resource
import signal
import socket
from contextlib import ExitStack, suppress

import psutil
import psycopg

from tests.conftest import open_folder
from tests.faults.site import Site, Strike

HOUR_SECONDS = 3600
SPARE_FILES = 2
CONNECTIONS = 40


async def killed(site: Site) -> None:
    """kill -9, and a new start."""
    await site.ingest.stop(signal.SIGKILL)
    await site.ingest.start()


async def terminated(site: Site) -> None:
    """SIGTERM, an end in order, and a new start."""
    status = await site.ingest.stop(signal.SIGTERM)
    assert status == 0, site.ingest.running.text()
    await site.ingest.start()


async def out_of_files(site: Site) -> None:
    """Hardly a file descriptor is left, while many connect, and the database's connections are lost."""
    pid = site.ingest.running.process.pid
    limits = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (psutil.Process(pid).num_fds() + SPARE_FILES, limits[1]))
    try:
        with ExitStack() as connections:
            for _ in range(CONNECTIONS):
                connections.enter_context(_connection(site.ingest.port))
            with suppress(psycopg.OperationalError):  # away already, struck by another fault
                await asyncio.to_thread(site.disconnect)
            await site.load.suffers(site.chance.randint(1, 20))
    finally:
        resource.prlimit(pid, resource.RLIMIT_NOFILE, limits)


def _connection(port: int) -> socket.socket:
    """A connection that is on its way at least: nobody may be there to take it."""
    client = socket.socket()
    client.setblocking(False)
    client.connect_ex(("127.0.0.1", port))
    return client


async def clock_stepped_back(site: Site) -> None:
    """The time of day goes back by an hour or more under load, and forth again."""
    with open_folder() as folder:
        offset = folder / "offset"
        offset.write_text("0", encoding="ascii")
        await site.ingest.stop(signal.SIGTERM)
        await site.ingest.start("tests.faults.stepped", str(offset))
        await site.random_moment()
        for seconds in (-HOUR_SECONDS * site.chance.randint(1, 48), 0):
            step = folder / "step"
            step.write_text(str(seconds), encoding="ascii")
            step.replace(offset)
            await site.random_moment()
        await site.ingest.stop(signal.SIGTERM)
        await site.ingest.start()


FAULTS: list[Strike] = [killed, terminated, out_of_files, clock_stepped_back]
