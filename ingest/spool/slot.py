"""A slot: the folder of entries that one process writes, and the lock that says so.

    <folder>/<number>/lock                     flock, held for as long as the process lives
                      <20 digits>.batch        an entry; the digits are its sequence
                      <20 digits>.tmp          one that was never finished, so never acknowledged
                      quarantine/              entries set aside: .batch, and why in .reason

A slot that nobody holds is of a process that ended: the next one adopts it. No slot and no lock is ever removed.
"""

from __future__ import annotations

import fcntl
import os
from collections import OrderedDict
from collections.abc import Collection, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from ingest.spool import files
from ingest.spool.entry import FIRST_LINE_BYTES, Summary, peek

ENTRY = ".batch"
REASON = ".reason"
QUARANTINE = "quarantine"
FAR_US = 2**62
"""Further from the Unix epoch than any time."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One file of requests; its counts are what its first line says, zeros when that is damaged."""

    path: Path
    sequence: int
    size_bytes: int
    """On disk."""
    requests: int
    points: int
    received_us: int
    """Unix time of the receipt of its first request."""
    first_us: int
    last_us: int
    """The times of its earliest and its latest point; all times when the first line is damaged."""

    @classmethod
    def of(cls, path: Path, size_bytes: int, summary: Summary) -> Entry:
        """The entry in the file `path`, which has this summary."""
        return cls(path, int(path.stem), size_bytes, **asdict(summary))


@dataclass(frozen=True, slots=True)
class Contents:
    """What lies in a slot's folder."""

    entries: list[Entry]
    """In the order of their sequences."""
    quarantined: list[Entry]
    """Entries set aside, in the same order."""
    quarantined_bytes: int
    """Their reasons included."""


class Slot:
    """A slot whose lock this process holds."""

    def __init__(self, folder: Path, lock: int) -> None:
        self.folder = folder
        self._lock = lock
        for path in (*folder.glob("*" + files.UNFINISHED), *self.quarantine.glob("*" + files.UNFINISHED)):
            path.unlink()
        files.make_folder(self.quarantine)
        for changed in (folder.parent, folder, self.quarantine):
            files.sync_folder(changed)  # whoever had it before may have ended in mid-change
        found = contents(folder)
        self.entries = OrderedDict((entry.sequence, entry) for entry in found.entries)
        """An ordered one, whose head is found at once however many were removed before it."""
        self.quarantined_count = len(found.quarantined)
        self.quarantined_bytes = found.quarantined_bytes
        used = [*self.entries, *(entry.sequence for entry in found.quarantined)]
        self.next_sequence = max(used, default=0) + 1
        self._first_own = self.next_sequence

    @classmethod
    def claim(cls, folder: Path) -> Slot | None:
        """The slot of this folder, made if it is not there; None when another process holds it."""
        files.make_folder(folder)
        lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return cls(folder, lock)
        except BlockingIOError:
            os.close(lock)
            return None
        except OSError:
            os.close(lock)
            raise

    @property
    def quarantine(self) -> Path:
        """The folder of what is set aside."""
        return self.folder / QUARANTINE

    @property
    def is_empty(self) -> bool:
        """Whether it has neither entries nor anything set aside."""
        return not self.entries and not self.quarantined_count

    def take_sequence(self) -> int:
        """A number for a new entry; none is ever given twice, so that no entry replaces another."""
        self.next_sequence += 1
        return self.next_sequence - 1

    def head(self, passed_over: Collection[Path] = ()) -> Entry | None:
        """The first entry, but for those at these paths."""
        return next((entry for entry in self.entries.values() if entry.path not in passed_over), None)

    def is_inherited(self, entry: Entry) -> bool:
        """Whether it was there when the slot was claimed."""
        return entry.sequence < self._first_own

    def release(self) -> None:
        """Let another process have it."""
        os.close(self._lock)


def folders(root: Path) -> list[Path]:
    """The slots there are, by number."""
    found = [path for path in root.iterdir() if path.name.isdecimal() and path.is_dir()] if root.is_dir() else []
    return sorted(found, key=lambda path: int(path.name))


def contents(folder: Path) -> Contents:
    """What lies in a slot, whoever holds it; what is removed meanwhile may be missing."""
    quarantined = list(_entries(folder / QUARANTINE))
    reasons = sum(files.disk_bytes(path.stat().st_size) for path in (folder / QUARANTINE).glob("*" + REASON))
    return Contents(
        sorted(_entries(folder), key=lambda entry: entry.sequence),
        sorted(quarantined, key=lambda entry: entry.sequence),
        reasons + sum(entry.size_bytes for entry in quarantined),
    )


def _entries(folder: Path) -> Iterator[Entry]:
    for path in folder.glob("*" + ENTRY):
        if not path.stem.isdecimal():
            continue
        try:
            with path.open("rb") as file:
                summary = peek(file.read(FIRST_LINE_BYTES))
                status = os.fstat(file.fileno())
        except FileNotFoundError:
            continue
        size_bytes = files.disk_bytes(status.st_size)
        unreadable = Summary(0, 0, status.st_mtime_ns // 1000, -FAR_US, FAR_US)
        yield Entry.of(path, size_bytes, summary or unreadable)
