"""The seed and the figures of a run of the faults; of a run by several workers as well, each of which is told the seed.

The figures travel with the tests' reports, as properties of theirs.
"""

from __future__ import annotations

import os
import secrets
from collections import Counter
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

import pytest

from tests.faults.ledger import Report

if TYPE_CHECKING:
    from xdist.workermanage import WorkerController

SEED = pytest.StashKey[str]()
FOUND = "faults"
"""The name of the properties."""
KINDS = ("lost", "doubled", "wrong", "foreign")


def choose_seed(config: pytest.Config) -> str:
    """The seed that a worker was told, or that is set, or a new one."""
    told: dict[str, str] = getattr(config, "workerinput", {})
    return told.get("faults_seed") or os.environ.get("TIDEMARK_FAULTS_SEED") or secrets.token_hex(4)


class Figures:
    """What a run has found, told in the end, and failures at once: the long form goes on for long after one."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._counts: Counter[str] = Counter()

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: WorkerController) -> None:
        """Tell a worker the seed."""
        node.workerinput["faults_seed"] = self._config.stash[SEED]

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Add up what a test has found, and show what is said of its failure."""
        if not PurePosixPath(report.nodeid.partition("::")[0]).is_relative_to("tests/faults"):
            return
        if report.failed:
            told = [report.longreprtext, *(text for name, text in report.sections if FOUND in name)]
            self._config.get_terminal_writer().line("\n".join(["", report.nodeid, *told]))
        if report.when == "call":
            for name, counts in report.user_properties:
                if name == FOUND and isinstance(counts, dict):
                    self._counts.update(counts)

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Print the figures."""
        if self._counts:
            counts = {name: self._counts[name] for name in ("acknowledged", "in damaged entries", *KINDS)}
            found = ", ".join(f"{count:,} {name}" for name, count in counts.items())
            rounds, seed = self._counts["rounds"], self._config.stash[SEED]
            terminalreporter.write_line(f"points under faults: {found}; {rounds} rounds, seed {seed}")


def add(item: pytest.Item, report: Report) -> None:
    """Let what a load has met count among the figures."""
    counts = {"acknowledged": report.acknowledged, "in damaged entries": report.aside}
    counts |= {kind: len(getattr(report, kind)) for kind in KINDS}
    item.user_properties.append((FOUND, counts))


def add_round(item: pytest.Item) -> None:
    """One more round of everything at once is over."""
    item.user_properties.append((FOUND, {"rounds": 1}))
