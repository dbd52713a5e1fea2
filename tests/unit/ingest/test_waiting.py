from __future__ import annotations

import asyncio

import numpy as np
import pytest

from ingest.copy import Columns
from ingest.job import Job
from ingest.names import Limits
from ingest.points import Batch
from ingest.waiting import JobQueue, Pause

POINT_BYTES = 4 + 8 + 8 + 8
"""An id, a time, a value and a place."""


def job(points: int = 1, *, alone: bool = False) -> Job:
    """A job of so many points of one field."""
    shape = Columns(
        "m",
        ("f",),
        np.ones(points, np.int32),
        np.ones(points, np.int64),
        np.ones((points, 1)),
        np.ones(points, np.int64),
    )
    return Job(Batch(Limits(1, 1, 1, 1)), shapes=[shape], alone=alone)


async def test_all_that_waits_is_taken_in_order() -> None:
    """Oldest first; what is put back comes before the others, what is discarded not at all."""
    queue, jobs = JobQueue(), [job() for _ in range(5)]
    for one in jobs[2:]:
        queue.put(one)
    queue.put_back(jobs[:2])
    queue.discard(jobs[3])
    queue.discard(job())
    assert len(queue) == 4
    assert await queue.take() == [jobs[0], jobs[1], jobs[2], jobs[4]]
    assert len(queue) == 0


@pytest.mark.parametrize(("bound", "taken"), [(0, 1), (29, 1), (3 * POINT_BYTES, 2), (6 * POINT_BYTES, 3)])
async def test_a_group_is_bounded_in_bytes(bound: int, taken: int) -> None:
    """Jobs of one, two and three points: one is taken at least, and never one too many."""
    queue, jobs = JobQueue(), [job(1), job(2), job(3)]
    for one in jobs:
        queue.put(one)
    assert await queue.take(bound) == jobs[:taken]


async def test_a_job_that_goes_alone_is_taken_alone() -> None:
    """Neither the jobs before it nor those behind it share its fate."""
    queue, jobs = JobQueue(), [job(), job(alone=True), job(alone=True), job(), job()]
    for one in jobs:
        queue.put(one)
    groups = [await queue.take() for _ in range(4)]
    assert groups == [[jobs[0]], [jobs[1]], [jobs[2]], jobs[3:]]


async def test_each_job_is_taken_by_one_of_those_who_wait() -> None:
    """Several takers wait; a job wakes one of them, and the others go on waiting."""
    queue = JobQueue()
    takers = [asyncio.create_task(queue.take()) for _ in range(3)]
    await asyncio.sleep(0)
    waiting = set(takers)
    while waiting:
        before = len(waiting)
        queue.put(job())
        done, waiting = await asyncio.wait(waiting, return_when="FIRST_COMPLETED")
        assert (len(done), len(waiting)) == (1, before - 1)
    assert len(queue) == 0


async def test_pauses_grow_while_there_are_failures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Up to a bound, never quite the same, and from the beginning after a success."""
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    pause = Pause()
    for _ in range(8):
        await pause.after(has_failed=True)
    await pause.after(has_failed=False)
    await pause.after(has_failed=True)
    for seconds, longest in zip(slept, [0.05, 0.1, 0.2, 0.4, 0.8, 1.0, 1.0, 1.0, 0.05], strict=True):
        assert longest / 2 <= seconds <= longest
