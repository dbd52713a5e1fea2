"""How requests wait: for the learner or a copier, in order, and for the next try, longer each time."""

from __future__ import annotations

import asyncio
import math
import random
from collections import OrderedDict
from collections.abc import Sequence

from ingest.job import Job

FIRST_PAUSE_SECONDS = 0.05
LONGEST_PAUSE_SECONDS = 1.0


class JobQueue:
    """Jobs that wait, oldest first."""

    def __init__(self) -> None:
        self._jobs: OrderedDict[Job, None] = OrderedDict()
        self._filled = asyncio.Event()

    def __len__(self) -> int:
        return len(self._jobs)

    def put(self, job: Job) -> None:
        """Let a job wait behind the others."""
        self._jobs[job] = None
        self._filled.set()

    def put_back(self, jobs: Sequence[Job]) -> None:
        """Let jobs wait where they were taken from, before the others."""
        for job in reversed(jobs):
            self.put(job)
            self._jobs.move_to_end(job, last=False)

    def discard(self, job: Job) -> None:
        """Remove a job that has its outcome, if it is here."""
        self._jobs.pop(job, None)

    async def take(self, max_bytes: float = math.inf) -> list[Job]:
        """Wait for a job; take all that wait, up to a bound in bytes, but one at least.

        A job that goes alone is taken alone.
        """
        while not self._jobs:
            self._filled.clear()
            await self._filled.wait()
        jobs: list[Job] = []
        size = 0
        for job in self._jobs:
            size += job.size_bytes
            if jobs and (size > max_bytes or job.alone or jobs[0].alone):
                break
            jobs.append(job)
        for job in jobs:
            self.discard(job)
        return jobs


class Pause:
    """Growing and random pauses between tries."""

    def __init__(self) -> None:
        self._seconds = FIRST_PAUSE_SECONDS

    async def after(self, *, has_failed: bool) -> None:
        """Wait after a failure, longer after several in a row; not at all after a success."""
        if not has_failed:
            self._seconds = FIRST_PAUSE_SECONDS
            return
        await asyncio.sleep(self._seconds * random.uniform(0.5, 1.0))  # noqa: S311 - jitter, not a secret
        self._seconds = min(2 * self._seconds, LONGEST_PAUSE_SECONDS)
