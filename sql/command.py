"""Running other programs: what they print is kept, and a failure is told in one line of it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from service.errors import TidemarkError
from sql.lifeline import ends_with_parent

MEANWHILE_SECONDS = 3.0

FAULTS = (re.compile("^E: "), re.compile("^W: "), re.compile("(FATAL|PANIC|ERROR|error):"))
"""What marks the line that tells the fault, most telling first: apt's errors and warnings, then PostgreSQL's."""


class CommandError(TidemarkError):
    """A program failed; the message is what was being done and the line in which the program said why."""


def run(
    doing: str,
    command: Sequence[str | os.PathLike[str]],
    *,
    text: str = "",
    identity: Mapping[str, Any] | None = None,
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
    meanwhile: Callable[[], None] | None = None,
) -> str:
    """Run `command` to its end with `text` as its input, and return what it printed on standard output.

    `doing` begins the message of the `CommandError` that a failure raises. `meanwhile` is called every few
    seconds; a program with one gets no input. The program ends when we do, and speaks plain English, so that
    its faults can be told apart.
    """
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        cwd=folder,
        env={**(os.environ if environment is None else environment), "LC_ALL": "C"},
        preexec_fn=ends_with_parent(signal.SIGKILL),
        **(identity or {}),
    ) as process:
        try:
            printed, complaints = _communicate(process, text, meanwhile)
        except BaseException:
            process.kill()
            raise
    if process.returncode != 0:
        raise CommandError(f"{doing} failed: {fault(complaints) or f'status {process.returncode}'}")
    return printed


def _communicate(process: subprocess.Popen[str], text: str, meanwhile: Callable[[], None] | None) -> tuple[str, str]:
    if meanwhile is None:
        return process.communicate(text)
    while True:
        try:
            return process.communicate(timeout=MEANWHILE_SECONDS)
        except subprocess.TimeoutExpired:
            meanwhile()


def fault(printed: str) -> str | None:
    """The line of `printed` that tells what went wrong; None when nothing was printed."""
    lines = [line.strip() for line in printed.splitlines() if line.strip()]
    for mark in FAULTS:
        for line in lines:
            if mark.search(line):
                return line.removeprefix("E: ").removeprefix("W: ")
    return lines[-1] if lines else None
