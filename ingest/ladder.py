"""The ladder: how a group of requests is committed, whatever the database says to it.

1. Plain COPY, all requests in one transaction, one COPY for each shape.
2. A point is there already (23505): COPY into a temporary table, then INSERT ... ON CONFLICT DO UPDATE, which
   merges its fields. Sorted by key, so that two writers cannot deadlock.
3. A value that cannot be stored (classes 22 and 23): each request alone, so that only the one with the value
   fails, and hears why.
4. The catalog is not what we remember (a table or column is gone, the epoch is another): learn it again.
5. Anything else may work in a moment: try again, with growing and random pauses, until the requests' time is
   over; then they are refused, and their clients know that nothing is promised.

Every request gets its own outcome. Trying again is always harmless: a point that a lost connection did commit
after all is a duplicate, and merges with itself.
"""

from __future__ import annotations

import asyncio
import enum
import random
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

from psycopg import sql

from ingest import merge
from ingest.catalog import Catalog
from ingest.copy import Columns, by_key, encode, gather
from ingest.database import DATABASE_ERRORS, Connection, Pool
from ingest.instruments import Instruments
from ingest.points import Batch
from ingest.sqlstates import Meaning, StaleCatalogError, meaning, sqlstate, summary
from service import logs
from service.errors import BadRequest, HttpError, Unavailable

log = logs.get(__name__)

FIRST_PAUSE_SECONDS = 0.05
LONGEST_PAUSE_SECONDS = 1.0
PIECE_BYTES = 256 * 1024

STAGING = "tidemark_staging"
STAGE = sql.SQL("CREATE TEMPORARY TABLE {staging} ON COMMIT DROP AS SELECT {columns} FROM {points} WITH NO DATA")
UPSERT = sql.SQL(
    "INSERT INTO {points} ({columns}) SELECT {columns} FROM {staging} ORDER BY series_id, time "
    "ON CONFLICT (series_id, time) DO UPDATE SET {updates}"
)
UNSTAGE = sql.SQL("DROP TABLE {staging}")


class Rung(enum.Enum):
    """How rows are put into their hypertable."""

    COPY = "copy"
    MERGE = "merge"


@dataclass(slots=True, eq=False)
class Job:
    """One request's points on their way, and its outcome: `done` is set, or holds the error for the client."""

    batch: Batch
    columns: list[Columns]
    deadline: float
    """When trying again ends, by `time.monotonic`."""
    queued_at: float = field(default_factory=time.monotonic)
    done: asyncio.Future[None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())

    @property
    def size_bytes(self) -> int:
        """What its rows hold in memory."""
        return sum(columns.size_bytes for columns in self.columns)

    def succeed(self) -> None:
        """Tell the request that its points are committed."""
        if not self.done.done():
            self.done.set_result(None)

    def fail(self, error: HttpError) -> None:
        """Tell the request that its points are not, and why."""
        if not self.done.done():
            self.done.set_exception(error)


