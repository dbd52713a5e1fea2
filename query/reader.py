"""Points themselves: a checked request becomes a table of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime

from query import limits, planner, point_statements, slots
from query.assumptions import Assumption, Changed, OutdatedError, begun, checked
from query.catalog import Catalog
from query.facts import FieldFact
from query.found import Found
from query.pages import page_of
from query.points import Place, PointsRequest
from query.reuse import SMALL_ROWS, Compute, Reuse, Reused
from query.servers import Servers
from query.settings import QuerySettings
from query.tables import Batches, Row, Table, digest_of, mapped

PAGES = "ask for them in pages by limit and after, or for fewer by metric, where and match"


class Reader:
    """What query reads and hands on as it is."""

    def __init__(self, database: Servers, catalog: Catalog, reuse: Reuse | None, settings: QuerySettings) -> None:
        self._database = database
        self._catalog = catalog
        self._reuse = reuse
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
        warnings: tuple[str, ...] = ()
        if planner.may_be_dropped(request.start, datetime.now(UTC)):
            if assumed is None:
                warnings = await self._catalog.gone([fields[0].measurement_id], request.start)
            else:
                assumed.kept_from = request.start
        most = settings.max_values // len(fields)
        refusal = limits.too_many_values(settings, f"more than {most} points of {len(fields)} values", PAGES)
        page = page_of(request.limit, most, refusal, key=_place)

        async def compute(*_: datetime) -> Batches:
            return await self._rows(request, fields, columns, page.size + 1, assumed)

        reused = await self._reused(request, fields, page.size, compute, assumed)
        batches = mapped(reused.batches, page.take)
        form = Found(request, fields, warnings)
        document = form.document(page)
        tag = None if reused.tag is None else digest_of(document.begin(), reused.tag.encode())
        # Of all points that there are none is left for another page.
        items = reused.packed if request.limit is None else None
        return Table(lambda: form.columns, batches, document, tag, reused.outcome, items, warnings)

    async def _reused(
        self,
        request: PointsRequest,
        fields: Sequence[FieldFact],
        size: int,
        compute: Compute,
        assumed: Assumption | None,
    ) -> Reused:
        """The rows of a page of so many points and of one more, as they were kept, if they were."""
        start, end = request.start, request.end
        if self._reuse is None:
            return Reused(await compute(start, end))
        if assumed is None and planner.may_be_dropped(start, datetime.now(UTC)):
            return Reused(await compute(start, end), "bypass")  # it is not known whether they are all kept
        whole = slots.of_points(request, fields, size, self._database.origin())
        # One more tells whether there is another page; where there are none it is too many.
        most = min(SMALL_ROWS, size if request.limit is None else size + 1)
        return await self._reuse.rows(whole, fields[0].measurement_id, None, most, compute, assumed)

    def _known(self, request: PointsRequest) -> tuple[Sequence[FieldFact], dict[str, str], Assumption] | None:
        """The fields and the columns as they were when they were looked up before; None where they were not."""
        named, measurement = _named(request), request.measurement
        columns: dict[str, str] = {}
        if named:
            found = self._catalog.known_facts(named)
            if found is None:
                return None
            epoch, facts = found
            if measurement is not None and any(fact.measurement != measurement for fact in facts):
                return None  # which is refused, by what is found then
            known = planner.choose(named, facts)
            columns = {fact.metric: fact.column for fact in known}
            if request.metric:
                return known[: len(request.metric)], columns, Assumption(epoch, known[0].measurement_id)
            measurement = known[0].measurement
        assert measurement is not None, "named by a parameter, or by metrics"
        if (of_all := self._catalog.known_fields(measurement)) is None:
            return None
        epoch, fields = of_all
        return fields, columns, Assumption(epoch, fields[0].measurement_id, fields=len(fields))

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
        if fields := await self._catalog.fields_of(request.measurement or known[0].measurement):
            return fields, columns
        raise Changed("the measurement was dropped while its fields were looked up")

    async def _rows(
        self,
        request: PointsRequest,
        fields: Sequence[FieldFact],
        columns: Mapping[str, str],
        limit: int,
        assumed: Assumption | None,
    ) -> Batches:
        unchecked = None if assumed is None or assumed.is_checked else assumed
        statement = point_statements.points(request, fields, columns, limit, unchecked)
        return await checked(begun(self._database.stream("points", statement)), assumed)


def _named(request: PointsRequest) -> tuple[str, ...]:
    """All metrics of a request, those to give first."""
    return tuple(dict.fromkeys([*request.metric, *(condition.metric for condition in request.where)]))


def _place(row: Row) -> Place:
    return Place(*row[:2])
