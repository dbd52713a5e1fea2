"""Locks between processes: `flock` on a file that holds the owner's process id, released however it ends."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from service.errors import TidemarkError


class AlreadyRunningError(TidemarkError):
    """Another process holds the lock; the message names its process id."""


@contextmanager
def held(path: Path, what: str) -> Iterator[None]:
    """Hold the lock at `path`; raises `AlreadyRunningError` at once when another process holds it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise AlreadyRunningError(f"{what} is already running (pid {file.read().strip()})") from None
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield


@contextmanager
def waited_for(path: Path) -> Iterator[None]:
    """Hold the lock at `path`, after waiting for whoever holds it now."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
