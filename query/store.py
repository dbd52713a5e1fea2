"""Questions about points: a checked request becomes an answer."""

from __future__ import annotations

from contextlib import aclosing
from datetime import UTC, datetime, timedelta

from query import answers, limits, planner, statements
from query.catalog import Catalog
from query.fill import filled_batches
from query.planner import Plan, State
from query.reuse import Reuse, Reused
from query.servers import Servers
from query.settings import QuerySettings
from query.slots import divide
from query.tables import Batches, Table
from query.window import AggregateRequest


class Store:
    """Everything that query computes from points."""

    def __init__(self, database: Servers, catalog: Catalog, reuse: Reuse | None, settings: QuerySettings) -> None:
        self._database = database
        self._catalog = catalog
        self._reuse = reuse
        self._settings = settings

    async def aggregate(self, request: AggregateRequest) -> Table:
        """The answer of `/api/v1/aggregate`.

        Raises `NotFound` for a metric that does not exist, `BadRequest` for metrics of several measurements
        or a bad regular expression, `Limited` past a bound, `Unavailable` while the database is away; so does the
        reading of the table's rows.
        """
        limits.check_aggregate(request, self._settings)
        await self._catalog.check_regexes(request.match)
        fields = planner.choose(request.metric, await self._catalog.facts(request.metric))
        state = State()
        if planner.needs_state(request, datetime.now(UTC)):
            fact = fields[0]
            state = await self._catalog.state(fact.measurement_id, fact.measurement, request.start, request.end)
        plan = planner.plan(request, fields, state)
        reused = await self._reused(plan, state)
        document = answers.AggregateDocument(plan)
        tag = None if reused.tag is None else answers.tag(plan, document, reused.tag)
        batches = self._bounded(plan, reused.batches)
        return Table(answers.columns(plan), batches, document, tag=tag, reuse=reused.outcome)

    async def _reused(self, plan: Plan, state: State) -> Reused:
        """The rows of a plan, from what was kept as far as that goes."""
        slots = None
        if self._reuse is not None:
            slots = divide(plan, timedelta(seconds=self._settings.lookback_seconds), self._database.origin())
        if self._reuse is None or slots is None:
            return Reused(self._rows(plan))

        def compute(start: datetime, end: datetime) -> Batches:
            part = plan.request.model_copy(update={"start": start, "end": end})
            planned = planner.plan(part, plan.fields, state)
            return self._rows(planned if slots.since is None else planner.telling_reach(planned, slots.since))

        max_rows = self._settings.max_values // len(plan.values)
        return await self._reuse.rows(slots, plan.measurement_id, state.raw_from, max_rows, compute)

    async def _bounded(self, plan: Plan, rows: Batches) -> Batches:
        """The rows of the answer; past a bound a refusal."""
        request, settings = plan.request, self._settings
        size = limits.AnswerSize(settings, len(request.by), len(plan.values))
        if request.fill != "none" and request.windows is not None:
            starts = list(request.windows.starts(request.start, request.end))
            rows = filled_batches(rows, len(request.by), starts, request.fill)
        async with aclosing(rows):
            async for batch in rows:
                size.add(batch)
                yield batch

    async def _rows(self, plan: Plan) -> Batches:
        """The rows of a plan, at most one more than the answer may have."""
        settings = self._settings
        if not plan.pieces or (plan.ranking and not plan.ranking.pieces):
            return
        statement = statements.aggregate(
            plan,
            limit=settings.max_values // len(plan.values) + 1,
            lookback=timedelta(seconds=settings.lookback_seconds),
        )
        async with aclosing(self._database.stream("aggregate", statement.text, statement.parameters)) as batches:
            async for batch in batches:
                yield batch
