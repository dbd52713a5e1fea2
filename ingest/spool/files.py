"""Files that outlast a loss of power once they are written, and are gone for good once they are removed."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

UNFINISHED = ".tmp"
BLOCK_BYTES = 4096


def write(path: Path, content: bytes) -> None:
    """Make a new file, which is there durably and whole when this returns; on an OSError it is not there at all."""
    unfinished = path.with_suffix(UNFINISHED)
    try:
        with unfinished.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        unfinished.rename(path)
        sync_folder(path.parent)
    except OSError:
        for leftover in (unfinished, path):
            with suppress(OSError):
                leftover.unlink(missing_ok=True)
        raise


def make_folder(folder: Path) -> None:
    """Make a folder durably, with those above it, for this account alone; none made already is changed."""
    if not folder.is_dir():
        make_folder(folder.parent)
        folder.mkdir(mode=0o700, exist_ok=True)
        sync_folder(folder.parent)


def sync_folder(folder: Path) -> None:
    """Make durable which names stand in `folder`."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def disk_bytes(size_bytes: int) -> int:
    """What a file of this size takes on disk, about: whole blocks."""
    return -(-size_bytes // BLOCK_BYTES) * BLOCK_BYTES
