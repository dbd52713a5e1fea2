"""The ladder: how a group of requests is committed, whatever the database says to it.

1. Plain COPY, all requests in one transaction, one COPY for each shape.
2. Some points are there already, or others write them at this moment: COPY into a temporary table, then INSERT
   ... ON CONFLICT DO UPDATE, which merges their fields. One INSERT for each measurement, measurements and keys
   in order, so that writers wait for each other and never in a circle. A COPY cannot promise that (of several
   shapes, or of several chunks): it waits for others only for a moment, and steps down to here. So does one that
   meets a column whose type was changed by hand: an INSERT casts.
3. To merge with compressed points, more rows must be decompressed than TimescaleDB does for one statement: each
   request by itself, by COPY; those that cannot be copied are split, and merged in portions, each a transaction of its
   own (`split`). A request of which some portions are committed when it fails hears so.
4. A value that cannot be stored, or an error that may be due to one request: each by itself, so that only the
   one it is due to fails. It hears why; or, when the error is not known to be final, it may try again, alone.
5. The catalog is not what we remember: it is learned again.
6. The server takes nothing from anybody: all may try again.

Every request gets its own outcome. Trying again is always harmless: a point that a lost connection did commit
after all, or that a portion has committed, is there already, and merges with itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from itertools import groupby

import asyncpg
from psycopg import sql

from ingest import merge
from ingest.catalog import Catalog
from ingest.copy import Columns, by_key, encode, gather
from ingest.database import DATABASE_ERRORS, POSITION, Connection, Pool, connected, transaction
from ingest.instruments import Instruments
from ingest.job import Job
from ingest.late import late_stretches
from ingest.portions import Portions
from ingest.sqlstates import (
    Meaning,
    StaleCatalogError,
    UncopiedError,
    is_for_merge,
    meaning,
    sqlstate,
    summary,
)
from ingest.turns import Turn
from service import logs
from service.errors import BadRequest

log = logs.get(__name__)

PIECE_BYTES = 256 * 1024
OFF_LOOP_POINTS = 100_000
"""More points are encoded in a thread: they would hold the event loop for longer than 25 ms."""
PIECE_POINTS = 100
"""What a request's points of one shape, or a part of them, cost at least, in points that cost as much."""

STAGING = "tidemark_staging"
STAGE = sql.SQL("CREATE TEMPORARY TABLE {staging} (time timestamptz, series_id int, {definitions}) ON COMMIT DROP")
DEFINITION = sql.SQL("{} double precision")
UPSERT = sql.SQL(
    "INSERT INTO {points} AS kept ({columns}) SELECT {columns} FROM {staging} ORDER BY series_id, time "
    "ON CONFLICT (series_id, time) DO UPDATE SET {updates}"
)
UPDATE = sql.SQL("{0} = coalesce(EXCLUDED.{0}, kept.{0})")
UNSTAGE = sql.SQL("DROP TABLE {staging}")

SETTLE = (
    "SELECT catalog.epoch(), (extract(epoch FROM catalog.late_before()) * 1000000)::bigint, ARRAY("
    "SELECT attname::text FROM pg_attribute "
    "WHERE attrelid = ANY ($1::text[]::regclass[]) AND attnum > 2 AND atttypid NOT IN (0, 'float8'::regtype))"
)
"""The third: the fields' columns whose type is not the one that they were made with. 0 is that of what was dropped."""

NOTE_LATE = "SELECT catalog.note_late($1, $2, $3)"

SHORT_WAIT_SECONDS = 0.25
LONG_WAIT_SECONDS = 1.5
"""How long to wait for a lock. The long wait gives PostgreSQL's deadlock_timeout, a second, time to tell."""

POSITION_SECONDS = 1.0
"""How long the answer to points that are committed waits for their position in the log."""

Shapes = Sequence[tuple[Columns, bytes]]
"""Points of one shape, and the same encoded for COPY."""
Put = Callable[[Connection, str, Shapes], Awaitable[None]]
Write = Callable[[Sequence[Job]], Awaitable[None]]

FAULTS = (*DATABASE_ERRORS, StaleCatalogError, UncopiedError)


