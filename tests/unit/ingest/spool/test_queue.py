from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from ingest.spool.entry import HEAD_BYTES, Request
from ingest.spool.errors import CorruptEntry, SpoolFailed, SpoolFull
from ingest.spool.files import BLOCK_BYTES
from ingest.spool.queue import SpoolQueue
from ingest.spool.store import Store
from service.settings import MEBIBYTES
from tests.unit.ingest.spool.conftest import ROOMY_BYTES, Make

DEADLINE_SECONDS = 30


@asynccontextmanager
async def opened(
    folder: Path, *, max_bytes: int = ROOMY_BYTES, max_group_bytes: int = MEBIBYTES
) -> AsyncIterator[SpoolQueue]:
    """A queue on `folder`."""
    queue = SpoolQueue(Store(folder, max_bytes=max_bytes), max_group_bytes=max_group_bytes)
    try:
        async with asyncio.timeout(DEADLINE_SECONDS):
            yield queue
    finally:
        await queue.close()


async def kept_by(queue: SpoolQueue, requests: Iterable[Request]) -> list[asyncio.Task[None]]:
    """Callers of `keep` that have all begun."""
    tasks = [asyncio.create_task(queue.keep(request)) for request in requests]
    await asyncio.sleep(0)
    return tasks


def groups(folder: Path) -> list[list[Request]]:
    """What a new process finds, entry by entry."""
    with Store(folder, max_bytes=ROOMY_BYTES) as store:
        found = []
        while (entry := store.oldest()) is not None:
            found.append(store.read(entry))
            store.remove(entry)
        return found


async def test_requests_gather_while_an_entry_is_written(folder: Path, make: Make) -> None:
    """The first goes at once, those that come meanwhile share the next entry, in their order."""
    async with opened(folder) as queue:
        first = await kept_by(queue, [make(1)])
        await asyncio.sleep(0)  # its append is under way
        others = await kept_by(queue, [make(n) for n in range(2, 10)])
        await asyncio.gather(*first, *others)
        assert queue.store.totals().entries == 2
    assert groups(folder) == [[make(1)], [make(n) for n in range(2, 10)]]


async def test_a_group_is_bounded(folder: Path, make: Make) -> None:
    """An entry takes requests up to the bound; one that is larger goes alone."""
    bound = 2 * (100 + HEAD_BYTES)
    async with opened(folder, max_group_bytes=bound) as queue:
        sizes = [100, 100, 100, 1000, 100, 100]
        await asyncio.gather(*(queue.keep(make(n, size)) for n, size in enumerate(sizes)))
    assert [[len(one.body) for one in group] for group in groups(folder)] == [[100, 100], [100], [1000], [100, 100]]


async def test_a_group_is_never_larger_than_an_entry(folder: Path, make: Make) -> None:
    """The bound of an entry counts where that of a group is larger."""
    store = Store(folder, max_bytes=ROOMY_BYTES, max_entry_bytes=1200)
    queue = SpoolQueue(store)
    await asyncio.gather(*(queue.keep(make(n, 300)) for n in range(3)))
    await queue.close()
    assert [len(group) for group in groups(folder)] == [2, 1]


async def test_every_caller_hears_of_its_own_group(folder: Path, make: Make) -> None:
    """When a group is refused its callers all hear it, and neither those before nor those after do."""
    async with opened(folder, max_bytes=2 * BLOCK_BYTES, max_group_bytes=1) as queue:
        outcomes = await asyncio.gather(*(queue.keep(make(n)) for n in range(4)), return_exceptions=True)
        assert outcomes[:2] == [None, None]
        assert [type(outcome) for outcome in outcomes[2:]] == [SpoolFull, SpoolFull]
        await queue.remove(await queue.next())
        await queue.keep(make(5))
    assert groups(folder) == [[make(1)], [make(5)]]


async def test_all_callers_hear_of_a_full_disk(small_disk: Path, make: Make) -> None:
    """With no space left every caller of the group is told, and the queue works again when there is space."""
    async with opened(small_disk / "spool") as queue:
        filler = small_disk / "filler"
        with pytest.raises(OSError, match="No space left"):
            filler.write_bytes(bytes(2 * MEBIBYTES))
        outcomes = await asyncio.gather(*(queue.keep(make(n)) for n in range(5)), return_exceptions=True)
        assert [getattr(outcome, "reason", None) for outcome in outcomes] == ["ENOSPC"] * 5
        filler.unlink()
        await queue.keep(make(6))
    assert groups(small_disk / "spool") == [[make(6)]]


