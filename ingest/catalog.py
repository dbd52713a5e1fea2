"""What this process knows of the catalog: which columns exist, and which id each series has.

The database makes measurements, fields and series (`catalog.ensure_fields`, `catalog.ensure_series`); here they
are asked for once and remembered. What is remembered holds for one *epoch* of the catalog: when the database is
dropped or restored, or something is taken out of its catalog, everything is forgotten.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice

import asyncpg
import numpy as np

from ingest.copy import Columns
from ingest.database import ANSWER_SECONDS, Connection, Pool, connected
from ingest.instruments import Instruments
from ingest.points import Batch, Rows, Series
from ingest.series import SeriesCache
from ingest.sqlstates import Meaning, meaning, summary
from ingest.turns import Turn
from service import logs

log = logs.get(__name__)

SERIES_A_CALL = 5_000
"""How many series one call asks for: the call holds the catalog's lock while it makes them."""

STEP_POINTS = 10_000
"""How many points are looked at until others may have their turn."""

LOCKED_SECONDS = 3.0
"""How long a table is left alone that could not be extended: each try holds up its writers for a second."""

Why = tuple[str, str]
"""A reason that is counted, and a text for people."""

TOO_NEW = "max_new_series"
"""The reason of points that are rejected in this minute only."""

EPOCH = "SELECT catalog.epoch()"
ENSURE_FIELDS = "SELECT name, column_name FROM catalog.ensure_fields($1, $2, $3, $4)"
ENSURE_SERIES = "SELECT catalog.ensure_series($1, $2::text[]::jsonb[], $3, $4, $5)"


@dataclass(frozen=True, slots=True)
class CatalogLimits:
    """Bounds of the whole catalog; each is a setting of ingest."""

    max_fields: int
    max_measurements: int
    max_series: int
    max_new_series_per_minute: int
    host_tags: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Known:
    """The points of a batch with their series' ids, and the epoch in which these are good."""

    epoch: str
    shapes: list[Columns]


