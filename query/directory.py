"""Answers about what there is: hosts, measurements, fields."""

from __future__ import annotations

from typing import Any

from query import catalog_statements, limits
from query.catalog import Catalog
from query.database import Database
from query.lists import FieldsRequest, HostsRequest
from query.settings import QuerySettings


class Directory:
    """Everything that query lists."""

    def __init__(self, database: Database, catalog: Catalog, settings: QuerySettings) -> None:
        self._database = database
        self._catalog = catalog
        self._settings = settings

    async def hosts(self, request: HostsRequest) -> dict[str, Any]:
        """The answer of `/api/v1/hosts`: every host of every measurement, seen since `since` or not."""
        settings = self._settings
        limits.check_matchers(request.match, settings)
        await self._catalog.check_regexes(request.match)
        last_seen: dict[str, Any] = {}
        for measurement_id, measurement, _ in await self._measurements():
            statement = catalog_statements.last_seen(
                measurement, measurement_id, request.match, request.since, limit=settings.max_names + 1
            )
            for host, seen in await self._database.fetch("hosts", statement.text, statement.parameters):
                last_seen[host] = max(filter(None, (seen, last_seen.get(host))), default=None)
            if len(last_seen) > settings.max_names:
                raise limits.too_many_names(settings, "hosts", "choose fewer by match")
        return {
            "since": request.since,
            "hosts": [{"host": host, "last_seen": last_seen[host]} for host in sorted(last_seen)],
        }

    async def measurements(self) -> dict[str, Any]:
        """The answer of `/api/v1/measurements`."""
        return {
            "measurements": [{"measurement": name, "fields": fields} for _, name, fields in await self._measurements()]
        }

    async def fields(self, request: FieldsRequest) -> dict[str, Any]:
        """The answer of `/api/v1/fields`. Raises `NotFound` for a measurement that does not exist."""
        limit = self._settings.max_names
        wanted = None if request.measurement is None else [request.measurement]
        facts = await self._catalog.list_fields(wanted, limit + 1)
        if len(facts) > limit:
            raise limits.too_many_names(self._settings, "fields", "ask for those of one measurement")
        if not facts and request.measurement is not None:
            raise await self._catalog.no_measurement("measurement", request.measurement)
        return {
            "fields": [
                {"metric": fact.metric, "measurement": fact.measurement, "field": fact.field, "column": fact.column}
                for fact in facts
            ]
        }

    async def _measurements(self) -> list[tuple[Any, ...]]:
        limit = self._settings.max_names
        rows = await self._database.fetch("catalog", catalog_statements.MEASUREMENTS, {"limit": limit + 1})
        if len(rows) > limit:
            raise limits.too_many_names(self._settings, "measurements", "raise it to list them all")
        return rows
