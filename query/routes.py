"""The endpoints of query: parameters in, JSON out."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

from aiohttp import web

from query import parameters
from query.directory import Directory
from query.lists import FieldsRequest, HostsRequest, MeasurementsRequest
from query.parameters import RequestT
from query.store import Store
from query.window import AggregateRequest
from service.errors import BadRequest, RequestTimeout
from service.web import json_response


class Routes:
    """The handlers, and the paths they answer."""

    def __init__(self, store: Store, directory: Directory, body_timeout_seconds: float) -> None:
        self._store = store
        self._directory = directory
        self._body_timeout_seconds = body_timeout_seconds

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
        return json_response(await self._store.aggregate(await self._parsed(AggregateRequest, request)))

    async def hosts(self, request: web.Request) -> web.Response:
        """Every host and when it was last seen."""
        return json_response(await self._directory.hosts(await self._parsed(HostsRequest, request)))

    async def measurements(self, request: web.Request) -> web.Response:
        """Every measurement."""
        await self._parsed(MeasurementsRequest, request)
        return json_response(await self._directory.measurements())

    async def fields(self, request: web.Request) -> web.Response:
        """Every field, or those of one measurement."""
        return json_response(await self._directory.fields(await self._parsed(FieldsRequest, request)))

    async def _parsed(self, model: type[RequestT], request: web.Request) -> RequestT:
        data: dict[str, Any]
        if request.method == "POST":
            if request.query_string:
                raise BadRequest("a POST has its parameters in its JSON body, not in the URL")
            data = parameters.from_json(await self._body(request))
        else:
            data = parameters.from_query(model, request.query.items())
        return parameters.parse(model, data, datetime.now(UTC))

    async def _body(self, request: web.Request) -> bytes:
        try:
            async with asyncio.timeout(self._body_timeout_seconds):
                return await request.read()
        except TimeoutError:
            seconds = f"{self._body_timeout_seconds:g} s (QUERY_BODY_TIMEOUT_SECONDS)"
            raise RequestTimeout(f"the body did not arrive within {seconds}") from None