class Ladder:
    """Commits groups of jobs; safe to use by several copiers at once."""

    def __init__(self, pool: Pool, catalog: Catalog, instruments: Instruments) -> None:
        self._pool = pool
        self._catalog = catalog
        self._instruments = instruments.ladder
        self._outage = ""
        """The SQLSTATE of the outage that was logged last, until the database answers otherwise."""

    @property
    def is_out(self) -> bool:
        """Whether the database took nothing from anybody when it was last asked."""
        return bool(self._outage)

    async def commit(self, jobs: Sequence[Job]) -> None:
        """Give every job its outcome, or set it back for another try."""
        await self._try(jobs, self._copy_or_merge)

    async def split(self, job: Job) -> None:
        """Commit the next portion of a job that is too much for one merge; with the last one it gets its outcome."""
        if job.portions is None:
            job.shapes = await asyncio.to_thread(_unique, [job.shapes])
            job.portions = Portions(job.shapes)
            self._instruments.rungs.labels("split").inc()
        portions = job.portions
        # As in a merge: one that made others wait already is to try often, not for long.
        wait = SHORT_WAIT_SECONDS if job.alone else LONG_WAIT_SECONDS
        try:
            await self._transaction([job], _with_bytes(portions.next()), self._merge, wait)
        except FAULTS as error:
            if meaning(error) is Meaning.TOO_MUCH and portions.was_too_large():
                self._instruments.errors.labels(sqlstate(error)).inc()
                job.go_on()
            else:
                await self._failed([job], error)
        else:
            self._answers()
            portions.fitted()
            job.go_on()
            if portions.is_over:
                job.succeed()

    async def _try(self, jobs: Sequence[Job], write: Write) -> None:
        """Let `write` commit all points of the jobs, and act on what comes of it."""
        try:
            await write(jobs)
        except FAULTS as error:
            await self._failed(jobs, error)
        else:
            self._answers()
            for job in jobs:
                job.succeed()

    def _answers(self) -> None:
        if self._outage:
            log.info("points are committed again")
            self._outage = ""

    async def _failed(self, jobs: Sequence[Job], error: BaseException) -> None:
        """Go on with jobs whose transaction failed, as the error wants."""
        found = self._note(error, jobs)
        if found in (Meaning.DATA, Meaning.UNKNOWN, Meaning.TOO_MUCH) and len(jobs) > 1:
            await self._isolate(jobs, found, error)
        elif found is Meaning.DATA:
            self._instruments.rungs.labels("reject").inc()
            reason = f"the database refuses a value: {summary(error)}{jobs[0].so_far}"
            jobs[0].fail(BadRequest(reason, sqlstate=sqlstate(error)))
        else:
            _set_back(jobs, found, error)

    async def _copy_or_merge(self, jobs: Sequence[Job]) -> None:
        try:
            await self._copy_all(jobs)
        except DATABASE_ERRORS as error:
            if not is_for_merge(error):
                raise
            self._instruments.errors.labels(sqlstate(error)).inc()
            # Duplicates across shapes are merged one by one, which may take long.
            shapes = await asyncio.to_thread(_for_merge, [job.shapes for job in jobs])
            # One that made others wait already may try for long by trying often.
            is_suspect = any(job.setback is Meaning.UNKNOWN for job in jobs)
            wait = SHORT_WAIT_SECONDS if is_suspect else LONG_WAIT_SECONDS
            await self._transaction(jobs, shapes, self._merge, wait)
            self._instruments.rungs.labels("merge").inc()

    async def _copy_all(self, jobs: Sequence[Job]) -> None:
        shapes = await _encoded([job.shapes for job in jobs])
        await self._transaction(jobs, shapes, self._copy, SHORT_WAIT_SECONDS)
        self._instruments.rungs.labels("copy").inc()

    async def _only_copy(self, jobs: Sequence[Job]) -> None:
        """Commit what need not be merged: one of its group is too much for that, and finding out costs time."""
        try:
            await self._copy_all(jobs)
        except DATABASE_ERRORS as error:
            if not is_for_merge(error):
                raise
            raise UncopiedError from error

    async def _transaction(self, jobs: Sequence[Job], shapes: Shapes, put: Put, lock_seconds: float) -> None:
        is_committed, position = False, None
        try:
            async with connected(self._pool) as connection:
                async with transaction(connection, lock_seconds):
                    for job in jobs:
                        job.set_out()
                    await self._put(connection, jobs, shapes, put)
                is_committed = True
                self._instruments.batch_points.observe(sum(len(columns) for columns, _ in shapes))
                position = await connection.fetchval(POSITION, timeout=POSITION_SECONDS)
        except DATABASE_ERRORS as error:
            if not is_committed:
                raise
            # They are committed all the same, and only their client cannot be told where in the log.
            self._instruments.errors.labels(sqlstate(error)).inc()
            log.warning("the position of committed points is not known", sqlstate=sqlstate(error), error=summary(error))
        for job in jobs:
            job.position = position

    async def _put(self, connection: Connection, jobs: Sequence[Job], shapes: Shapes, put: Put) -> None:
        for measurement, of_measurement in groupby(shapes, key=lambda shape: shape[0].measurement):
            await put(connection, measurement, list(of_measurement))
        # Read last: had the epoch changed before this, nothing is committed; afterwards, nothing is mistaken. What is
        # late is told by a moment after the transaction has got its number: readers rely on that order.
        tables = {sql.Identifier("points", columns.measurement).as_string() for columns, _ in shapes}
        settled = await connection.fetchrow(SETTLE, list(tables))
        assert settled is not None, "a SELECT without FROM has one row"
        epoch, late_before_us, changed = settled
        self._catalog.saw(epoch)
        if any(job.epoch != epoch for job in jobs):
            raise StaleCatalogError("the catalog is another one")
        if changed and put == self._copy and any(name in changed for columns, _ in shapes for name in columns.fields):
            # A bigint takes the bytes of a double for its own.
            raise asyncpg.DatatypeMismatchError("a field's column is not of double precision")
        if late := late_stretches([columns for columns, _ in shapes], late_before_us):
            await connection.execute(
                NOTE_LATE, [one.measurement for one in late], [one.first for one in late], [one.last for one in late]
            )
            self._instruments.late_stretches.inc(len(late))

    async def _copy(self, connection: Connection, measurement: str, shapes: Shapes) -> None:
        await _copy_into(connection, "points", measurement, shapes)

    async def _merge(self, connection: Connection, measurement: str, shapes: Shapes) -> None:
        """Put points that are unique; a field that one shape lacks is null in the temporary table, and stays."""
        fields = [sql.Identifier(name) for name in sorted({name for columns, _ in shapes for name in columns.fields})]
        names = {
            "points": sql.Identifier("points", measurement),
            "staging": sql.Identifier("pg_temp", STAGING),
            "definitions": sql.SQL(", ").join(DEFINITION.format(name) for name in fields),
            "columns": sql.SQL(", ").join([sql.Identifier("time"), sql.Identifier("series_id"), *fields]),
            "updates": sql.SQL(", ").join(UPDATE.format(name) for name in fields),
        }
        await connection.execute(STAGE.format(**names).as_string())
        await _copy_into(connection, "pg_temp", STAGING, shapes)
        await connection.execute(UPSERT.format(**names).as_string())
        await connection.execute(UNSTAGE.format(**names).as_string())

    def _note(self, error: BaseException, jobs: Sequence[Job]) -> Meaning:
        """Count the error, log it unless it is part of daily work, and say what it means for these jobs."""
        found, code = meaning(error), sqlstate(error)
        if isinstance(error, StaleCatalogError):
            return found
        if found is Meaning.STALE and any(job.relearned for job in jobs):
            found = Meaning.UNKNOWN  # learning it again was of no use
        if found is Meaning.TOO_MUCH and any(job.portions for job in jobs):
            found = Meaning.UNKNOWN  # a single point is too much
        self._instruments.errors.labels(code).inc()
        if found is not Meaning.TOO_MUCH and (found is not Meaning.AGAIN or code != self._outage):
            log.warning(
                "points were not committed",
                sqlstate=code,
                error=summary(error),
                requests=len(jobs),
                meaning=found.name.lower(),
            )
        self._outage = code if found is Meaning.AGAIN else ""
        return found

    async def _isolate(self, jobs: Sequence[Job], found: Meaning, error: BaseException) -> None:
        """Commit each job by itself; stop when it turns out that the server takes nothing from anybody."""
        self._instruments.rungs.labels("isolate").inc()
        if found is Meaning.UNKNOWN:
            _set_back(jobs, found, error)  # each try may take long: those whose time is over need not wait for it
        write = self._only_copy if found is Meaning.TOO_MUCH else self._copy_or_merge
        for place, job in enumerate(jobs):
            if not job.done.done():
                await self._try([job], write)
                if job.setback is Meaning.AGAIN and not job.done.done():
                    _set_back(jobs[place + 1 :], Meaning.AGAIN, job.trouble or error)
                    return


