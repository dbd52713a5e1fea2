"""Faults that strike the database."""

from __future__ import annotations

import asyncio
import signal
import time
from contextlib import ExitStack
from urllib.parse import urlsplit

import psycopg
from psycopg import sql

from tests.conftest import DEADLINE_SECONDS
from tests.faults.site import Site, Strike
from tests.small_disk import fill

TERMINATE_COPY = """
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE datname = %s AND application_name = 'tidemark ingest' AND state = 'active' AND starts_with(query, 'COPY')
"""
TIMES_FULL = 1000
FULL = ("too many clients already", "remaining connection slots are reserved")


async def postmaster_killed(site: Site) -> None:
    """kill -9 of the postmaster."""
    await _restarted(site, signal.SIGKILL)


async def immediate_restart(site: Site) -> None:
    """An immediate stop, as of a host that goes down, and a start with recovery."""
    await _restarted(site, signal.SIGQUIT)


async def fast_restart(site: Site) -> None:
    """A fast stop, which disconnects everybody, and a start."""
    await _restarted(site, signal.SIGINT)


async def _restarted(site: Site, number: signal.Signals) -> None:
    try:
        await asyncio.to_thread(site.server.stop, number)
        await _suffering(site)
    finally:
        await asyncio.to_thread(site.server.start)


async def paused(site: Site) -> None:
    """None of its processes runs for a while."""
    try:
        await asyncio.to_thread(site.server.pause)
        await asyncio.sleep(site.pause_seconds)
    finally:
        await asyncio.to_thread(site.server.resume)


async def terminated_in_copy(site: Site) -> None:
    """Backends are terminated while they are at a COPY."""
    for _ in range(site.chance.randint(1, 4)):
        await asyncio.to_thread(_terminate_a_copy, site)


def _terminate_a_copy(site: Site) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    with site.server.connect() as owner:
        while not owner.execute(TERMINATE_COPY, [site.database]).fetchall():
            assert time.monotonic() < deadline, "no COPY was seen"


async def no_connection_left(site: Site) -> None:
    """Others have all connections that the server allows, and ingest has lost its own."""
    with ExitStack() as connections:
        await asyncio.to_thread(_take_all, site, connections)
        await _suffering(site)


def _take_all(site: Site, connections: ExitStack) -> None:
    url = site.server.url("query", site.database)
    for _ in range(TIMES_FULL):
        try:
            connections.enter_context(psycopg.connect(url))
        except psycopg.OperationalError as error:
            if not any(text in str(error) for text in FULL):
                raise
            if not site.disconnect():
                return
    raise AssertionError("ingest always gets a connection")


async def password_changed(site: Site) -> None:
    """The role's password is another one for a while."""
    role = urlsplit(site.server.url("ingest", site.database))
    change = sql.SQL("ALTER ROLE {} PASSWORD {}")
    with site.connect() as owner:
        owner.execute(change.format(sql.Identifier(role.username or ""), "another"))
        try:
            await asyncio.to_thread(site.disconnect)
            await _suffering(site)
        finally:
            owner.execute(change.format(sql.Identifier(role.username or ""), role.password))


async def read_only(site: Site) -> None:
    """Transactions are read-only by default for a while, those of sessions that there are as well."""
    with site.connect() as owner:
        owner.execute("ALTER SYSTEM SET default_transaction_read_only = on")
        owner.execute("SELECT pg_reload_conf()")
        try:
            await _suffering(site)
        finally:
            owner.execute("ALTER SYSTEM RESET default_transaction_read_only")
            owner.execute("SELECT pg_reload_conf()")


async def disk_full(site: Site) -> None:
    """Something else takes what is left of the disk for a while."""
    assert site.small_disk is not None
    ballast = site.small_disk / "ballast"
    try:
        await asyncio.to_thread(fill, ballast)
        await _suffering(site)
    finally:
        ballast.unlink()


async def _suffering(site: Site) -> None:
    await site.load.suffers(site.chance.randint(1, 8))


FAULTS: list[Strike] = [
    postmaster_killed,
    immediate_restart,
    fast_restart,
    paused,
    terminated_in_copy,
    no_connection_left,
    password_changed,
    read_only,
]
