"""The writer: requests' points gather while the copiers are busy, and go together when one is free.

A request waits in one queue until a copier takes it, at once when one is idle. The copier takes everything that
waits, up to a bound in bytes, and commits it as one group (`ladder`): the busier the database, the larger the
groups. The acknowledgement is the commit: `write` returns when the points are in the database, and not before.

What waits is bounded by the budget that each request holds until its answer (`budget`), not here.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque

from ingest.catalog import Catalog
from ingest.copy import Columns
from ingest.database import DATABASE_ERRORS
from ingest.instruments import Instruments
from ingest.ladder import Job, Ladder
from ingest.points import Batch
from ingest.settings import IngestSettings
from ingest.sqlstates import sqlstate, summary
from service import logs
from service.errors import Unavailable

log = logs.get(__name__)

RESOLVE_PAUSE_SECONDS = 0.2


class Writer:
    """Commits batches, several connections at once."""

    def __init__(self, settings: IngestSettings, catalog: Catalog, ladder: Ladder, instruments: Instruments) -> None:
        self._settings = settings
        self._catalog = catalog
        self._ladder = ladder
        self._instruments = instruments
        self._queue: deque[Job] = deque()
        self._filled = asyncio.Condition()

    async def write(self, batch: Batch) -> None:
        """Commit the batch's accepted points; some may still be rejected, past a limit of the catalog.

        Raises `Unavailable` when the database cannot take them, `BadRequest` when it refuses a value.
        """
        deadline = time.monotonic() + self._settings.retry_seconds
        await self._resolve(batch, deadline)
        columns = [Columns.of(rows) for rows in batch.rows]
        if not columns:
            return
        job = Job(batch, columns, deadline)
        async with self._filled:
            self._queue.append(job)
            self._filled.notify()
        self._instruments.queued_requests.set(len(self._queue))
        await job.done

    async def run(self) -> None:
        """Run the copiers until cancelled."""
        async with asyncio.TaskGroup() as group:
            for _ in range(self._settings.copiers):
                group.create_task(self._copier())

    async def _copier(self) -> None:
        while True:
            async with self._filled:
                await self._filled.wait_for(lambda: self._queue)
                jobs = self._take()
            began = time.monotonic()
            for job in jobs:
                self._instruments.wait_seconds.observe(began - job.queued_at)
            self._instruments.batch_points.observe(sum(len(c) for job in jobs for c in job.columns))
            await self._ladder.commit(jobs)
            self._instruments.commit_seconds.observe(time.monotonic() - began)

    def _take(self) -> list[Job]:
        """What waits, oldest first, up to the bound in bytes but one request at least."""
        jobs = [self._queue.popleft()]
        size = jobs[0].size_bytes
        while self._queue and (size := size + self._queue[0].size_bytes) <= self._settings.max_batch_bytes:
            jobs.append(self._queue.popleft())
        self._instruments.queued_requests.set(len(self._queue))
        return jobs

    async def _resolve(self, batch: Batch, deadline: float) -> None:
        """Resolve the batch's series, again and again while the database cannot; `Unavailable` at last."""
        while True:
            try:
                return await self._catalog.resolve(batch)
            except DATABASE_ERRORS as error:
                self._instruments.database_errors.labels(sqlstate(error)).inc()
                if time.monotonic() >= deadline:
                    log.warning("series could not be resolved", sqlstate=sqlstate(error), error=summary(error))
                    raise Unavailable(f"the database cannot take points now: {summary(error)}") from None
            await asyncio.sleep(RESOLVE_PAUSE_SECONDS)
