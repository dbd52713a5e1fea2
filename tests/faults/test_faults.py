"""Whatever strikes, and whenever: what was acknowledged is stored, once, with its value."""

from __future__ import annotations

import pytest

from tests.faults import on_database, on_ingest, on_network
from tests.faults.conftest import Struck
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


@pytest.mark.parametrize("strike", [*on_network.FRONT, *on_network.BACK], ids=named)
async def test_network(struck: Struck, strike: Strike) -> None:
    """A fault of the network, before or behind ingest."""
    async with struck(relayed=True) as site:
        await strike(site)