async def test_a_fault_of_ours_is_told_and_the_queue_goes_on(folder: Path, make: Make) -> None:
    """A request that cannot be packed fails its group as an error of the spool, and no later one."""
    async with opened(folder) as queue:
        with pytest.raises(SpoolFailed, match="unexpected error"):
            await queue.keep(Request("influx", 2**70, 1, 1, 1, 1, b""))
        await queue.keep(make(1))
    assert groups(folder) == [[make(1)]]


async def test_who_leaves_before_the_append_is_not_kept(folder: Path, make: Make) -> None:
    """A cancelled caller's request is dropped while it waits; the others of its group are served."""
    async with opened(folder) as queue:
        await kept_by(queue, [make(1)])
        await asyncio.sleep(0)
        leaving, staying = await kept_by(queue, [make(2), make(3)])
        leaving.cancel()
        await staying
    assert leaving.cancelled()
    assert groups(folder) == [[make(1)], [make(3)]]


async def test_who_leaves_in_mid_append_harms_nobody(folder: Path, make: Make) -> None:
    """The append goes on, and its other callers hear of it."""
    async with opened(folder) as queue:
        leaving, staying = await kept_by(queue, [make(1), make(2)])
        await asyncio.sleep(0)
        leaving.cancel()
        await staying
        await queue.keep(make(3))
    assert groups(folder) == [[make(1), make(2)], [make(3)]]


@pytest.mark.parametrize("seed", range(4))
async def test_what_is_acknowledged_is_there_once(folder: Path, make: Make, seed: int) -> None:
    """Callers come and leave at random: each acknowledged request is in exactly one entry, and none is there twice."""
    chosen = random.Random(seed)
    acknowledged: set[int] = set()

    async def send(number: int) -> None:
        for _ in range(chosen.randrange(20)):
            await asyncio.sleep(0)
        await queue.keep(make(number))
        acknowledged.add(make(number).received_us)

    async with opened(folder, max_group_bytes=10 * (40 + HEAD_BYTES)) as queue:
        tasks = [asyncio.create_task(send(number)) for number in range(300)]
        for task in chosen.sample(tasks, 100):
            await asyncio.sleep(0)
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    found = [request.received_us for group in groups(folder) for request in group]
    assert len(found) == len(set(found))
    assert acknowledged <= set(found)
    assert len(acknowledged) >= 200


async def test_the_drainer_waits_for_the_next_entry(folder: Path, make: Make) -> None:
    """`next` waits until there is an entry, and gives the same one until that is removed or set aside."""
    async with opened(folder) as queue:
        waiting = asyncio.create_task(queue.next())
        await asyncio.sleep(0)
        assert not waiting.done()
        await queue.keep(make(1))
        entry = await waiting
        assert await queue.next() == entry
        await queue.keep(make(2))
        entry.path.write_bytes(b"junk")
        with pytest.raises(CorruptEntry):
            await queue.read(entry)
        await queue.quarantine(entry, "junk")
        second = await queue.next()
        assert await queue.read(second) == [make(2)]
        aside = await queue.quarantine_requests([make(2)], "refused")
        assert aside.parent.name == "quarantine"
        await queue.remove(second)
        assert queue.store.totals().entries == 0
        waiting = asyncio.create_task(queue.next())
        await asyncio.sleep(0)
        assert not waiting.done()
        waiting.cancel()


async def test_closing_writes_what_waits(folder: Path, make: Make) -> None:
    """Callers under way are served before the slots are let go; later ones are refused."""
    queue = SpoolQueue(Store(folder, max_bytes=ROOMY_BYTES))
    tasks = await kept_by(queue, [make(1), make(2)])
    await queue.close()
    await asyncio.gather(*tasks)
    with pytest.raises(SpoolFailed):
        await queue.keep(make(3))
    assert groups(folder) == [[make(1), make(2)]]