class Catalog:
    """The measurements, fields and series that this process has met. Only one task may `learn`."""

    def __init__(self, pool: Pool, cache: SeriesCache, limits: CatalogLimits, instruments: Instruments) -> None:
        self._pool = pool
        self._cache = cache
        self._limits = limits
        self._misses = instruments.series.misses
        self._columns: dict[str, dict[str, str]] = {}
        self._doubted: set[str] = set()
        self._locked_until: dict[str, float] = {}
        self._too_new: set[Series] = set()
        self._epoch = ""
        self.learned_at = -math.inf
        """When the database last made, or named, fields or series that were asked for, by `time.monotonic`."""
        self.generation = 0
        """Counts how often everything was forgotten; a batch's series are of the generation that it names."""

    def saw(self, epoch: str) -> None:
        """The database's epoch is `epoch` now: forget everything if it was learned in another one."""
        if epoch != self._epoch and self._epoch:
            log.warning("the catalog has changed; learning it again", was=self._epoch, now=epoch)
            self._cache.clear()
            self._columns = {}
            self.generation += 1
        self._epoch = epoch

    def doubt(self, batch: Batch) -> None:
        """The batch's measurements are not as we remember them: their fields must be asked for again."""
        self._doubted.update(rows.measurement for rows in batch.rows)

    async def known(self, batch: Batch) -> Known | None:
        """The batch's points for COPY; None while something of it must be learned first."""
        turn = Turn()
        while True:
            generation = self.generation
            await self._renew(batch, turn)
            shapes = await self._columns_of(batch, turn)
            if generation == self.generation:
                return None if shapes is None else Known(self._epoch, shapes)

    async def learn(self, batches: Sequence[Batch], on_answer: Callable[[], None]) -> dict[str, BaseException]:
        """Make what the batches lack, and reject the points for which there is no room.

        Calls `on_answer` when the database has answered, before the work. Returns, by measurement, the errors
        that concern one measurement alone; not all that needs one of these is learned yet, and what the database
        refuses for good is rejected. Raises one that concerns all, of `DATABASE_ERRORS`.
        """
        errors: dict[str, BaseException] = {}
        async with connected(self._pool) as connection:
            # Read before anything is learned: should the epoch change meanwhile, writers will notice.
            self.saw(await connection.fetchval(EPOCH, timeout=ANSWER_SECONDS))
            on_answer()
            generation = self.generation
            self._too_new.clear()
            while self._doubted:
                self._columns.pop(self._doubted.pop(), None)
            turn = Turn()
            for batch in batches:
                await self._renew(batch, turn)
            for measurement, rows in _by_measurement(batches).items():
                try:
                    await self._learn_measurement(measurement, rows, connection)
                except asyncpg.PostgresError as error:
                    if meaning(error) is Meaning.AGAIN:
                        raise
                    errors[measurement] = error
        for batch in batches:
            await self._reject_unmade(batch, errors, generation)
        return errors

    async def _columns_of(self, batch: Batch, turn: Turn) -> list[Columns] | None:
        shapes = []
        for rows in batch.rows:
            if rows.measurement in self._doubted or not self._knows_fields(rows):
                return None
            names = self._columns[rows.measurement]
            for some in _steps(rows):
                columns = Columns.of(rows, names, some)
                if not columns.ids.all():
                    return None
                shapes.append(columns)
                await turn.pause()
        return shapes

    async def _renew(self, batch: Batch, turn: Turn) -> None:
        """Replace series of an earlier generation: their ids are not good any more."""
        while batch.generation != self.generation:
            generation = self.generation
            for rows in batch.rows:
                for some in _steps(rows):
                    rows.series[some] = map(self._cache.renewed, rows.series[some])
                    await turn.pause()
            batch.generation = generation

    def _knows_fields(self, rows: Rows) -> bool:
        known = self._columns.get(rows.measurement)
        return known is not None and all(name in known for name in rows.fields)

    async def _learn_measurement(self, measurement: str, of_it: list[Rows], connection: Connection) -> None:
        unmade = None
        try:
            await self._learn_fields(measurement, of_it, connection)
        except asyncpg.PostgresError as error:
            if meaning(error) is not Meaning.DATA and not isinstance(error, asyncpg.LockNotAvailableError):
                raise
            unmade = error
        # What needs no new field can go on, whoever holds the table, and however wide it is.
        await self._learn_series([rows for rows in of_it if self._knows_fields(rows)], connection)
        if unmade is not None:
            raise unmade

    async def _learn_fields(self, measurement: str, of_it: list[Rows], connection: Connection) -> None:
        columns = self._columns
        for fields in dict.fromkeys(rows.fields for rows in of_it if not self._knows_fields(rows)):
            if time.monotonic() < self._locked_until.get(measurement, 0):
                raise asyncpg.LockNotAvailableError(
                    f"somebody uses {measurement!r} for long, and it cannot be extended"
                )
            try:
                answer = await connection.fetch(
                    ENSURE_FIELDS, measurement, list(fields), self._limits.max_fields, self._limits.max_measurements
                )
            except asyncpg.LockNotAvailableError:
                self._locked_until[measurement] = time.monotonic() + LOCKED_SECONDS
                raise
            self._locked_until.pop(measurement, None)
            self.learned_at = time.monotonic()
            if answer:
                columns[measurement] = {row["name"]: row["column_name"] for row in answer}

    async def _learn_series(self, of_it: list[Rows], connection: Connection) -> None:
        unknown: dict[Series, None] = {}
        turn = Turn()
        for rows in of_it:
            for piece in _steps(rows):
                unknown.update(dict.fromkeys(series for series in rows.series[piece] if not series.id))
                await turn.pause()
        for some in _slices(unknown, SERIES_A_CALL):
            ids = await connection.fetchval(
                ENSURE_SERIES,
                some[0].measurement,
                [series.tags for series in some],
                list(self._limits.host_tags),
                self._limits.max_series,
                self._limits.max_new_series_per_minute,
            )
            self.learned_at = time.monotonic()
            for series, number in zip(some, ids, strict=True):
                series.id = number or 0
            self._too_new.update(series for series, number in zip(some, ids, strict=True) if number == 0)
            self._misses.inc(len(some))

    async def _unmade(self, rows: Rows, turn: Turn) -> dict[Why, list[int]]:
        """Which of the rows have no place in the catalog, and why."""
        if not self._knows_fields(rows):
            return {self._no_fields(rows): list(range(len(rows)))}
        too_new, no_room = self._no_series()
        found: dict[Why, list[int]] = {}
        for some in _steps(rows):
            for n, series in enumerate(rows.series[some], some.start):
                if not series.id:
                    why = too_new if series in self._too_new else no_room
                    found.setdefault(why, []).append(n)
            await turn.pause()
        return found

    async def _reject_unmade(self, batch: Batch, errors: Mapping[str, BaseException], generation: int) -> None:
        """Reject the points that have no place in the catalog, unless that is not the one any more that was asked."""
        turn = Turn()
        for rows in batch.rows:
            error = errors.get(rows.measurement)
            is_final = error is None or meaning(error) is Meaning.DATA
            unmade = await self._unmade(rows, turn) if is_final else {}
            if unmade and error is not None:
                why = "database", f"the database refuses a name: {summary(error)}"
                unmade = {why: sorted(chain.from_iterable(unmade.values()))}
            if generation != self.generation:
                return
            if unmade:
                _reject(batch, rows, unmade)

    def _no_series(self) -> tuple[Why, Why]:
        """Why a series was not made: too many in this minute, or in total."""
        minute = f"at most {self._limits.max_new_series_per_minute} are made in one (INGEST_MAX_NEW_SERIES_PER_MINUTE)"
        total = f"at most {self._limits.max_series} are allowed (INGEST_MAX_SERIES)"
        return (
            (TOO_NEW, f"too many new series in this minute, {minute}"),
            ("max_series", f"no room for a new series, {total}"),
        )

    def _no_fields(self, rows: Rows) -> Why:
        """Why the fields of `rows` were not made."""
        known = self._columns.get(rows.measurement)
        if known is None:
            bound = f"at most {self._limits.max_measurements} are allowed (INGEST_MAX_MEASUREMENTS)"
            return "max_measurements", f"no room for measurement {rows.measurement!r}, {bound}"
        first = next(name for name in rows.fields if name not in known)
        bound = f"at most {self._limits.max_fields} are allowed (INGEST_MAX_FIELDS_PER_MEASUREMENT)"
        return "max_fields", f"no room for field {first!r} in measurement {rows.measurement!r}, {bound}"


def _by_measurement(batches: Iterable[Batch]) -> dict[str, list[Rows]]:
    """The rows of all batches; every process learns measurements in the same order."""
    found: dict[str, list[Rows]] = {}
    for batch in batches:
        for rows in batch.rows:
            found.setdefault(rows.measurement, []).append(rows)
    return dict(sorted(found.items()))


def _reject(batch: Batch, rows: Rows, unmade: Mapping[Why, Sequence[int]]) -> None:
    kept = np.ones(len(rows), bool)
    for (reason, text), which in unmade.items():
        batch.reject_all(np.frombuffer(rows.places, np.int64)[which].tolist(), reason, text)
        kept[which] = False
    rows.keep(kept)


def _steps(rows: Rows) -> Iterator[slice]:
    """The rows in parts, each a step's work of less than a turn."""
    return (slice(start, start + STEP_POINTS) for start in range(0, len(rows), STEP_POINTS))


def _slices(series: Iterable[Series], size: int) -> Iterator[list[Series]]:
    iterator = iter(series)
    while some := list(islice(iterator, size)):
        yield some
