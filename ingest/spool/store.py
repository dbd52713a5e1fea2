"""The store: entries on disk, their order, their bounds and their counts. Blocking; for threads.

1. `append` packs requests into a new entry of the process's own slot. When it returns they are durable, and may be
   acknowledged; when it raises, nothing is kept.
2. `oldest` is the next one to replay: first what was there when its slot was claimed, then what came since, each slot
   in its own order.
3. An entry whose requests are all in the database is removed; one that cannot be read is set aside. Both are
   durable: an entry that came back after a loss of power could overwrite corrections made since.

Counts are kept, not scanned, so what people change in the folders while the process runs is seen at its next start.
"""

from __future__ import annotations

import errno
import itertools
import tempfile
import threading
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from ingest.spool import files
from ingest.spool.entry import Request, Summary, pack, unpack
from ingest.spool.errors import CorruptEntry, SpoolFull, SpoolLost, told
from ingest.spool.slot import ENTRY, FAR_US, REASON, Contents, Entry, Slot, contents, folders
from service import logs
from service.settings import MEBIBYTES

log = logs.get(__name__)

NO_TIMES = FAR_US, -FAR_US
"""From and to, where there is no point."""


@dataclass(frozen=True, slots=True)
class Totals:
    """What the slots that this process holds have in them."""

    bytes: int
    """Of entries, on disk."""
    entries: int
    points: int
    oldest_us: int | None
    """Unix time at which the oldest entry's first request was received; None without entries."""
    quarantined_bytes: int
    quarantined_entries: int


