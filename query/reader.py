"""Points themselves: a checked request becomes a table of them."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import aclosing

from query import limits, planner, point_statements
from query.catalog import Catalog
from query.conditions import Statement
from query.facts import FieldFact, missing
from query.found import Found
from query.pages import Page
from query.points import Place, PointsRequest
from query.servers import Servers
from query.settings import QuerySettings
from query.tables import Batches, Table
from service.errors import BadRequest

PAGES = "ask for them in pages by limit and after, or for fewer by metric, where and match"


class Reader:
    """What query reads and hands on as it is."""

    def __init__(self, database: Servers, catalog: Catalog, settings: QuerySettings) -> None:
        self._database = database
        self._catalog = catalog
        self._settings = settings

    async def points(self, request: PointsRequest) -> Table:
        """The answer of `/api/v1/points`; refusals as for an aggregate, also while its rows are read."""
        settings = self._settings
        limits.check_points(request, settings)
        await self._catalog.check_regexes(request.match)
        fields, columns = await self._fields(request)
        most = settings.max_values // len(fields)
        refusal = limits.too_many_values(settings, f"more than {most} points of {len(fields)} values", PAGES)
        if request.limit is not None and request.limit > most:
            raise refusal
        page = Page(most, refusal) if request.limit is None else Page(request.limit)
        statement = point_statements.points(request, fields, columns, page.size + 1)
        form = Found(request, fields)
        return Table(form.columns, self._point_rows(statement, page), form.document(page))

    async def _fields(self, request: PointsRequest) -> tuple[Sequence[FieldFact], dict[str, str]]:
        """The fields to give, all of one measurement; and the columns by the metrics that the request names."""
        named = tuple(dict.fromkeys([*request.metric, *(condition.metric for condition in request.where)]))
        facts = await self._catalog.facts(named) if named else []
        if request.measurement is not None:
            await self._catalog.measurement(request.measurement)
            facts = [fact for fact in facts if fact.measurement == request.measurement]
            if strangers := missing(named, facts):
                raise BadRequest(
                    f"metric: {strangers[0]} is not of {request.measurement}; allowed: metrics of the measurement",
                    parameter="metric",
                )
        known = planner.choose(named, facts) if named else ()
        columns = {fact.metric: fact.column for fact in known}
        if request.metric:
            return known[: len(request.metric)], columns
        measurement = request.measurement or known[0].measurement
        return await self._catalog.list_fields([measurement], None), columns

    async def _point_rows(self, statement: Statement, page: Page) -> Batches:
        async with aclosing(self._database.stream("points", statement.text, statement.parameters)) as batches:
            async for batch in batches:
                yield [row[1:] for row in page.take([(Place(*row[:2]), *row) for row in batch])]
