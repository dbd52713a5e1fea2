"""The composition root of ingest: everything is made here, and handed to what needs it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from aiohttp import web
from prometheus_client import CollectorRegistry

from ingest import holds, openapi
from ingest.budget import Budget
from ingest.catalog import Catalog, CatalogLimits
from ingest.database import Pool, Watch, create_pool
from ingest.decoders import Decoders
from ingest.drainer import Drainer
from ingest.instruments import Instruments
from ingest.keeper import Keeper
from ingest.ladder import Ladder
from ingest.names import Limits
from ingest.replay import Replay
from ingest.routes import Intake, add_routes
from ingest.series import SeriesCache
from ingest.settings import IngestSettings
from ingest.spool.errors import SpoolFailed
from ingest.spool.queue import SpoolQueue
from ingest.spool.store import Store, Totals, survey
from ingest.writer import Writer
from service import docs, logs
from service.settings import MEBIBYTES
from service.web import Shell
from service.web import create_app as create_shell

log = logs.get(__name__)

SPOOL = web.AppKey("SPOOL", Store)
"""Where an application spools to, unless it does without."""

LARGEST_ENTRY_BYTES = 64 * MEBIBYTES
"""Of the spool, decompressed: larger than any body unless `max_body_bytes` says otherwise."""

Part = Callable[[], Coroutine[Any, Any, None]]
"""What runs in the background until it is cancelled."""


def create_app(settings: IngestSettings) -> web.Application:
    """The application, made inside an event loop; it starts whether or not the database is there."""
    registry = CollectorRegistry()
    instruments = Instruments(registry)
    pool = create_pool(settings)
    watch = Watch(pool, instruments)
    budget = Budget(settings.max_pending_bytes)
    instruments.process.pending_bytes.set_function(lambda: budget.used_bytes)
    cache = SeriesCache(_limits(settings), settings.max_cache_bytes)
    instruments.series.cached.set_function(lambda: len(cache))
    instruments.series.bytes.set_function(lambda: cache.size_bytes)
    catalog = Catalog(pool, cache, _catalog_limits(settings), instruments)
    writer = Writer(settings, catalog, Ladder(pool, catalog, instruments), instruments)
    decoders = Decoders(cache, settings.max_age_seconds, settings.max_ahead_seconds)
    spool = _open_spool(settings, instruments)
    keeper = Keeper(writer, spool, settings.spool_max_age_seconds, instruments)

    async def status() -> Mapping[str, Any]:
        return {
            "database": watch.edition,
            "pending_bytes": budget.used_bytes,
            "cached_series": len(cache),
            "spool": None if spool is None else asdict(spool.store.totals()),
        }

    shell = Shell("ingest", lambda: watch.not_ready, status, registry)
    app = create_shell(shell, max_body_bytes=settings.max_body_bytes)
    parts: list[Part] = [watch.run, writer.run, partial(holds.watch, instruments)]
    if spool is not None:
        app[SPOOL] = spool.store
        replay = Replay(writer, catalog, decoders, budget)
        parts.append(Drainer(spool, replay, settings.spool_patience_seconds, instruments).run)
    app.cleanup_ctx.append(partial(_running, pool, spool, parts))
    docs.add_routes(app, openapi.document())
    add_routes(app, Intake(settings, decoders, catalog, keeper, budget, instruments))
    return app


async def _running(
    pool: Pool, spool: SpoolQueue | None, parts: Sequence[Part], _: web.Application
) -> AsyncIterator[None]:
    """The background tasks, and what they work with, until the application stops."""
    await pool
    tasks = [asyncio.create_task(part()) for part in parts]
    for task in tasks:
        task.add_done_callback(_report)
    yield
    # Requests under way have been answered by now: the server waits for them before it cleans up.
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    pool.terminate()  # to close them would be to wait for the server, which may be away
    if spool is not None:
        await spool.close()


def _report(task: asyncio.Task[None]) -> None:
    """Tell of a background task that a fault has ended."""
    if not task.cancelled() and (error := task.exception()):
        log.critical("a part of ingest has ended", exc_info=error)


def _limits(settings: IngestSettings) -> Limits:
    return Limits(
        settings.max_fields_per_measurement,
        settings.max_tags_per_point,
        settings.max_tag_bytes,
        settings.max_shapes_per_request,
        tuple(settings.host_tags),
    )


def _catalog_limits(settings: IngestSettings) -> CatalogLimits:
    return CatalogLimits(
        settings.max_fields_per_measurement,
        settings.max_measurements,
        settings.max_series,
        settings.max_new_series_per_minute,
        tuple(settings.host_tags),
    )


def _open_spool(settings: IngestSettings, instruments: Instruments) -> SpoolQueue | None:
    """The spool, if there is to be one. Raises `SpoolFailed` when its folder cannot be used."""
    if settings.spool == "off":
        _tell_of_leftovers(settings.spool_directory)
        return None
    store = Store(
        settings.spool_directory,
        max_bytes=settings.spool_max_bytes,
        max_entry_bytes=max(LARGEST_ENTRY_BYTES, settings.max_body_bytes + MEBIBYTES),
    )
    instruments.spool.bytes.labels("waiting").set_function(lambda: store.totals().bytes)
    instruments.spool.bytes.labels("quarantined").set_function(lambda: store.totals().quarantined_bytes)
    instruments.spool.entries.labels("waiting").set_function(lambda: store.totals().entries)
    instruments.spool.entries.labels("quarantined").set_function(lambda: store.totals().quarantined_entries)
    instruments.spool.points.set_function(lambda: store.totals().points)
    instruments.spool.oldest.set_function(lambda: _age_seconds(store.totals()))
    return SpoolQueue(store)


def _tell_of_leftovers(folder: Path) -> None:
    """What was acknowledged before the spool was turned off must not be forgotten."""
    try:
        entries = sum(len(slot.entries) for slot in survey(folder).values())
    except SpoolFailed as error:
        log.warning("the spool is off, and whether anything waits in it is not known", error=str(error))
        return
    if entries:
        log.error(
            "acknowledged points wait in the spool, which is off: python -m ingest spool replay writes them",
            entries=entries,
            folder=str(folder),
        )


def _age_seconds(totals: Totals) -> float:
    return 0.0 if totals.oldest_us is None else max(0.0, time.time() - totals.oldest_us / 1e6)