class Store:
    """The slots that this process holds; any thread may use it."""

    def __init__(self, folder: Path, *, max_bytes: int, max_entry_bytes: int = 64 * MEBIBYTES) -> None:
        """Claim the first free slot in `folder`, and adopt those of processes that ended.

        `max_bytes` bounds what they hold on disk together, what is set aside included; `max_entry_bytes` what one
        entry holds before it is compressed. Raises `SpoolFailed` where the folder cannot be used.
        """
        self._folder = folder
        self._max_bytes = max_bytes
        self.max_entry_bytes = max_entry_bytes
        self._books = threading.Lock()
        """Of what the slots say they hold; never held while the disk is at work."""
        self._appending = threading.Lock()
        """Held while an entry is made, so that they follow one another in their order."""
        self._bytes = self._points = 0
        self._first_us, self._last_us = NO_TIMES
        """All points of the entries lie between these."""
        self._is_narrower = False
        """Whether these may be further apart than they need be, since an entry at their edge is gone."""
        self._slots: dict[Path, Slot] = {}
        with told("use its folder"):
            self._own = self._claim()
        self.adopt()

    def _claim(self) -> Slot:
        for number in itertools.count():
            slot = Slot.claim(self._folder / str(number))
            if slot is not None:
                self._hold(slot)
                return slot
        raise AssertionError("numbers do not end")

    def adopt(self) -> list[Entry]:
        """Hold the slots that no process holds and that have anything in them; their entries, now ours."""
        adopted: list[Entry] = []
        with told("use its folder"):
            for folder in folders(self._folder):
                if folder in self._slots or (slot := Slot.claim(folder)) is None:
                    continue
                if slot.is_empty:
                    slot.release()
                else:
                    self._hold(slot)
                    adopted += slot.entries.values()
        return adopted

    def _hold(self, slot: Slot) -> None:
        with self._books:
            self._slots[slot.folder] = slot
            for entry in slot.entries.values():
                self._count(entry)

    def append(self, requests: Sequence[Request]) -> Entry:
        """Keep these requests, one at least; they are durable when this returns.

        Raises `SpoolFull` past a bound and `SpoolFailed` when the disk refuses: then none of them is kept.
        """
        plain_bytes = sum(request.size_bytes for request in requests)
        if plain_bytes > self.max_entry_bytes:
            raise SpoolFull(f"the request has more than the {self.max_entry_bytes} bytes of an entry of the spool")
        packed = pack(requests)
        summary = Summary.of(requests)
        size_bytes = files.disk_bytes(len(packed))
        with self._appending:
            with self._books:
                held_bytes = self._bytes + sum(slot.quarantined_bytes for slot in self._slots.values())
                if held_bytes + size_bytes > self._max_bytes:
                    raise SpoolFull(f"the spool is full: it has {held_bytes} bytes of {self._max_bytes}")
                sequence = self._own.take_sequence()
            path = self._own.folder / f"{sequence:020}{ENTRY}"
            with told("write"):
                files.write(path, packed)
            entry = Entry.of(path, size_bytes, summary)
            with self._books:
                self._own.entries[sequence] = entry
                self._count(entry)
        return entry

    def oldest(self, passed_over: Collection[Path] = ()) -> Entry | None:
        """The next entry to replay, but for those at these paths."""
        with self._books:
            heads = [(slot, entry) for slot in self._slots.values() if (entry := slot.head(passed_over)) is not None]
        if not heads:
            return None
        return min(heads, key=lambda head: (not head[0].is_inherited(head[1]), head[1].received_us))[1]

    def may_hold(self, first_us: int, last_us: int) -> bool:
        """Whether an entry may have a point with a time from `first_us` to `last_us`, microseconds from the epoch."""
        with self._books:
            if self._is_narrower and self._reaches(first_us, last_us):
                self._narrow()
            return self._reaches(first_us, last_us)

    def read(self, entry: Entry) -> list[Request]:
        """The requests of an entry, as they were appended.

        Raises `UnreadableEntry` (`CorruptEntry`, `UnknownVersion`) for one that can only be set aside, `SpoolFailed`
        when it cannot be read now.
        """
        with told("read"):
            try:
                packed = entry.path.read_bytes()
            except OSError as error:
                if error.errno not in (errno.EIO, errno.ENOENT):
                    raise
                raise CorruptEntry(f"the disk has lost it: {error.strerror}") from error
        return unpack(packed, self.max_entry_bytes)

    def remove(self, *entries: Entry) -> None:
        """Remove entries for good: they are in the database. Raises `SpoolFailed` when one may come back."""
        gone: list[Entry] = []
        with told("remove an entry"):
            try:
                for entry in entries:
                    entry.path.unlink(missing_ok=True)
                    gone.append(entry)
                for folder in {entry.path.parent for entry in gone}:
                    files.sync_folder(folder)
            finally:
                for entry in gone:  # not before they are gone for good: from now on their points may be corrected
                    self._forget(entry)

    def quarantine(self, entry: Entry, reason: str) -> Path:
        """Set an entry aside, with the reason beside it; where it lies now.

        Raises `SpoolLost` when it is not there, and `SpoolFailed`, also when its folder is not there: a disk that is
        not mounted now has lost nothing.
        """
        slot = self._slots[entry.path.parent]
        aside = slot.quarantine / entry.path.name
        with told("set an entry aside"):
            try:
                entry.path.rename(aside)
            except FileNotFoundError as error:
                if not slot.quarantine.is_dir():
                    raise
                self._forget(entry)
                raise SpoolLost(f"somebody has removed it, or the disk has lost it: {error.strerror}") from error
            try:
                files.sync_folder(slot.quarantine)
                files.sync_folder(slot.folder)
            finally:
                self._forget(entry)
                self._count_aside(slot, entry.size_bytes)
        self._write_reason(slot, aside, reason)
        return aside

    def quarantine_requests(self, requests: Sequence[Request], reason: str) -> Path:
        """Set single requests of an entry aside, so that the entry can be removed; where they lie now.

        The bound is not asked: they are in the spool already. Raises `SpoolFailed`.
        """
        packed = pack(requests)
        with self._books:
            sequence = self._own.take_sequence()
        aside = self._own.quarantine / f"{sequence:020}{ENTRY}"
        with told("set requests aside"):
            files.write(aside, packed)
        self._count_aside(self._own, files.disk_bytes(len(packed)))
        self._write_reason(self._own, aside, reason)
        return aside

    def totals(self) -> Totals:
        """The counts."""
        oldest = self.oldest()
        with self._books:
            slots = self._slots.values()
            return Totals(
                bytes=self._bytes,
                entries=sum(len(slot.entries) for slot in slots),
                points=self._points,
                oldest_us=oldest.received_us if oldest else None,
                quarantined_bytes=sum(slot.quarantined_bytes for slot in slots),
                quarantined_entries=sum(slot.quarantined_count for slot in slots),
            )

    def close(self) -> None:
        """Let other processes have the slots."""
        for slot in self._slots.values():
            slot.release()
        self._slots.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _count(self, entry: Entry) -> None:
        self._bytes += entry.size_bytes
        self._points += entry.points
        self._first_us = min(self._first_us, entry.first_us)
        self._last_us = max(self._last_us, entry.last_us)

    def _forget(self, entry: Entry) -> None:
        with self._books:
            if self._slots[entry.path.parent].entries.pop(entry.sequence, None) is not None:
                self._bytes -= entry.size_bytes
                self._points -= entry.points
                self._is_narrower |= entry.first_us <= self._first_us or entry.last_us >= self._last_us

    def _reaches(self, first_us: int, last_us: int) -> bool:
        return first_us <= self._last_us and last_us >= self._first_us

    def _narrow(self) -> None:
        """Let the bounds of the times be those of what is left: one far point must not stand for all to come."""
        left = [entry for slot in self._slots.values() for entry in slot.entries.values()]
        self._first_us = min((entry.first_us for entry in left), default=NO_TIMES[0])
        self._last_us = max((entry.last_us for entry in left), default=NO_TIMES[1])
        self._is_narrower = False

    def _count_aside(self, slot: Slot, size_bytes: int, entries: int = 1) -> None:
        with self._books:
            slot.quarantined_bytes += size_bytes
            slot.quarantined_count += entries

    def _write_reason(self, slot: Slot, aside: Path, reason: str) -> None:
        """What is set aside stays so without its reason, which the disk may have no place for."""
        text = f"{reason}\n".encode()
        try:
            files.write(aside.with_suffix(REASON), text)
        except OSError as error:
            log.warning("the reason could not be kept beside what is set aside", path=str(aside), error=str(error))
        else:
            self._count_aside(slot, files.disk_bytes(len(text)), entries=0)


def require(folder: Path) -> None:
    """Raise `SpoolFailed` unless files can be made in `folder`, which is made where it is missing."""
    with told("use its folder"):
        files.make_folder(folder)
        with tempfile.TemporaryFile(dir=folder):
            pass


def survey(folder: Path) -> dict[int, Contents]:
    """What lies in every slot, by number, for people who look while a process holds it. Raises `SpoolFailed`."""
    with told("be looked at"):
        return {int(slot.name): contents(slot) for slot in folders(folder)}
