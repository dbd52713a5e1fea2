"""What this process knows of the catalog: which columns exist, and which id each series has.

The database makes measurements, fields and series (`catalog.ensure_fields`, `catalog.ensure_series`); here they
are asked for once and remembered. What is remembered holds for one *epoch* of the catalog: when the database is
dropped, restored or emptied, its ids mean nothing any more, and everything is forgotten.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

import orjson

from ingest.database import Connection, Pool
from ingest.instruments import Instruments
from ingest.points import Batch, Rows, Series
from ingest.series import SeriesCache
from service import logs

log = logs.get(__name__)

SERIES_A_CALL = 5_000
"""How many series one call asks for: the call holds the catalog's lock while it makes them."""

ENSURE_FIELDS = "SELECT name, column_name FROM catalog.ensure_fields($1, $2, $3, $4)"
ENSURE_SERIES = "SELECT catalog.epoch(), catalog.ensure_series($1, $2::text[]::jsonb[], $3, $4)"


@dataclass(frozen=True, slots=True)
class CatalogLimits:
    """Bounds of the whole catalog; each is a setting of ingest."""

    max_fields: int
    max_measurements: int
    max_series: int
    host_tags: tuple[str, ...]


class Catalog:
    """The measurements, fields and series that this process has met."""

    def __init__(self, pool: Pool, cache: SeriesCache, limits: CatalogLimits, instruments: Instruments) -> None:
        self._pool = pool
        self._cache = cache
        self._limits = limits
        self._instruments = instruments
        self._columns: dict[str, dict[str, str]] = {}
        self._learning = asyncio.Lock()
        self.epoch: str | None = None
        self.generation = 0
        """Counts how often everything was forgotten; a batch holds good ids only of its own generation."""

    def forget(self) -> None:
        """Forget everything: the database is another one, or has changed behind our back."""
        log.warning("the catalog has changed; learning it again", epoch=self.epoch)
        self._cache.clear()
        self._columns.clear()
        self.epoch = None
        self.generation += 1

    def columns(self, measurement: str, fields: Iterable[str]) -> list[str]:
        """The columns of fields that were resolved."""
        known = self._columns[measurement]
        return [known[name] for name in fields]

    async def resolve(self, batch: Batch) -> None:
        """Give every series of `batch` its id and make its fields exist; reject points past a limit.

        Raises what asyncpg raises; may be called again then.
        """
        if self._knows(batch):
            return
        async with self._learning, self._pool.acquire() as connection:
            # The request before us may have met the same new things, or found the catalog changed.
            while not self._knows(batch):
                await self._learn(batch, connection)
        self._instruments.cached_series.set(len(self._cache))

    def _knows(self, batch: Batch) -> bool:
        if batch.generation != self.generation:
            for rows in batch.rows:
                for series in rows.series:
                    series.id = 0
            batch.generation = self.generation
        return all(self._knows_fields(rows) and all(series.id for series in rows.series) for rows in batch.rows)

    def _knows_fields(self, rows: Rows) -> bool:
        known = self._columns.get(rows.measurement)
        return known is not None and all(name in known for name in rows.fields)

    async def _learn(self, batch: Batch, connection: Connection) -> None:
        for rows in batch.rows:
            if not self._knows_fields(rows):
                await self._learn_fields(batch, rows, connection)
        unknown: dict[str, dict[Series, None]] = {}
        for rows in batch.rows:
            unknown.setdefault(rows.measurement, {}).update((series, None) for series in rows.series if not series.id)
        for measurement, series in unknown.items():
            for some in _slices(series, SERIES_A_CALL):
                if not await self._learn_series(measurement, some, connection):
                    return
        for rows in batch.rows:
            self._reject_unmade(batch, rows)

    async def _learn_fields(self, batch: Batch, rows: Rows, connection: Connection) -> None:
        limits = self._limits
        answer = await connection.fetch(
            ENSURE_FIELDS, rows.measurement, list(rows.fields), limits.max_fields, limits.max_measurements
        )
        made = {row["name"]: row["column_name"] for row in answer}
        if made:
            self._columns.setdefault(rows.measurement, {}).update(made)
        missing = [name for name in rows.fields if name not in made]
        if not missing:
            return
        if made or rows.measurement in self._columns:
            reason, setting, bound = "max_fields", "INGEST_MAX_FIELDS_PER_MEASUREMENT", limits.max_fields
            text = f"measurement {rows.measurement!r} has no room for field {missing[0]!r}"
        else:
            reason, setting, bound = "max_measurements", "INGEST_MAX_MEASUREMENTS", limits.max_measurements
            text = f"there is no room for measurement {rows.measurement!r}"
        for place in rows.places:
            batch.reject(place, reason, f"{text}: at most {bound} are allowed ({setting})")
        rows.keep([False] * len(rows))

    async def _learn_series(self, measurement: str, series: list[Series], connection: Connection) -> bool:
        """Ask for ids; False when the catalog turned out to be another one, and all was forgotten."""
        tags = [orjson.dumps(dict(one.tags)).decode() for one in series]
        answer = await connection.fetchrow(
            ENSURE_SERIES, measurement, tags, list(self._limits.host_tags), self._limits.max_series
        )
        assert answer is not None, "a SELECT without FROM has one row"
        epoch, ids = answer
        if self.epoch is None:
            self.epoch = epoch
        elif epoch != self.epoch:
            self.forget()
            return False
        for one, number in zip(series, ids, strict=True):
            one.id = number or 0
        self._instruments.series_resolved.inc(len(series))
        return True

    def _reject_unmade(self, batch: Batch, rows: Rows) -> None:
        made = [series.id != 0 for series in rows.series]
        if all(made):
            return
        for place, is_made in zip(rows.places, made, strict=True):
            if not is_made:
                text = f"there is no room for a new series: at most {self._limits.max_series} are allowed"
                batch.reject(place, "max_series", f"{text} (INGEST_MAX_SERIES)")
        rows.keep(made)


def _slices(series: Iterable[Series], size: int) -> Iterator[list[Series]]:
    iterator = iter(series)
    while some := list(islice(iterator, size)):
        yield some