class Ladder:
    """Commits groups of jobs; safe to use by several copiers at once."""

    def __init__(self, pool: Pool, catalog: Catalog, instruments: Instruments) -> None:
        self._pool = pool
        self._catalog = catalog
        self._instruments = instruments

    async def commit(self, jobs: Sequence[Job]) -> None:
        """Give every job its outcome."""
        rung, pause, remaining = Rung.COPY, FIRST_PAUSE_SECONDS, list(jobs)
        while remaining:
            try:
                await self._transaction(remaining, rung)
            except (*DATABASE_ERRORS, StaleCatalogError) as error:
                match self._note(error, remaining):
                    case Meaning.DUPLICATE:
                        rung = Rung.MERGE
                    case Meaning.STALE:
                        remaining = await self._relearn(remaining, error)
                    case Meaning.DATA:
                        await self._isolate(remaining, error)
                        return
                    case Meaning.RETRY:
                        remaining = await self._pause(remaining, error, pause)
                        pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
            else:
                self._instruments.rungs.labels(rung.value).inc()
                for job in remaining:
                    job.succeed()
                return

    async def _transaction(self, jobs: Sequence[Job], rung: Rung) -> None:
        shapes = gather([job.columns for job in jobs])
        if rung is Rung.MERGE:
            shapes = merge.unique(shapes)
        async with self._pool.acquire() as connection, connection.transaction():
            if await connection.fetchval("SELECT catalog.epoch()") != self._catalog.epoch:
                raise StaleCatalogError
            if any(job.batch.generation != self._catalog.generation for job in jobs):
                raise StaleCatalogError
            for columns in shapes:
                if rung is Rung.COPY:
                    await self._copy(connection, by_key(columns))
                else:
                    await self._merge(connection, columns)

    async def _copy(self, connection: Connection, columns: Columns) -> None:
        await connection.copy_to_table(
            columns.measurement,
            schema_name="points",
            columns=["time", "series_id", *self._catalog.columns(columns.measurement, columns.fields)],
            source=_pieces(encode(columns)),
            format="binary",
        )

    async def _merge(self, connection: Connection, columns: Columns) -> None:
        fields = [sql.Identifier(name) for name in self._catalog.columns(columns.measurement, columns.fields)]
        names = {
            "points": sql.Identifier("points", columns.measurement),
            "staging": sql.Identifier("pg_temp", STAGING),
            "columns": sql.SQL(", ").join([sql.Identifier("time"), sql.Identifier("series_id"), *fields]),
            "updates": sql.SQL(", ").join(sql.SQL("{0} = EXCLUDED.{0}").format(name) for name in fields),
        }
        await connection.execute(STAGE.format(**names).as_string())
        await connection.copy_to_table(STAGING, schema_name="pg_temp", source=_pieces(encode(columns)), format="binary")
        await connection.execute(UPSERT.format(**names).as_string())
        await connection.execute(UNSTAGE.format(**names).as_string())

    def _note(self, error: BaseException, jobs: Sequence[Job]) -> Meaning:
        """Count the error, log it unless it is part of daily work, and say what it means."""
        found = meaning(error)
        self._instruments.database_errors.labels(sqlstate(error)).inc()
        if found in (Meaning.RETRY, Meaning.DATA):
            log.warning(
                "a batch was not committed",
                sqlstate=sqlstate(error),
                error=summary(error),
                requests=len(jobs),
                next=found.name.lower(),
            )
        return found

    async def _isolate(self, jobs: Sequence[Job], error: BaseException) -> None:
        if len(jobs) == 1:
            self._instruments.rungs.labels("reject").inc()
            jobs[0].fail(BadRequest(f"the database refuses a value: {summary(error)}", sqlstate=sqlstate(error)))
            return
        self._instruments.rungs.labels("isolate").inc()
        for job in jobs:
            await self.commit([job])

    async def _relearn(self, jobs: Sequence[Job], error: BaseException) -> list[Job]:
        """Forget the catalog if nobody has yet, and resolve the jobs anew."""
        self._instruments.rungs.labels("relearn").inc()
        if all(job.batch.generation == self._catalog.generation for job in jobs):
            self._catalog.forget()
        remaining = self._in_time(jobs, error)
        for job in list(remaining):
            try:
                await self._catalog.resolve(job.batch)
            except DATABASE_ERRORS as failure:
                return await self._pause(remaining, failure, FIRST_PAUSE_SECONDS)
            job.columns = [Columns.of(rows) for rows in job.batch.rows]
        return remaining

    async def _pause(self, jobs: Sequence[Job], error: BaseException, seconds: float) -> list[Job]:
        """Wait a while; the jobs that have time left for another try."""
        remaining = self._in_time(jobs, error)
        if remaining:
            self._instruments.rungs.labels("retry").inc()
            await asyncio.sleep(seconds * random.uniform(0.5, 1.0))  # noqa: S311 - jitter, not a secret
        return remaining

    def _in_time(self, jobs: Sequence[Job], error: BaseException) -> list[Job]:
        now = time.monotonic()
        for job in jobs:
            if job.deadline <= now:
                self._instruments.rungs.labels("give_up").inc()
                job.fail(Unavailable(f"the database cannot take points now: {summary(error)}"))
        return [job for job in jobs if job.deadline > now]


async def _pieces(data: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(data), PIECE_BYTES):
        yield data[start : start + PIECE_BYTES]
