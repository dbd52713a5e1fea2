"""Lists of what there is: measurements, fields, tags, series, hosts, newest points. Each becomes a table."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from query import limits, list_statements
from query.catalog import Catalog
from query.conditions import Statement
from query.facts import FieldFact, Measurement
from query.list_statements import Part, Scope
from query.lists import (
    Active,
    Chosen,
    FieldsRequest,
    HostsRequest,
    LastRequest,
    ListRequest,
    MeasurementsRequest,
    Named,
    SeriesRequest,
    TagsRequest,
    TagValuesRequest,
)
from query.newest import Newest
from query.pages import Page, Search, page_of
from query.planner import may_be_dropped
from query.servers import Servers
from query.settings import QuerySettings
from query.tables import Batches, Column, ListDocument, Table, mapped, texts
from query.times import EARLIEST

COLUMNS: dict[str, tuple[Column, ...]] = {
    "measurements": (*texts("measurement"), Column("fields", "integer")),
    "fields": texts("metric", "measurement", "field", "column"),
    "tags": (*texts("tag"), Column("series", "integer")),
    "values": (*texts("value"), Column("series", "integer")),
    "series": (Column("id", "integer"), *texts("measurement", "host"), Column("tags", "object")),
    "hosts": (*texts("host"), Column("last_seen", "time")),
}
"""What each list is called in its answer, and what its entries have, the key first."""

A_MOMENT = timedelta(minutes=1)
"""Lists look back for a day by default, of which no points are gone; so much may have passed since then."""

PAGES = "ask for them in pages by limit and after, or choose fewer by match"

ENTRIES = 100
"""So many are read at a time. The database takes longer to find one than it takes to hand it on: so one is done during
the other, and little is left to do when the last has come."""


class Directory:
    """Everything that query lists.

    Every method raises `NotFound` for a measurement that does not exist, `BadRequest` for a bad regular expression,
    `Limited` past a bound, `Unavailable` while the database is away; so does the reading of the table's rows.
    """

    def __init__(self, database: Servers, catalog: Catalog, settings: QuerySettings) -> None:
        self._database = database
        self._catalog = catalog
        self._settings = settings

    async def measurements(self, request: MeasurementsRequest) -> Table:
        """The answer of `/api/v1/measurements`."""
        scope = await self._scope(request, request.start, request.end)
        page = self._names(request, "measurements")
        statement = list_statements.measurements(scope, self._named(request, page))
        return await self._table("measurements", statement, page, request.search, scope)

    async def fields(self, request: FieldsRequest) -> Table:
        """The answer of `/api/v1/fields`."""
        limits.check_search(request.search, self._settings)
        one = None if request.measurement is None else await self._catalog.measurement(request.measurement)
        page = self._names(request, "fields")
        statement = list_statements.fields(one, self._named(request, page))
        return await self._table("fields", statement, page, request.search, Scope((), one, []))

    async def tags(self, request: TagsRequest) -> Table:
        """The answer of `/api/v1/tags`."""
        scope = await self._scope(request, request.start, request.end)
        page = self._names(request, "tags")
        statement = list_statements.tags(scope, self._named(request, page))
        return await self._table("tags", statement, page, request.search, scope)

    async def tag_values(self, request: TagValuesRequest) -> Table:
        """The answer of `/api/v1/tags/{key}/values`: nothing for a tag that no series has."""
        scope = await self._scope(request, request.start, request.end)
        page = self._names(request, "values")
        statement = list_statements.tag_values(request.key, scope, self._named(request, page))
        return await self._table("values", statement, page, request.search, scope, {"tag": request.key})

    async def series(self, request: SeriesRequest) -> Table:
        """The answer of `/api/v1/series`."""
        scope = await self._scope(request, request.start, request.end)
        page = page_of(request.limit, self._settings.max_series, limits.too_many_series(self._settings, PAGES))
        part = Part(request.after, page.size + 1, request.search, self._database.similarity)
        statement = list_statements.all_series(scope, part)
        return await self._table("series", statement, page, request.search, scope)

    async def hosts(self, request: HostsRequest) -> Table:
        """The answer of `/api/v1/hosts`: every host, seen since `since` or not; silence is looked for as far back."""
        since = request.since
        if request.silent_for is not None:
            # Who was not looked for so far back would pass for silent for as long.
            since = min(since, datetime.now(UTC) - request.silent_for)
        scope = await self._scope(request, since)
        page = self._names(request, "hosts")
        statement = list_statements.hosts(scope, self._named(request, page), request.silent_for)
        return await self._table("hosts", statement, page, request.search, scope, {"since": since})

    async def last(self, request: LastRequest) -> Table:
        """The answer of `/api/v1/last`. A metric that does not exist, or is not of the measurement, is refused too."""
        settings = self._settings
        scope = await self._scope(request, request.since)
        newest = Newest(await self._fields(scope, request.metric))
        refusal, most = limits.too_many_series(settings, PAGES), settings.max_series
        if newest.width * most > settings.max_values:
            most = settings.max_values // newest.width
            refusal = limits.too_many_values(settings, f"more than {most} series of {newest.width} values", PAGES)
        page = page_of(request.limit, most, refusal)
        part = Part(request.after, page.size + 1, request.search, self._database.similarity)
        statement = list_statements.last(scope, newest.among, bool(request.metric), part)
        batches, told, warnings = await self._found(statement, page, request.search, scope)
        document = ListDocument("series", newest.item, {"since": request.since}, told)
        rows = mapped(batches, lambda batch: [newest.row(row) for row in batch])
        return Table(lambda: newest.columns, rows, document, warnings=warnings)

    async def _scope(self, request: Chosen, start: datetime | None, end: datetime | None = None) -> Scope:
        """Which series a request is about, and the measurements whose points matter for that."""
        settings = self._settings
        limits.check_matchers(request.match, settings)
        limits.check_search(request.search, settings)
        await self._catalog.check_regexes(request.match)
        if request.measurement is not None:
            one = await self._catalog.measurement(request.measurement)
            return Scope(request.match, one, [one], start, end)
        if start is None and end is None:
            return Scope(request.match, None, [])
        among = await self._catalog.measurements_with_series(request.match, settings.max_measurements + 1)
        if len(among) > settings.max_measurements:
            raise limits.too_many_measurements(settings, has_range=isinstance(request, Active))
        return Scope(request.match, None, among, start, end)

    async def _fields(self, scope: Scope, metrics: Sequence[str]) -> list[tuple[Measurement, list[FieldFact]]]:
        """The scope's measurements that have fields to give, and which: those that `metrics` name, or all."""
        if metrics:
            known = await self._catalog.facts(metrics, None if scope.measurement is None else scope.measurement.name)
            facts = [
                max((fact for fact in known if fact.metric == metric), key=lambda fact: len(fact.measurement))
                for metric in metrics
            ]
        else:
            facts = await self._catalog.list_fields([one.name for one in scope.among], None)
        fields = [(one, [fact for fact in facts if fact.measurement_id == one.id]) for one in scope.among]
        return [(one, found) for one, found in fields if found]

    def _names(self, request: ListRequest, what: str) -> Page:
        settings = self._settings
        return page_of(request.limit, settings.max_names, limits.too_many_names(settings, what, PAGES))

    def _named(self, request: Named, page: Page) -> Part:
        return Part(request.after, page.size + 1, request.search, self._database.similarity)

    async def _table(
        self,
        name: str,
        statement: Statement,
        page: Page,
        search: str | None,
        scope: Scope,
        head: Mapping[str, Any] | None = None,
    ) -> Table:
        """A list whose items have the columns as their members."""
        columns = COLUMNS[name]
        names = [column.name for column in columns]
        batches, told, warnings = await self._found(statement, page, search, scope)
        document = ListDocument(name, lambda row: dict(zip(names, row, strict=True)), head, told)
        return Table(lambda: columns, batches, document, warnings=warnings)

    async def _found(
        self, statement: Statement, page: Page, search: str | None, scope: Scope
    ) -> tuple[Batches, Callable[[], dict[str, Any]], tuple[str, ...]]:
        """The rows of a page, what is told of them in the end, and what of that is of points that are gone."""
        gone = await self._gone(scope)
        batches = mapped(self._database.stream("list", statement, ENTRIES), page.take)
        found = Search(can_compare=self._database.similarity is not None)

        def told() -> dict[str, Any]:
            of_search = {} if search is None else found.told()
            warnings = [*gone, *of_search.get("warnings", ())]
            return {**page.told(), **of_search, **({"warnings": warnings} if warnings else {})}

        return batches if search is None else mapped(batches, found.take), told, gone

    async def _gone(self, scope: Scope) -> tuple[str, ...]:
        """What is to be warned of where points matter, and some may be kept no longer."""
        start = scope.start or EARLIEST
        if not scope.among or not scope.has_range or not may_be_dropped(start, datetime.now(UTC) - A_MOMENT):
            return ()
        return await self._catalog.gone([one.id for one in scope.among], start)
