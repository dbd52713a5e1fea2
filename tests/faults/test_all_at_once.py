"""Several faults strike one load at the same time, round after round."""

from __future__ import annotations

import asyncio
import os
from random import Random

import pytest

from tests.faults import figures, on_database, on_ingest, on_network, on_spool
from tests.faults.conftest import Struck
from tests.faults.site import Ground, Site, Strike

ROUNDS = int(os.environ.get("TIDEMARK_FAULTS_ROUNDS", "2"))


@pytest.mark.parametrize("number", range(ROUNDS))
async def test_round(
    request: pytest.FixtureRequest, struck: Struck, ground: Ground, chance: Random, number: int
) -> None:
    """Faults of two places at least strike together, those of one place one after the other."""
    has_small_disks = ground.small_disk is not None and ground.small_spool is not None
    database = [*on_database.FAULTS, on_database.disk_full] if has_small_disks else on_database.FAULTS
    ingest = [*on_ingest.FAULTS, *on_spool.WITH_A_START]
    spool: list[list[Strike]] = [[on_spool.full_disk]] if has_small_disks else []
    places = [ingest, database, on_network.FRONT, on_network.BACK, *spool]
    chosen = [
        chance.sample(faults, chance.randint(1, min(2, len(faults))))
        for faults in chance.sample(places, chance.randint(2, len(places)))
    ]
    names = [[strike.__name__ for strike in faults] for faults in chosen]
    request.node.add_report_section("setup", "faults", f"together: {names}")
    disks = {"on_small_disk": has_small_disks, "on_small_spool": has_small_disks}
    async with struck(relayed=True, **disks) as site, asyncio.TaskGroup() as group:
        for faults in chosen:
            group.create_task(_one_after_the_other(site, faults))
    figures.add_round(request.node)


async def _one_after_the_other(site: Site, faults: list[Strike]) -> None:
    for strike in faults:
        await site.random_moment()
        await strike(site)
