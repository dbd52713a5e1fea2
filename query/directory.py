"""Lists of what there is: measurements, fields, tags, series, hosts, newest points. Each becomes a table."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from query import altered, limits, list_statements
from query.assumptions import Misfit, begun
from query.catalog import Catalog
from query.conditions import Statement
from query.facts import FieldFact, Measurement
from query.list_statements import ColumnsOf, Part, Scope
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

StatementOf = Callable[[Scope], Statement]
"""What reads a list of the series of a scope."""

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
        of = partial(list_statements.measurements, part=self._named(request, page))
        return await self._table("measurements", of, page, request.search, scope)

    async def fields(self, request: FieldsRequest) -> Table:
        """The answer of `/api/v1/fields`."""
        limits.check_search(request.search, self._settings)
        one = None if request.measurement is None else await self._catalog.measurement(request.measurement)
        page = self._names(request, "fields")
        statement = list_statements.fields(one, self._named(request, page))
        return await self._table("fields", lambda _: statement, page, request.search, Scope((), one, []))

    async def tags(self, request: TagsRequest) -> Table:
        """The answer of `/api/v1/tags`."""
        scope = await self._scope(request, request.start, request.end)
        page = self._names(request, "tags")
        of = partial(list_statements.tags, part=self._named(request, page))
        return await self._table("tags", of, page, request.search, scope)

    async def tag_values(self, request: TagValuesRequest) -> Table:
        """The answer of `/api/v1/tags/{key}/values`: nothing for a tag that no series has."""
        scope = await self._scope(request, request.start, request.end)
        page = self._names(request, "values")
        of = partial(list_statements.tag_values, request.key, part=self._named(request, page))
        return await self._table("values", of, page, request.search, scope, {"tag": request.key})

    async def series(self, request: SeriesRequest) -> Table:
        """The answer of `/api/v1/series`."""
        scope = await self._scope(request, request.start, request.end)
        page = page_of(request.limit, self._settings.max_series, limits.too_many_series(self._settings, PAGES))
        part = Part(request.after, page.size + 1, request.search, self._database.similarity)
        of = partial(list_statements.all_series, part=part)
        return await self._table("series", of, page, request.search, scope)

    async def hosts(self, request: HostsRequest) -> Table:
        """The answer of `/api/v1/hosts`: every host, seen since `since` or not; silence is looked for as far back."""
        since = request.since
        if request.silent_for is not None:
            # Who was not looked for so far back would pass for silent for as long.
            since = min(since, datetime.now(UTC) - request.silent_for)
        scope = await self._scope(request, since)
        page = self._names(request, "hosts")
        of = partial(list_statements.hosts, part=self._named(request, page), silent_for=request.silent_for)
        return await self._table("hosts", of, page, request.search, scope, {"since": since})

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
        of = partial(list_statements.last, among=newest.among, only=bool(request.metric), part=part)
        read = None if request.metric else newest.among
        batches, told, warnings = await self._found(of, page, request.search, scope, read)
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
        of: StatementOf,
        page: Page,
        search: str | None,
        scope: Scope,
        head: Mapping[str, Any] | None = None,
    ) -> Table:
        """A list whose items have the columns as their members."""
        columns = COLUMNS[name]
        names = [column.name for column in columns]
        batches, told, warnings = await self._found(of, page, search, scope)
        document = ListDocument(name, lambda row: dict(zip(names, row, strict=True)), head, told)
        return Table(lambda: columns, batches, document, warnings=warnings)

    async def _found(
        self,
        of: StatementOf,
        page: Page,
        search: str | None,
        scope: Scope,
        read: ColumnsOf | None = (),
    ) -> tuple[Batches, Callable[[], dict[str, Any]], tuple[str, ...]]:
        """The rows of a page, what is told of them in the end, and what of that is of points that they lack.

        `read` are the columns of fields that are read; None where each of them was asked for by name.
        """
        gone = await self._gone(scope)
        rows, left_out = await self._read(of, scope, read)
        batches, lacking = mapped(rows, page.take), (*gone, *left_out)
        found = Search(can_compare=self._database.similarity is not None)

        def told() -> dict[str, Any]:
            of_search = {} if search is None else found.told()
            warnings = [*lacking, *of_search.get("warnings", ())]
            return {**page.told(), **of_search, **({"warnings": warnings} if warnings else {})}

        return batches if search is None else mapped(batches, found.take), told, lacking

    async def _read(self, of: StatementOf, scope: Scope, read: ColumnsOf | None) -> tuple[Batches, tuple[str, ...]]:
        """The rows of a statement, and what is to be warned of.

        Where a table that somebody has changed is in the way of others, and was not asked for by name, it is what can
        be read of it and of the others. That is found out before the first row: warnings stand before it.
        """
        batches = self._database.stream("list", of(scope), ENTRIES)
        if read is None or scope.measurement is not None or not scope.among:
            return batches, ()
        try:
            return await begun(batches), ()
        except Misfit:
            found = await self._catalog.altered([one.id for one in scope.among], None)
            columns = {(one.id, column) for one, of_one in read for column in of_one}
            left_out = altered.in_the_way(found, columns)
            if not left_out:
                raise
            return self._database.stream("list", of(scope.without(left_out)), ENTRIES), altered.warnings(left_out)

    async def _gone(self, scope: Scope) -> tuple[str, ...]:
        """What is to be warned of where points matter, and some may be kept no longer."""
        start = scope.start or EARLIEST
        if not scope.among or not scope.has_range or not may_be_dropped(start, datetime.now(UTC) - A_MOMENT):
            return ()
        return await self._catalog.gone([one.id for one in scope.among], start)
