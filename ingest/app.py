"""The composition root of ingest: everything is made here, and handed to what needs it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any

from aiohttp import web

from ingest.budget import Budget
from ingest.catalog import Catalog, CatalogLimits
from ingest.database import Watch, create_pool
from ingest.instruments import Instruments
from ingest.ladder import Ladder
from ingest.names import Limits
from ingest.routes import Intake, add_routes
from ingest.series import SeriesCache
from ingest.settings import IngestSettings
from ingest.writer import Writer
from service import logs
from service.web import Shell
from service.web import create_app as create_shell

log = logs.get(__name__)


def create_app(settings: IngestSettings) -> web.Application:
    """The application, made inside an event loop; it starts whether or not the database is there."""
    pool = create_pool(settings)
    budget = Budget(settings.max_pending_bytes)

    async def status() -> Mapping[str, Any]:
        return {
            "database": watch.edition,
            "pending_bytes": budget.used_bytes,
            "cached_series": len(cache),
        }

    shell = Shell("ingest", lambda: watch.not_ready, status)
    instruments = Instruments(shell.registry)
    instruments.pending_bytes.set_function(lambda: budget.used_bytes)
    instruments.cached_series.set_function(lambda: len(cache))
    instruments.cache_bytes.set_function(lambda: cache.size_bytes)
    watch = Watch(pool, instruments)
    limits = Limits(settings.max_fields_per_measurement, settings.max_tags_per_point, settings.max_tag_bytes)
    cache = SeriesCache(limits, settings.max_cache_bytes)
    catalog = Catalog(
        pool,
        cache,
        CatalogLimits(
            settings.max_fields_per_measurement,
            settings.max_measurements,
            settings.max_series,
            settings.max_new_series_per_minute,
            tuple(settings.host_tags),
        ),
        instruments,
    )
    writer = Writer(settings, catalog, Ladder(pool, catalog, instruments), instruments)

    async def running(_: web.Application) -> AsyncIterator[None]:
        await pool
        tasks = [asyncio.create_task(watch.run()), asyncio.create_task(writer.run())]
        for task in tasks:
            task.add_done_callback(_report)
        yield
        # Requests under way have been answered by now: the server waits for them before it cleans up.
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        pool.terminate()  # to close them would be to wait for the server, which may be away

    app = create_shell(shell, max_body_bytes=settings.max_body_bytes)
    app.cleanup_ctx.append(running)
    add_routes(app, Intake(settings, cache, catalog, writer, budget, instruments))
    return app


def _report(task: asyncio.Task[None]) -> None:
    """Tell of a background task that a fault has ended."""
    if not task.cancelled() and (error := task.exception()):
        log.critical("a part of ingest has ended", exc_info=error)
