from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from ingest.spool import files
from ingest.spool.entry import pack
from ingest.spool.errors import CorruptEntry, SpoolFailed, SpoolFull, SpoolLost, UnknownVersion
from ingest.spool.files import BLOCK_BYTES
from ingest.spool.slot import Entry
from ingest.spool.store import Store, Totals, survey
from service.settings import MEBIBYTES
from tests.unit.ingest.spool.conftest import ROOMY_BYTES, Make

EMPTY = Totals(0, 0, 0, None, 0, 0)


def opened(folder: Path, max_bytes: int = ROOMY_BYTES) -> Store:
    """A store on `folder`."""
    return Store(folder, max_bytes=max_bytes)


def all_entries(store: Store) -> Iterator[Entry]:
    """Every entry in its turn; each is removed after it."""
    while (entry := store.oldest()) is not None:
        yield entry
        store.remove(entry)


def test_what_is_appended_is_read(store: Store, make: Make) -> None:
    """Requests come back as they were, entry by entry, and are gone once they are removed."""
    groups = [[make(1), make(2)], [make(3)], [make(4, 100_000), make(5, 0)]]
    for group in groups:
        store.append(group)
    assert [store.read(entry) for entry in all_entries(store)] == groups
    assert store.totals() == EMPTY


def test_totals_are_counted(store: Store, make: Make) -> None:
    """Bytes are those on disk; points and age are those of the requests that are left."""
    assert store.totals() == EMPTY
    first = store.append([make(1), make(2)])
    store.append([make(3)])
    points = make(1).points + make(2).points + make(3).points
    assert store.totals() == Totals(2 * BLOCK_BYTES, 2, points, make(1).received_us, 0, 0)
    store.remove(first)
    store.remove(first)
    assert store.totals() == Totals(BLOCK_BYTES, 1, make(3).points, make(3).received_us, 0, 0)


def test_the_times_are_those_of_what_is_left(store: Store, make: Make) -> None:
    """An entry with a point far ahead stands for that time while it waits, and not for what comes after it."""
    far = make(1_000_000)
    entries = [store.append([make(n)]) for n in (1, 2)]
    entries.append(store.append([make(3), far]))
    store.append([make(4)])

    def held(number: int) -> bool:
        at_us = make(number).received_us
        return store.may_hold(at_us, at_us)

    assert [held(n) for n in (0, 1, 2, 4, 5, 1_000_000)] == [False, True, True, True, True, True]
    for entry in entries:
        store.remove(entry)
    assert [held(n) for n in (2, 3, 4, 5, 1_000_000)] == [False, False, True, False, False]