def _set_back(jobs: Sequence[Job], found: Meaning, error: BaseException) -> None:
    for job in jobs:
        job.set_back(found, error)


async def _encoded(requests: Sequence[Sequence[Columns]]) -> list[tuple[Columns, bytes]]:
    """All shapes for COPY; not in a thread unless one request is huge: the two would fight for the interpreter."""
    if sum(PIECE_POINTS + len(columns) for request in requests for columns in request) > OFF_LOOP_POINTS:
        return await asyncio.to_thread(_for_copy, requests)
    return _for_copy(requests)


def _for_copy(requests: Sequence[Sequence[Columns]]) -> list[tuple[Columns, bytes]]:
    """All shapes, each sorted by key and encoded."""
    return [(columns, encode(by_key(columns))) for columns in gather(requests)]


def _for_merge(requests: Sequence[Sequence[Columns]]) -> list[tuple[Columns, bytes]]:
    """The same points with none twice."""
    return _with_bytes(_unique(requests))


def _unique(requests: Sequence[Sequence[Columns]]) -> list[Columns]:
    return merge.unique(gather(requests))


def _with_bytes(shapes: Sequence[Columns]) -> list[tuple[Columns, bytes]]:
    return [(columns, encode(columns)) for columns in shapes]


async def _copy_into(connection: Connection, schema: str, table: str, shapes: Shapes) -> None:
    for columns, data in shapes:
        await connection.copy_to_table(
            table,
            schema_name=schema,
            columns=["time", "series_id", *columns.fields],
            source=_pieces(data),
            format="binary",
        )


async def _pieces(data: bytes) -> AsyncIterator[bytes]:
    turn = Turn()
    for start in range(0, len(data), PIECE_BYTES):
        yield data[start : start + PIECE_BYTES]
        await turn.pause()  # a server that keeps up has them all taken without anybody else's turn
