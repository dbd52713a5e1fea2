"""Questions about points: a checked request becomes an answer."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any

from query import answers, limits, planner, statements
from query.catalog import Catalog
from query.database import Database
from query.fill import filled
from query.planner import Plan, State
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
        fields = planner.choose(request, await self._catalog.facts(request.metric))
        state = State()
        if planner.needs_state(request, datetime.now(UTC)):
            fact = fields[0]
            state = await self._catalog.state(fact.measurement_id, fact.measurement, request.start, request.end)
        plan = planner.plan(request, fields, state)
        rows = await self._rows(plan)
        max_rows = settings.max_values // len(plan.values)
        if request.fill != "none" and request.windows is not None:
            starts = list(request.windows.starts(request.start, request.end))
            rows = list(islice(filled(rows, len(request.by), starts, request.fill), max_rows + 1))
        if len(rows) > max_rows:
            raise limits.too_many_values(settings, f"more than {settings.max_values} values")
        answer = answers.aggregate(plan, rows)
        if len(answer["series"]) > settings.max_series:
            raise limits.too_many_series(settings)
        return answer

    async def _rows(self, plan: Plan) -> list[tuple[Any, ...]]:
        """The rows of a plan, at most one more than the answer may have."""
        settings = self._settings
        if not plan.pieces or (plan.ranking and not plan.ranking.pieces):
            return []
        statement = statements.aggregate(
            plan,
            limit=settings.max_values // len(plan.values) + 1,
            lookback=timedelta(seconds=settings.lookback_seconds),
        )
        return await self._database.fetch("aggregate", statement.text, statement.parameters)
