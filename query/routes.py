"""The endpoints of query: parameters in, tables out."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

from aiohttp import web
from aiohttp.typedefs import Handler

from query import formats, lists, parameters
from query.directory import Directory
from query.formats import Format
from query.negotiation import listed
from query.parameters import RequestT
from query.points import PointsRequest
from query.position import HEADER
from query.reader import Reader
from query.sending import Sender
from query.servers import Servers
from query.shares import Shares
from query.store import Store
from query.tables import Table
from query.window import AggregateRequest
from service.body import BodyLimits, read_body
from service.errors import BadRequest


class Routes:
    """The handlers, and the paths they answer."""

    def __init__(
        self,
        servers: Servers,
        store: Store,
        reader: Reader,
        directory: Directory,
        shares: Shares,
        sender: Sender,
        body_limits: BodyLimits,
    ) -> None:
        self._servers = servers
        self._store = store
        self._reader = reader
        self._directory = directory
        self._shares = shares
        self._sender = sender
        self._body_limits = body_limits

    def table(self) -> list[web.RouteDef]:
        """What to add to the application's router."""
        aggregate = self._answering(AggregateRequest, self._store.aggregate)
        return [
            web.get("/api/v1/aggregate", aggregate),
            web.post("/api/v1/aggregate", aggregate),
            *(web.get(path, self._answering(model, answer)) for path, model, answer in self._lists()),
        ]

    def _lists(self) -> list[tuple[str, type[Any], Callable[[Any], Awaitable[Table]]]]:
        directory = self._directory
        return [
            ("/api/v1/last", lists.LastRequest, directory.last),
            ("/api/v1/points", PointsRequest, self._reader.points),
            ("/api/v1/measurements", lists.MeasurementsRequest, directory.measurements),
            ("/api/v1/fields", lists.FieldsRequest, directory.fields),
            ("/api/v1/tags", lists.TagsRequest, directory.tags),
            ("/api/v1/tags/{key:[^/]+}/values", lists.TagValuesRequest, directory.tag_values),
            ("/api/v1/series", lists.SeriesRequest, directory.series),
            ("/api/v1/hosts", lists.HostsRequest, directory.hosts),
        ]

    def _answering(self, model: type[RequestT], answer: Callable[[RequestT], Awaitable[Table]]) -> Handler:
        async def answering(request: web.Request) -> web.StreamResponse:
            with await self._shares.one(request.remote or ""):
                # Only now: bodies are in memory of no more requests than that, and a replica may have fallen behind.
                parsed, form = await self._asked(model, request)
                return await self._sender.send(request, form, await answer(parsed))

        return answering

    async def _asked(self, model: type[RequestT], request: web.Request) -> tuple[RequestT, Format]:
        """What a request asks for, and in which format it wants to hear it; who answers it is settled as well."""
        data: dict[str, Any]
        if request.method == "POST":
            if request.query_string:
                raise BadRequest("a POST has its parameters in its JSON body, not in the URL")
            data = parameters.from_json(await read_body(request, self._body_limits))
        else:
            parameters.check_encoding(request.raw_path)
            data = parameters.from_query(model, request.query.items())
        for name, value in request.match_info.items():
            if name in data:
                raise BadRequest(f"{name}: it stands in the path, and cannot be a parameter too", parameter=name)
            data[name] = value
        form = formats.choose(data.pop(parameters.FORMAT, None), listed(request.headers.getall("Accept", [])))
        data = parameters.with_header(data, request.headers.getall(HEADER, []))
        parsed = parameters.parse(model, data, datetime.now(UTC))
        await self._servers.choose(parsed.consistency, parsed.position)
        return parsed, form
