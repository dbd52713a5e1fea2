"""Ends what a killed run of an embedded database may have left: PostgreSQL's processes and its lock file."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

import psutil

from service.errors import TidemarkError

END_SECONDS = 60


class LeftoverError(TidemarkError):
    """A process of an earlier run does not end; the message names it."""


def end_leftovers(data: Path, say: Callable[[str], None]) -> None:
    """End the processes of an earlier run that work in the folder `data`, of which we have the sole use."""
    leftovers = processes(data)
    if not leftovers:
        # Of a killed postmaster its number is left, which by now may be that of any other process.
        (data / "postmaster.pid").unlink(missing_ok=True)
        return
    say("ending what an earlier run of the database left")
    leader = _leader(data)
    leaders = [process for process in leftovers if process.pid == leader]
    for process in leaders or leftovers:
        # A postmaster ends its own; a backend without a postmaster is of no use to anybody.
        process.send_signal(signal.SIGINT if leaders else signal.SIGQUIT)
    _, alive = psutil.wait_procs(leftovers, timeout=END_SECONDS)
    if alive:
        raise LeftoverError(f"process {alive[0].pid} of an earlier run still works in {data} and does not end")


def processes(data: Path) -> list[psutil.Process]:
    """PostgreSQL's processes that work in `data`: each of them stays in its data folder."""
    return [
        process
        for process in psutil.process_iter(["name", "cwd"])
        if process.info["name"] == "postgres" and process.info["cwd"] == str(data)
    ]


def _leader(data: Path) -> int | None:
    try:
        return int((data / "postmaster.pid").read_text(encoding="ascii").split()[0])
    except (OSError, ValueError, IndexError):
        return None
