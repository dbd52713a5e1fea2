"""The ground of the suite of faults: one database with fsync for all tests, a seed, and the figures of the run.

`TIDEMARK_FAULTS_SEED` repeats the random choices of a run, `TIDEMARK_FAULTS_ROUNDS` sets how many rounds strike with
everything at once, `TIDEMARK_FAULTS_PAUSE_SECONDS` how long the database is paused.
"""

from __future__ import annotations

import os
import random
import secrets
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.conftest import commands_in, open_folder
from tests.faults.ledger import Report
from tests.faults.processes import Server, quiet_port
from tests.faults.site import Ground, Site
from tests.small_disk import make_tablespace, small_disk

FAULTS_OF_OURS = (
    "because of a fault of ingest",
    "a part of ingest has ended",
    "a request failed unexpectedly",
    "acknowledged points are lost",
)
"""What ingest may not log, whatever strikes."""


@dataclass
class Figures:
    """What a run has found."""

    seed: str
    rounds: int = 0
    reports: list[Report] = field(default_factory=list)

    def line(self) -> str:
        """All of it in one line."""
        counts = {
            "acknowledged": sum(report.acknowledged for report in self.reports),
            "in damaged entries": sum(report.aside for report in self.reports),
            **{
                name: sum(len(getattr(report, name)) for report in self.reports)
                for name in ("lost", "doubled", "wrong", "foreign")
            },
        }
        found = ", ".join(f"{count:,} {name}" for name, count in counts.items())
        return f"points under faults: {found}; {self.rounds} rounds, seed {self.seed}"


FIGURES = pytest.StashKey[Figures]()


def pytest_configure(config: pytest.Config) -> None:
    """Choose the seed."""
    config.stash[FIGURES] = Figures(os.environ.get("TIDEMARK_FAULTS_SEED") or secrets.token_hex(4))


def pytest_report_header(config: pytest.Config) -> str:
    """Say the seed before anything fails."""
    return f"faults: TIDEMARK_FAULTS_SEED={config.stash[FIGURES].seed}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Tell of a failure at once: the long form goes on for long after it."""
    report = yield
    if report.failed:
        told = [report.longreprtext, *(text for name, text in report.sections if "faults" in name)]
        item.config.get_terminal_writer().line("\n".join(["", item.name, *told]))
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print the figures."""
    if config.stash[FIGURES].reports:
        terminalreporter.write_line(config.stash[FIGURES].line())


@pytest.fixture
def figures(pytestconfig: pytest.Config) -> Figures:
    """The figures of this run, to be added to."""
    return pytestconfig.stash[FIGURES]


@pytest.fixture
def chance(request: pytest.FixtureRequest, figures: Figures) -> random.Random:
    """What this test decides by: the same for the same seed, whichever other tests run."""
    request.node.add_report_section("setup", "faults", f"TIDEMARK_FAULTS_SEED={figures.seed}")
    return random.Random(f"{figures.seed} {request.node.name}")


@pytest.fixture(scope="session")
def ground(shared_engine: Path) -> Iterator[Ground]:
    """One database for all faults, with fsync."""
    with (
        open_folder() as folder,
        small_disk(folder / "small") as disk,
        small_disk(folder / "spools") as spool,
    ):
        server = Server(commands_in(folder, shared_engine, quiet_port()))
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
def struck(request: pytest.FixtureRequest, ground: Ground, chance: random.Random, figures: Figures) -> Struck:
    """`async with struck() as site:` runs a load while the body strikes; then everything must be as promised."""

    @asynccontextmanager
    async def strike(**options: bool) -> AsyncIterator[Site]:
        async with ground.site(chance, **options) as site:
            async with site.load.running():
                await site.random_moment()
                yield site
                await site.load.is_acknowledged(20)
            report = await site.judge()
            request.node.add_report_section("call", "faults", f"{report}\n{site.load.answers}")
            figures.reports.append(report)
            assert report.is_clean, report
            assert not site.load.unexpected, site.load.unexpected
            assert {text: site.ingest.logged(text) for text in FAULTS_OF_OURS} == dict.fromkeys(FAULTS_OF_OURS, 0)
            assert len(site.set_aside()) == (0 if site.ledger.is_mended else site.ledger.damaged_entries)

    return strike
