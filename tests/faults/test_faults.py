"""Whatever strikes, and whenever: what was acknowledged is stored, once, with its value."""

from __future__ import annotations

import asyncio
import signal

import pytest

from tests.faults import on_database, on_ingest, on_network, on_spool
from tests.faults.conftest import Struck
from tests.faults.load import until
from tests.faults.site import Ground, Strike


def named(strike: Strike) -> str:
    """The fault's name, for the test's."""
    return strike.__name__


@pytest.mark.parametrize("strike", on_ingest.FAULTS, ids=named)
async def test_ingest(struck: Struck, strike: Strike) -> None:
    """A fault of ingest's process."""
    async with struck() as site:
        await strike(site)


@pytest.mark.parametrize("strike", on_database.FAULTS, ids=named)
async def test_database(struck: Struck, strike: Strike) -> None:
    """A fault of the database."""
    async with struck() as site:
        await strike(site)


async def test_database_on_a_full_disk(struck: Struck, ground: Ground) -> None:
    """The disk that holds the database's tables is full for a while."""
    if ground.small_disk is None:
        pytest.skip("nothing may be mounted here")
    async with struck(on_small_disk=True) as site:
        await on_database.disk_full(site)


async def test_ingest_and_database_at_once(struck: Struck) -> None:
    """kill -9 of both at the same moment, and a start of both."""
    async with struck() as site:
        await asyncio.gather(site.ingest.stop(signal.SIGKILL), asyncio.to_thread(site.server.stop, signal.SIGKILL))
        await asyncio.gather(site.ingest.start(), asyncio.to_thread(site.server.start))


@pytest.mark.parametrize("strike", on_spool.WITH_A_START, ids=named)
async def test_spool(struck: Struck, strike: Strike) -> None:
    """A fault of the spool."""
    async with struck(relayed=True) as site:
        await strike(site)
        await site.random_moment()


async def test_spool_on_a_full_disk(struck: Struck, ground: Ground) -> None:
    """The disk that holds the spool is full for a while."""
    if ground.small_spool is None:
        pytest.skip("nothing may be mounted here")
    async with struck(relayed=True, on_small_spool=True) as site:
        await on_spool.full_disk(site)
        assert site.load.answers["503"]


async def test_spool_that_is_mended(struck: Struck) -> None:
    """A flipped byte costs one entry, which is set aside; put right, it is written beside the ingest that runs."""
    async with struck(relayed=True) as site:
        name, content = await on_spool.flip_a_byte(site)
        await until(lambda: site.ingest.logged("acknowledged points were set aside") == 1)
        (aside,) = site.set_aside()
        assert aside.name == name
        aside.write_bytes(content)
        done = await asyncio.to_thread(site.ingest.run, "spool", "replay", "--quarantined")
        assert done.returncode == 0, done.stderr
        assert "1 entries that were set aside are tried again" in done.stdout
        site.ledger.is_mended = True


@pytest.mark.parametrize("strike", [*on_network.FRONT, *on_network.BACK], ids=named)
async def test_network(struck: Struck, strike: Strike) -> None:
    """A fault of the network, before or behind ingest."""
    async with struck(relayed=True) as site:
        await strike(site)