@pytest.mark.parametrize("change", ["remove", "quarantine"])
def test_an_entry_is_there_until_it_is_gone_for_good(
    store: Store, make: Make, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    """While its end is not durable nothing may go past it, which it would undo if it came back."""
    entry = store.append([make(1)])
    seen: list[bool] = []
    sync_folder = files.sync_folder

    def watched(folder: Path) -> None:
        seen.append(store.may_hold(entry.first_us, entry.last_us))
        sync_folder(folder)

    monkeypatch.setattr(files, "sync_folder", watched)
    if change == "remove":
        store.remove(entry)
    else:
        store.quarantine(entry, "bad")
    assert seen[0]
    assert not store.may_hold(entry.first_us, entry.last_us)


def test_a_restart_finds_what_was_kept(folder: Path, make: Make) -> None:
    """The next process has the same entries and counts, and gives none of their numbers again."""
    with opened(folder) as store:
        kept = [store.append([make(n)]) for n in (5, 4, 3)]
        totals = store.totals()
    with opened(folder) as store:
        assert store.totals() == totals
        new = store.append([make(1)])
        assert [entry.path for entry in all_entries(store)] == [*(entry.path for entry in kept), new.path]


def test_a_number_is_not_given_again_when_its_entry_was_set_aside(folder: Path, make: Make) -> None:
    """What is set aside keeps its name."""
    with opened(folder) as store:
        store.quarantine(store.append([make(1)]), "bad")
    with opened(folder) as store:
        assert store.append([make(2)]).sequence == 2


def test_unfinished_entries_are_removed(folder: Path, make: Make) -> None:
    """What a crash left half written was never acknowledged; it goes at the next start, wherever it lies."""
    with opened(folder) as store:
        kept = store.append([make(1)])
    packed = pack([make(2)])
    unfinished = [kept.path.with_name(f"{n:020}.tmp") for n in range(2, 6)]
    unfinished.append(folder / "0" / "quarantine" / f"{9:020}.tmp")
    for n, path in enumerate(unfinished):
        path.write_bytes(packed[: n * len(packed) // 4])
    with opened(folder) as store:
        assert not any(path.exists() for path in unfinished)
        assert [store.read(entry) for entry in all_entries(store)] == [[make(1)]]


def test_processes_have_slots_of_their_own(folder: Path, make: Make) -> None:
    """Each store claims the lowest slot that is free, and sees nothing of what the others hold."""
    with opened(folder) as first, opened(folder) as second:
        entries = [first.append([make(1)]), second.append([make(2)])]
        assert [entry.path.parent.name for entry in entries] == ["0", "1"]
        assert first.adopt() == second.adopt() == []
        assert first.totals().entries == second.totals().entries == 1
        first.close()
        with opened(folder) as third:
            assert third.append([make(3)]).path.parent.name == "0"


def test_what_others_left_is_adopted_and_comes_first(folder: Path, make: Make) -> None:
    """A new process drains the slots of those that ended by age, each in its order, then what came since."""
    stores = [opened(folder) for _ in range(3)]
    for store, numbers in zip(stores, ((11, 14), (10, 15), (12, 13)), strict=True):
        for n in numbers:
            store.append([make(n)])
    for store in stores:
        store.close()
    with opened(folder) as store:
        store.append([make(1)])
        assert store.totals().entries == 7
        assert store.totals().oldest_us == make(10).received_us
        order = [store.read(entry)[0] for entry in all_entries(store)]
    assert order == [make(n) for n in (10, 11, 12, 13, 14, 15, 1)]


def test_a_slot_is_adopted_while_running(folder: Path, make: Make) -> None:
    """What another process left when it ended can be adopted later; an empty slot stays free."""
    with opened(folder) as store, opened(folder) as other, opened(folder) as idle:
        left = other.append([make(1)])
        other.close()
        idle.close()
        assert store.adopt() == [left]
        assert store.adopt() == []
        assert store.totals().points == left.points
        with opened(folder) as third:
            assert third.append([make(2)]).path.parent.name == "2"


def test_the_bound_is_kept(folder: Path, make: Make) -> None:
    """An entry that would go past it is refused and leaves nothing; there is room again after a removal."""
    with opened(folder, 2 * BLOCK_BYTES) as store:
        entries = [store.append([make(n)]) for n in (1, 2)]
        totals = store.totals()
        with pytest.raises(SpoolFull, match=r"the spool is full: it has 8192 bytes of 8192"):
            store.append([make(3)])
        assert store.totals() == totals
        assert len(list((folder / "0").iterdir())) == len(("lock", "quarantine", *entries))
        store.remove(entries[0])
        store.append([make(3)])


def test_what_is_set_aside_counts_for_the_bound(folder: Path, make: Make) -> None:
    """The quarantine, reasons included, and adopted slots take their share."""
    with opened(folder) as store, opened(folder) as other:
        other.quarantine(other.append([make(1)]), "bad")
        other.append([make(2)])
        store.quarantine_requests([make(3)], "bad")
    with opened(folder, 5 * BLOCK_BYTES) as store:
        assert store.totals() == Totals(BLOCK_BYTES, 1, make(2).points, make(2).received_us, 4 * BLOCK_BYTES, 2)
        with pytest.raises(SpoolFull):
            store.append([make(4)])


def test_an_entry_too_large_to_be_read_is_not_written(folder: Path, make: Make) -> None:
    """The bound of reading holds for writing as well."""
    with Store(folder, max_bytes=ROOMY_BYTES, max_entry_bytes=10_000) as store:
        with pytest.raises(SpoolFull, match="more than the 10000 bytes of an entry"):
            store.append([make(1, 9_701)])
        assert store.read(store.append([make(1, 9_700)])) == [make(1, 9_700)]


def test_a_corrupt_entry_is_set_aside(store: Store, make: Make) -> None:
    """It keeps its name and its bytes, the reason lies beside it, and the queue goes on."""
    bad, good = store.append([make(1)]), store.append([make(2)])
    damaged = bad.path.read_bytes()[:-1]
    bad.path.write_bytes(damaged)
    with pytest.raises(CorruptEntry) as error:
        store.read(bad)
    aside = store.quarantine(bad, str(error.value))
    assert aside == bad.path.parent / "quarantine" / bad.path.name
    assert aside.read_bytes() == damaged
    assert aside.with_suffix(".reason").read_text() == f"{error.value}\n"
    assert [store.read(entry) for entry in all_entries(store)] == [[make(2)]]
    assert store.totals() == Totals(0, 0, 0, None, 2 * BLOCK_BYTES, 1)
    assert good.path.parent == bad.path.parent


def test_entries_with_a_damaged_first_line_are_found(folder: Path, make: Make) -> None:
    """They have a place in the order and a size, no points, and can be set aside."""
    with opened(folder) as store:
        for n in (1, 2, 3):
            store.append([make(n)])
    empty, junk, _ = sorted((folder / "0").glob("*.batch"))
    empty.write_bytes(b"")
    junk.write_bytes(b"\0" * 5000)
    with opened(folder) as store:
        totals = store.totals()
        assert (totals.entries, totals.points, totals.bytes) == (3, make(3).points, 3 * BLOCK_BYTES)
        for _ in range(2):
            entry = store.oldest()
            assert entry is not None
            with pytest.raises(CorruptEntry):
                store.read(entry)
            store.quarantine(entry, "bad")
        assert [store.read(entry) for entry in all_entries(store)] == [[make(3)]]


def test_an_entry_of_another_version_stays_whole(folder: Path, make: Make) -> None:
    """A later version's entry is named as such, and set aside unchanged."""
    with opened(folder) as store:
        entry = store.append([make(1)])
    later = entry.path.read_bytes().replace(b"spool 1", b"spool 2", 1)
    entry.path.write_bytes(later)
    with opened(folder) as store:
        found = store.oldest()
        assert found is not None
        with pytest.raises(UnknownVersion):
            store.read(found)
        assert store.quarantine(found, "later").read_bytes() == later


def test_an_entry_that_vanished_does_not_stop_the_queue(store: Store, make: Make) -> None:
    """When somebody removed its file, it cannot be read or set aside, and the next one comes."""
    gone, left = store.append([make(1)]), store.append([make(2)])
    gone.path.unlink()
    with pytest.raises(CorruptEntry, match="the disk has lost it"):
        store.read(gone)
    with pytest.raises(SpoolLost, match="somebody has removed it"):
        store.quarantine(gone, "lost")
    assert store.oldest() == left
    assert store.totals().entries == 1


def test_entries_whose_folder_is_away_are_not_lost(store: Store, folder: Path, make: Make) -> None:
    """While a disk is not mounted nothing is forgotten, and when it is back all is as it was."""
    entry = store.append([make(1)])
    away = folder.rename(folder.with_name("away"))
    with pytest.raises(CorruptEntry):
        store.read(entry)
    with pytest.raises(SpoolFailed, match="cannot set an entry aside: No such file"):
        store.quarantine(entry, "lost")
    with pytest.raises(SpoolFailed, match="No such file"):
        store.append([make(2)])
    assert store.oldest() == entry
    away.rename(folder)
    assert store.read(entry) == [make(1)]
    assert store.totals().entries == 1
    assert store.append([make(2)])


def test_single_requests_are_set_aside(store: Store, make: Make) -> None:
    """They lie in the quarantine as an entry of their own, which can be read as any other."""
    entry = store.append([make(1), make(2)])
    aside = store.quarantine_requests([make(2)], "refused for good")
    store.remove(entry)
    assert store.totals() == Totals(0, 0, 0, None, 2 * BLOCK_BYTES, 1)
    assert store.read(Entry(aside, 0, 0, 0, 0, 0, 0, 0)) == [make(2)]


def test_strange_files_are_left_alone(folder: Path, make: Make) -> None:
    """What is none of the spool's files is neither counted nor removed."""
    strange = [folder / "notes", folder / "0" / "copy.batch", folder / "0" / "quarantine" / "old.batch.gz"]
    strange[2].parent.mkdir(parents=True)
    for path in strange:
        path.write_text("mine")
    with opened(folder) as store:
        assert store.totals() == EMPTY
        store.append([make(1)])
    assert all(path.read_text() == "mine" for path in strange)


def test_the_survey_holds_nothing(folder: Path, make: Make) -> None:
    """Every slot can be looked at while processes hold them."""
    assert survey(folder) == {}
    with opened(folder) as first, opened(folder) as second:
        entry = first.append([make(1)])
        aside = second.quarantine(second.append([make(2)]), "bad")
        seen = survey(folder)
        assert (seen[0].entries, seen[0].quarantined) == ([entry], [])
        assert (seen[1].entries, [one.path for one in seen[1].quarantined]) == ([], [aside])
        assert first.oldest() == entry


def test_a_folder_that_cannot_be_used_is_told(tmp_path: Path) -> None:
    """The error says what the system refuses, and names it."""
    (tmp_path / "spool").write_text("a file")
    with pytest.raises(SpoolFailed, match=r"the spool cannot use its folder: .+ \(E[A-Z]+\)"):
        opened(tmp_path / "spool")


@pytest.mark.parametrize("call", [1, 2], ids=["of the content", "of the name"])
def test_what_cannot_be_made_durable_is_not_kept(
    store: Store, make: Make, monkeypatch: pytest.MonkeyPatch, call: int
) -> None:
    """An fsync that fails refuses the requests, and leaves neither a file nor a count; the next ones are kept."""
    kept = store.append([make(1)])
    totals, calls, fsync = store.totals(), count(1), os.fsync

    def failing(descriptor: int) -> None:
        if next(calls) == call:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", failing)
    with pytest.raises(SpoolFailed, match=r"cannot write: Input/output error \(EIO\)"):
        store.append([make(2)])
    assert store.totals() == totals
    assert sorted(path.name for path in kept.path.parent.iterdir()) == [kept.path.name, "lock", "quarantine"]
    store.append([make(3)])
    assert [store.read(entry) for entry in all_entries(store)] == [[make(1)], [make(3)]]


def test_a_full_disk_refuses_and_recovers(small_disk: Path, make: Make) -> None:
    """With no space left nothing is kept of what was refused, what was kept stays, and space makes it work again."""
    with opened(small_disk / "spool") as store:
        kept = store.append([make(1)])
        filler = small_disk / "filler"
        with pytest.raises(OSError, match="No space left"):
            filler.write_bytes(bytes(2 * MEBIBYTES))
        for _ in range(3):
            with pytest.raises(SpoolFailed, match=r"cannot write: No space left on device \(ENOSPC\)") as error:
                store.append([make(2)])
            assert error.value.reason == "ENOSPC"
            assert sorted(path.name for path in kept.path.parent.iterdir()) == [kept.path.name, "lock", "quarantine"]
        with pytest.raises(SpoolFailed, match="set requests aside"):
            store.quarantine_requests([make(1)], "bad")
        assert store.totals().entries == 1
        aside = store.quarantine(kept, "needs no space but for its reason")
        assert aside.exists()
        assert not aside.with_suffix(".reason").exists()
        filler.unlink()
        store.append([make(3)])
        assert [store.read(entry) for entry in all_entries(store)] == [[make(3)]]
