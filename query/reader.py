"""Points themselves: a checked request becomes a table of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import aclosing, suppress

from query import limits, planner, point_statements
from query.assumptions import Assumption, OutdatedError, begun, checked
from query.catalog import Catalog
from query.conditions import Statement
from query.facts import FieldFact
from query.found import Found
from query.pages import Page
from query.points import Place, PointsRequest
from query.servers import Servers
from query.settings import QuerySettings
from query.tables import Batches, Row, Table

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
        known = self._known(request)
        if known is not None:
            with suppress(OutdatedError):
                return await self._table(request, *known)
        return await self._table(request, *await self._fields(request), None)

    async def _table(
        self,
        request: PointsRequest,
        fields: Sequence[FieldFact],
        columns: Mapping[str, str],
        assumed: Assumption | None,
    ) -> Table:
        """The answer with these fields. Raises `OutdatedError` when what is assumed is not so."""
        settings = self._settings
        most = settings.max_values // len(fields)
        refusal = limits.too_many_values(settings, f"more than {most} points of {len(fields)} values", PAGES)
        if request.limit is not None and request.limit > most:
            raise refusal
        page = Page(most, refusal, key=_place) if request.limit is None else Page(request.limit, key=_place)
        statement = point_statements.points(request, fields, columns, page.size + 1, assumed)
        rows = self._point_rows(statement, page, assumed)
        form = Found(request, fields)
        return Table(form.columns, rows if assumed is None else await begun(rows), form.document(page))

    def _known(self, request: PointsRequest) -> tuple[Sequence[FieldFact], dict[str, str], Assumption] | None:
        """The fields and the columns as they were when they were looked up before; None where they were not."""
        named = _named(request)
        found = self._catalog.known_facts(named) if named and request.measurement is None else None
        if found is None:
            return None
        epoch, facts = found
        known = planner.choose(named, facts)
        assumed = Assumption(epoch, known[0].measurement_id)
        columns = {fact.metric: fact.column for fact in known}
        if request.metric:
            return known[: len(request.metric)], columns, assumed
        fields = self._catalog.known_fields(epoch, known[0].measurement)
        if fields is None:
            return None
        assumed.fields = len(fields)
        return fields, columns, assumed

    async def _fields(self, request: PointsRequest) -> tuple[Sequence[FieldFact], dict[str, str]]:
        """The fields to give, all of one measurement; and the columns by the metrics that the request names."""
        named = _named(request)
        if request.measurement is not None:
            await self._catalog.measurement(request.measurement)
        facts = await self._catalog.facts(named, request.measurement) if named else []
        known = planner.choose(named, facts) if named else ()
        columns = {fact.metric: fact.column for fact in known}
        if request.metric:
            return known[: len(request.metric)], columns
        measurement = request.measurement or known[0].measurement
        return await self._catalog.fields_of(measurement), columns

    async def _point_rows(self, statement: Statement, page: Page, assumed: Assumption | None) -> Batches:
        rows = self._database.stream("points", statement.text, statement.parameters, is_light=statement.is_light)
        async with aclosing(rows if assumed is None else checked(rows, assumed)) as batches:
            async for batch in batches:
                yield page.take(batch)


def _named(request: PointsRequest) -> tuple[str, ...]:
    """All metrics of a request, those to give first."""
    return tuple(dict.fromkeys([*request.metric, *(condition.metric for condition in request.where)]))


def _place(row: Row) -> Place:
    return Place(*row[:2])
