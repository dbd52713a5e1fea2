"""A disk that is soon full: where root may mount one, and a tablespace on it."""

from __future__ import annotations

import errno
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from psycopg import sql

SMALL_DISK_BYTES = 128 * 1024 * 1024
PIECE_BYTES = 64 * 1024


@contextmanager
def small_disk(place: Path) -> Iterator[Path | None]:
    """A file system of `SMALL_DISK_BYTES`, mounted at `place`, which is made; None where nothing may be mounted."""
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={SMALL_DISK_BYTES}", "tmpfs", str(place)]
    if os.geteuid() != 0 or subprocess.run(mount, check=False, capture_output=True).returncode != 0:
        yield None
        return
    try:
        yield place
    finally:
        subprocess.run(["umount", place], check=True)


def make_tablespace(owner: psycopg.Connection, name: str, disk: Path) -> None:
    """Make a tablespace on `disk`, of the account that the server's data belongs to; the server is on this machine."""
    (data,) = owner.execute("SHOW data_directory").fetchone() or ("",)
    account = Path(data).stat()
    folder = disk / "tablespace"
    folder.mkdir(mode=0o700)
    os.chown(folder, account.st_uid, account.st_gid)
    place = sql.Literal(str(folder))
    owner.execute(sql.SQL("CREATE TABLESPACE {} LOCATION {}").format(sql.Identifier(name), place))


def fill(file: Path) -> None:
    """Write until there is no room any more on the disk of `file`."""
    piece = bytes(PIECE_BYTES)
    with file.open("wb", buffering=0) as stream:
        while True:
            try:
                stream.write(piece)
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise
                return
