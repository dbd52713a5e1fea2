"""The composition root: settings in, an application out. Production and tests use the same."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware
from prometheus_client import CollectorRegistry

from query import openapi
from query.catalog import Catalog
from query.database import Database
from query.directory import Directory
from query.instruments import Instruments
from query.limits import Limited
from query.page.files import read_files
from query.page.routes import Page
from query.reader import Reader
from query.routes import Routes
from query.sending import Sender
from query.settings import QuerySettings
from query.shares import Shares
from query.storage import Storage
from query.store import Store
from service import VERSION, docs
from service import web as shell


def create_app(settings: QuerySettings) -> web.Application:
    """An application that answers from the database at `settings.database_url`, whenever that is there."""
    registry = CollectorRegistry()
    instruments = Instruments(registry)
    database = Database(settings, instruments)
    storage = Storage(database, instruments, settings.storage_seconds)

    async def status() -> Mapping[str, Any]:
        return {
            "version": VERSION,
            "edition": database.edition,
            "migration": database.migration,
            "storage": storage.seen,
            "search": "part" if database.similarity is None else "likeness",
        }

    app = shell.create_app(
        shell.Shell("query", not_ready=lambda: database.not_ready, status=status, registry=registry),
        max_body_bytes=settings.max_body_bytes,
    )
    app.middlewares.append(_count_failures(instruments))
    app.cleanup_ctx.append(database.opened)
    app.cleanup_ctx.append(storage.opened)
    catalog = Catalog(database)
    routes = Routes(
        Store(database, catalog, settings),
        Reader(database, catalog, settings),
        Directory(database, catalog, settings),
        Shares(settings, instruments),
        Sender(settings, instruments),
        settings.body_timeout_seconds,
    )
    app.add_routes(routes.table())
    docs.add_routes(app, openapi.document())
    app.add_routes(Page(read_files()).table())
    return app


def server_options(settings: QuerySettings) -> dict[str, Any]:
    """How the application must be served: a statement must not run on after its client has left."""
    return {
        "handler_cancellation": True,
        "shutdown_timeout": settings.shutdown_seconds,
        "max_line_size": settings.max_url_bytes,
    }


def _count_failures(instruments: Instruments) -> Middleware:
    @web.middleware
    async def count_failures(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            return await handler(request)
        except asyncio.CancelledError:
            instruments.abandoned.inc()
            raise
        except Limited as error:
            instruments.limited.labels(error.setting).inc()
            raise

    return count_failures
