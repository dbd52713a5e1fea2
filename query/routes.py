"""The endpoints of query: parameters in, JSON out."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from aiohttp import web

from query import window
from query.store import Store
from query.window import AggregateRequest, FieldsRequest, HostsRequest, MeasurementsRequest, RequestT
from service.errors import BadRequest
from service.web import json_response


class Routes:
    """The handlers, and the paths they answer."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def table(self) -> list[web.RouteDef]:
        """What to add to the application's router."""
        return [
            web.get("/api/v1/aggregate", self.aggregate),
            web.post("/api/v1/aggregate", self.aggregate),
            web.get("/api/v1/hosts", self.hosts),
            web.get("/api/v1/measurements", self.measurements),
            web.get("/api/v1/fields", self.fields),
        ]

    async def aggregate(self, request: web.Request) -> web.Response:
        """Functions of metrics over time: 200 with the series, 400 or 404 with the parameter at fault."""
        return json_response(await self._store.aggregate(await _parsed(AggregateRequest, request)))

    async def hosts(self, request: web.Request) -> web.Response:
        """Every host and when it was last seen."""
        return json_response(await self._store.hosts(await _parsed(HostsRequest, request)))

    async def measurements(self, request: web.Request) -> web.Response:
        """Every measurement."""
        await _parsed(MeasurementsRequest, request)
        return json_response(await self._store.measurements())

    async def fields(self, request: web.Request) -> web.Response:
        """Every field, or those of one measurement."""
        return json_response(await self._store.fields(await _parsed(FieldsRequest, request)))


async def _parsed(model: type[RequestT], request: web.Request) -> RequestT:
    data: dict[str, Any]
    if request.method == "POST":
        if request.query_string:
            raise BadRequest("a POST has its parameters in its JSON body, not in the URL")
        data = window.from_json(await request.read())
    else:
        data = window.from_query(model, request.query.items())
    return window.parse(model, data, datetime.now(UTC))
