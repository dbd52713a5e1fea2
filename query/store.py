"""Questions about points: a checked request becomes an answer."""

from __future__ import annotations

from typing import Any

from query import answers, limits, planner, statements
from query.catalog import Catalog
from query.database import Database
from query.settings import QuerySettings
from query.window import AggregateRequest


class Store:
    """Everything that query computes from points."""

    def __init__(self, database: Database, catalog: Catalog, settings: QuerySettings) -> None:
        self._database = database
        self._catalog = catalog
        self._settings = settings

    async def aggregate(self, request: AggregateRequest) -> dict[str, Any]:
        """The answer of `/api/v1/aggregate`.

        Raises `NotFound` for a metric that does not exist, `BadRequest` for metrics of several measurements
        or a bad regular expression, `Limited` past a bound, `Unavailable` while the database is away.
        """
        settings = self._settings
        limits.check_aggregate(request, settings)
        await self._catalog.check_regexes(request.match)
        plan = planner.plan(request, await self._catalog.facts(request.metric))
        max_rows = settings.max_values // len(plan.values)
        statement = statements.aggregate(plan, limit=max_rows + 1)
        rows = await self._database.fetch("aggregate", statement.text, statement.parameters)
        if len(rows) > max_rows:
            raise limits.too_many_values(settings, f"more than {settings.max_values} values")
        answer = answers.aggregate(plan, rows)
        if len(answer["series"]) > settings.max_series:
            raise limits.too_many_series(settings)
        return answer
