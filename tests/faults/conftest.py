"""The ground of the suite of faults: one database with fsync for all tests, a seed, and the figures of the run.

`TIDEMARK_FAULTS_SEED` repeats the random choices of a run, `TIDEMARK_FAULTS_ROUNDS` sets how many rounds strike with
everything at once, `TIDEMARK_FAULTS_PAUSE_SECONDS` how long the database is paused.
"""

from __future__ import annotations

import os
import random
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest

from tests.conftest import commands_in, open_folder
from tests.faults import figures
from tests.faults.processes import Server
from tests.faults.site import Ground, Site
from tests.small_disk import make_tablespace, small_disk
from tests.workers import port_nobody_has

FAULTS_OF_OURS = (
    "because of a fault of ingest",
    "a part of ingest has ended",
    "a request failed unexpectedly",
    "acknowledged points are lost",
)
"""What ingest may not log, whatever strikes."""


def pytest_configure(config: pytest.Config) -> None:
    """Choose the seed."""
    config.stash[figures.SEED] = figures.choose_seed(config)
    if not hasattr(config, "workerinput"):  # a worker has nobody to tell
        config.pluginmanager.register(figures.Figures(config))


def pytest_report_header(config: pytest.Config) -> str:
    """Say the seed before anything fails."""
    return f"faults: TIDEMARK_FAULTS_SEED={config.stash[figures.SEED]}"


@pytest.fixture
def chance(request: pytest.FixtureRequest) -> random.Random:
    """What this test decides by: the same for the same seed, whichever other tests run."""
    seed = request.config.stash[figures.SEED]
    request.node.add_report_section("setup", figures.FOUND, f"TIDEMARK_FAULTS_SEED={seed}")
    return random.Random(f"{seed} {request.node.name}")


@pytest.fixture(scope="session")
def ground(shared_engine: Path) -> Iterator[Ground]:
    """One database for all faults, with fsync."""
    with (
        open_folder() as folder,
        small_disk(folder / "small") as disk,
        small_disk(folder / "spools") as spool,
    ):
        server = Server(commands_in(folder, shared_engine, port_nobody_has()))
        try:
            server.start()
            server.make_template()
            if disk is not None:
                with server.connect() as owner:
                    make_tablespace(owner, "small", disk)
            yield Ground(server, disk, spool, float(os.environ.get("TIDEMARK_FAULTS_PAUSE_SECONDS", "8")))
        finally:
            server.close()


Struck = Callable[..., AbstractAsyncContextManager[Site]]


@pytest.fixture
def struck(request: pytest.FixtureRequest, ground: Ground, chance: random.Random) -> Struck:
    """`async with struck() as site:` runs a load while the body strikes; then everything must be as promised."""

    @asynccontextmanager
    async def strike(**options: bool) -> AsyncIterator[Site]:
        async with ground.site(chance, **options) as site:
            async with site.load.running():
                await site.random_moment()
                yield site
                await site.load.is_acknowledged(20)
            report = await site.judge()
            request.node.add_report_section("call", figures.FOUND, f"{report}\n{site.load.answers}")
            figures.add(request.node, report)
            assert report.is_clean, report
            assert not site.load.unexpected, site.load.unexpected
            assert {text: site.ingest.logged(text) for text in FAULTS_OF_OURS} == dict.fromkeys(FAULTS_OF_OURS, 0)
            assert len(site.set_aside()) == (0 if site.ledger.is_mended else site.ledger.damaged_entries)

    return strike
