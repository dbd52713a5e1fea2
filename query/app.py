"""The composition root: settings in, an application out. Production and tests use the same."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware
from prometheus_client import CollectorRegistry

from query import openapi
from query.assumptions import Misfit
from query.cache import Cache, Memory
from query.catalog import Catalog
from query.directory import Directory
from query.instruments import Instruments
from query.limits import Limited
from query.page.files import read_files
from query.page.routes import Page
from query.reader import Reader
from query.remote import Remote
from query.reuse import Reuse
from query.routes import Routes
from query.sending import Sender
from query.servers import SERVER, Servers, answering
from query.settings import QuerySettings
from query.shares import Shares
from query.storage import Storage
from query.store import Store
from service import VERSION, docs
from service import web as shell
from service.body import BodyLimits
from service.connections import Bound


def create_app(settings: QuerySettings) -> web.Application:
    """An application that answers from the database at `settings.database_url`, whenever that is there."""
    registry = CollectorRegistry()
    instruments = Instruments(registry)
    servers = Servers(settings, instruments)
    storage = Storage(servers, instruments, settings.storage_seconds)

    async def status() -> Mapping[str, Any]:
        return {"version": VERSION, **servers.status(), "storage": storage.seen}

    app = shell.create_app(
        shell.Shell("query", not_ready=lambda: servers.not_ready, status=status, registry=registry),
        max_body_bytes=settings.max_body_bytes,
    )
    app.cleanup_ctx.append(servers.opened)
    app.cleanup_ctx.append(storage.opened)
    app.on_response_prepare.append(_name_server)
    catalog = Catalog(servers)
    app.middlewares.append(_count_failures(instruments, catalog))
    reuse = _reuse(app, servers, settings, instruments)
    routes = Routes(
        servers,
        Store(servers, catalog, reuse, settings),
        Reader(servers, catalog, reuse, settings),
        Directory(servers, catalog, settings),
        Shares(settings, instruments),
        Sender(settings, instruments),
        BodyLimits(
            settings.max_body_bytes,
            settings.body_timeout_seconds,
            settings="QUERY",
            remedy="ask for less in a request",
        ),
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
        "keepalive_timeout": settings.idle_seconds,
        "max_line_size": settings.max_url_bytes,
        "auto_decompress": False,
    }


def connections_bound(settings: QuerySettings) -> Bound:
    """How many connections clients may have, and how long one may take nothing of its answer."""
    return Bound(
        settings.max_client_connections,
        "QUERY_MAX_CLIENT_CONNECTIONS",
        settings.client_share,
        settings.send_timeout_seconds,
    )


def _reuse(app: web.Application, servers: Servers, settings: QuerySettings, instruments: Instruments) -> Reuse | None:
    """What keeps answers, if they are to be kept."""
    if settings.cache == "off":
        return None
    cache: Cache = Memory(settings.cache_max_bytes, instruments)
    if settings.cache_url is not None:
        cache = Remote(settings.cache_url.get_secret_value(), settings, instruments)

    async def close(_: web.Application) -> None:
        await cache.close()

    app.on_cleanup.append(close)
    return Reuse(cache, servers, settings, instruments)


async def _name_server(_: web.Request, response: web.StreamResponse) -> None:
    """Tell the client which server's points it gets."""
    if (name := answering()) is not None:
        response.headers[SERVER] = name


def _count_failures(instruments: Instruments, catalog: Catalog) -> Middleware:
    @web.middleware
    async def count_failures(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            return await handler(request)
        except asyncio.CancelledError:
            instruments.requests.abandoned.inc()
            raise
        except Limited as error:
            instruments.requests.limited.labels(error.setting).inc()
            raise
        except Misfit as error:
            raise await catalog.explained(error) from error

    return count_failures
