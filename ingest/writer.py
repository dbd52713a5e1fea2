"""The writer: requests' points gather while the copiers are busy, and go together when one is free.

1. A request whose series are all known waits for a copier; another one waits for the learner first, which asks
   the catalog for everything that the waiting requests lack, at once.
2. A copier takes everything that waits, up to a bound in bytes, at once when it is idle, and commits it as one
   group (`ladder`): the busier the database, the larger the groups.
3. What was not committed waits again, each request until its time is over: then it is refused.
4. A request that is too much for one merge is taken out of the copiers' way: the splitter commits it in portions, of
   several such requests one portion each in turn.
5. The acknowledgement is the commit: `write` returns when the points are in the database, and not before.
6. While the learner gets on, a request that waits for it is waited for, longer than for a copier: many new series
   take their time.
7. A request that was given up may still be committed by a copier or the splitter that has it in its hands: what is to
   be written after it waits for `settled`.

What waits is bounded by the budget that each request holds until its answer (`budget`), not here.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial

from ingest.catalog import Catalog
from ingest.database import DATABASE_ERRORS
from ingest.instruments import Instruments
from ingest.job import Job
from ingest.ladder import Ladder
from ingest.points import Batch
from ingest.settings import IngestSettings
from ingest.sqlstates import Meaning, sqlstate, summary
from ingest.waiting import JobQueue, Pause
from service import logs
from service.errors import HttpError, Unavailable

log = logs.get(__name__)

LATER_SECONDS = 1.0
"""Between tries of a request that cannot be written now, while others can."""


class Writer:
    """Commits batches, several connections at once."""

    def __init__(self, settings: IngestSettings, catalog: Catalog, ladder: Ladder, instruments: Instruments) -> None:
        self._settings = settings
        self._catalog = catalog
        self._ladder = ladder
        self._instruments = instruments.writer
        self._rungs = instruments.ladder.rungs
        self._errors = instruments.ladder.errors
        self._unknown = JobQueue()
        self._ready = JobQueue()
        self._too_much = JobQueue()
        self.is_out = False
        """Whether the database takes nothing from anybody, by what it did last."""
        self._in_hand: set[Job] = set()
        """The jobs that copiers and the splitter are at."""
        self._let_go = asyncio.Event()
        instruments.writer.queued_requests.set_function(lambda: len(self._ready))
        instruments.writer.split_requests.set_function(lambda: len(self._too_much))

    async def write(self, batch: Batch, *, is_repeatable: bool = False) -> str | None:
        """Commit the batch's accepted points; some may still be rejected, past a limit of the catalog.

        Returns the position in the database's log by which they are committed, `timeline-lsn`, if it is known.
        Raises `Unavailable` when the database does not take them in time, `BadRequest` when it refuses a value. With
        `is_repeatable` it is not waited for what the database is at work on: that may be committed all the same.
        """
        job = Job(batch, is_repeatable)
        self._end_wait_after(self._settings.retry_seconds, job)
        try:
            await self._queue(job)
            return await job.done
        except Unavailable:
            self._rungs.labels("give_up").inc()
            is_busy = job.is_new and time.monotonic() < self._gets_on_until
            self.is_out = self.is_out or not (is_busy or job.setback in (Meaning.UNKNOWN, Meaning.TOO_MUCH))
            raise
        finally:
            if job.timer is not None:
                job.timer.cancel()
            self._unknown.discard(job)
            self._ready.discard(job)
            self._too_much.discard(job)

    @property
    def _gets_on_until(self) -> float:
        """Until when the learner counts as getting on with its work, by `time.monotonic`."""
        return self._catalog.learned_at + self._settings.retry_seconds

    def _end_wait_after(self, seconds: float, job: Job) -> None:
        job.timer = asyncio.get_running_loop().call_later(seconds, self._end_wait, job)

    def _end_wait(self, job: Job) -> None:
        """End a job's wait, unless it waits for the learner, who gets on: new series may be many, but are no outage."""
        ends_at = min(self._gets_on_until, job.began_at + self._settings.learn_seconds) if job.is_new else -math.inf
        left = ends_at - time.monotonic()
        if left > 0:
            self._end_wait_after(left, job)
        else:
            job.end_wait()

    @property
    def is_unsettled(self) -> bool:
        """Whether something is under way that was given up, and may be committed yet."""
        return any(job.is_given_up for job in self._in_hand)

    async def settled(self) -> None:
        """Return when nothing is under way any more that was given up: from then on it cannot be committed.

        That takes as long as the longest statement, when the server does not answer.
        """
        while self.is_unsettled:
            self._let_go.clear()
            await self._let_go.wait()

    async def run(self) -> None:
        """Run the learner, the copiers and the splitter until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._learner())
            group.create_task(self._splitter())
            for _ in range(self._settings.copiers):
                group.create_task(self._copier())

    async def _queue(self, job: Job) -> None:
        """Let a job wait for what it needs next."""
        if job.done.done():
            return
        known = await self._catalog.known(job.batch)
        if job.done.done():  # its time was over meanwhile
            return
        if known is None:
            self._unknown.put(job)
        elif known.shapes:
            job.queue(known.epoch, known.shapes)
            self._ready.put(job)
        else:
            job.succeed()

    def _learn_again(self, job: Job) -> None:
        if not job.done.done():
            self._unknown.put(job)

    def _learn_later(self, job: Job) -> None:
        asyncio.get_running_loop().call_later(LATER_SECONDS, self._learn_again, job)

    async def _learner(self) -> None:
        pause = Pause()
        while True:
            jobs = await self._unknown.take()
            with _answered(jobs):
                await pause.after(has_failed=not await self._learn(jobs))

    async def _learn(self, jobs: Sequence[Job]) -> bool:
        """Learn what the jobs lack, and let them wait for what they need next; False in an outage."""
        try:
            errors = await self._catalog.learn([job.batch for job in jobs], partial(_set_out, jobs))
        except DATABASE_ERRORS as error:
            self._errors.labels(sqlstate(error)).inc()
            self.is_out = True
            for job in jobs:
                job.set_back(Meaning.AGAIN, error)
                await self._queue(job)
            return False
        self.is_out = False
        for measurement, fault in errors.items():
            self._errors.labels(sqlstate(fault)).inc()
            log.warning(
                "a measurement could not be learned",
                measurement=measurement,
                sqlstate=sqlstate(fault),
                error=summary(fault),
            )
        for job in jobs:
            faults = [errors[rows.measurement] for rows in job.batch.rows if rows.measurement in errors]
            if not faults or await self._catalog.known(job.batch) is not None:
                await self._queue(job)
            else:
                job.set_back(Meaning.UNKNOWN, faults[0])
                self._learn_later(job)
        return True

    async def _copier(self) -> None:
        pause = Pause()
        while True:
            jobs = await self._ready.take(self._settings.max_batch_bytes)
            began = time.monotonic()
            for job in jobs:
                self._instruments.wait_seconds.observe(began - job.queued_at)
            with _answered(jobs):
                with self._held(jobs):
                    await self._ladder.commit(jobs)
                self.is_out = self._ladder.is_out
                self._instruments.commit_seconds.observe(time.monotonic() - began)
                await pause.after(has_failed=self._try_again([job for job in jobs if not job.done.done()]))

    async def _splitter(self) -> None:
        pause = Pause()
        while True:
            jobs = await self._too_much.take(max_bytes=0)
            with _answered(jobs):
                with self._held(jobs):
                    await self._ladder.split(jobs[0])
                self.is_out = self._ladder.is_out
                await pause.after(has_failed=self._go_on(jobs[0]))

    def _go_on(self, job: Job) -> bool:
        """Let a job wait for its next portion, unless it has its outcome; True when nobody's would be committed now."""
        seconds = self._settings.split_seconds
        if not job.done.done() and time.monotonic() - job.split_at > seconds:
            late = f"it did not change that much compressed data within {seconds:g} s (INGEST_SPLIT_SECONDS)"
            job.fail(Unavailable(f"the database cannot take points now: {late}{job.so_far}"))
        if job.done.done():
            return False
        if job.setback in (Meaning.TOO_MUCH, Meaning.AGAIN):
            self._too_much.put(job)
            return job.setback is Meaning.AGAIN
        return self._try_again([job])

    @contextmanager
    def _held(self, jobs: Sequence[Job]) -> Iterator[None]:
        self._in_hand.update(jobs)
        try:
            yield
        finally:
            self._in_hand.difference_update(jobs)
            self._let_go.set()

    def _try_again(self, jobs: Sequence[Job]) -> bool:
        """Let jobs that were set back wait for what they need next; True when nobody's would be committed now."""
        again = [job for job in jobs if job.setback is Meaning.AGAIN]
        if again:
            self._rungs.labels("retry").inc()
            self._ready.put_back(again)
        for job in jobs:
            if job.setback is Meaning.STALE:
                self._rungs.labels("relearn").inc()
                job.relearned = True
                self._catalog.doubt(job.batch)
                self._learn_again(job)
            elif job.setback is Meaning.TOO_MUCH:
                job.split_at = time.monotonic()
                self._too_much.put(job)
            elif job.setback is Meaning.UNKNOWN:
                self._rungs.labels("retry").inc()
                job.alone = True
                self._catalog.doubt(job.batch)
                self._learn_later(job)
        return bool(again)


def _set_out(jobs: Sequence[Job]) -> None:
    for job in jobs:
        job.set_out()


@contextmanager
def _answered(jobs: Sequence[Job]) -> Iterator[None]:
    """Whatever a fault of ours does to these jobs: they are answered, and the work goes on."""
    try:
        yield
    except Exception:
        log.exception("points could not be written because of a fault of ingest", requests=len(jobs))
        for job in jobs:
            job.fail(HttpError("an unexpected error; the service's log has it"))
