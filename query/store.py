"""Questions about points: a checked request becomes an answer."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial

from query import answers, limits, planner, statements
from query.assumptions import Assumption, OutdatedError, begun, checked
from query.catalog import Catalog
from query.conditions import Statement
from query.facts import FieldFact
from query.fill import filled_batches
from query.functions import fraction
from query.planner import Plan, State
from query.reuse import Reuse, Reused
from query.servers import Servers
from query.settings import QuerySettings
from query.slots import divide
from query.tables import BATCH_ROWS, Batches, Short, Table, mapped
from query.window import AggregateRequest


class Store:
    """Everything that query computes from points."""

    def __init__(self, database: Servers, catalog: Catalog, reuse: Reuse | None, settings: QuerySettings) -> None:
        self._database = database
        self._catalog = catalog
        self._reuse = reuse
        self._settings = settings
        self._lookback = timedelta(seconds=settings.lookback_seconds)

    async def aggregate(self, request: AggregateRequest) -> Table:
        """The answer of `/api/v1/aggregate`.

        Raises `NotFound` for a metric that does not exist, `BadRequest` for metrics of several measurements
        or a bad regular expression, `Limited` past a bound, `Unavailable` while the database is away; so does the
        reading of the table's rows.
        """
        limits.check_aggregate(request, self._settings)
        await self._catalog.check_regexes(request.match)
        known = self._catalog.known_facts(request.metric)
        if known is not None:
            epoch, facts = known
            fields = planner.choose(request.metric, facts)
            with suppress(OutdatedError):
                return await self._answer(request, fields, Assumption(epoch, fields[0].measurement_id))
        facts = await self._catalog.facts(request.metric)
        return await self._answer(request, planner.choose(request.metric, facts), None)

    async def _answer(
        self, request: AggregateRequest, fields: Sequence[FieldFact], assumed: Assumption | None
    ) -> Table:
        """The answer with metrics that mean these fields. Raises `OutdatedError` when what is assumed is not so."""
        now, state = datetime.now(UTC), State()
        if assumed is not None and not planner.needs_rollups(request):
            if planner.may_be_dropped(request.start, now):
                assumed.kept_from = request.start - self._lookback
        elif planner.needs_state(request, now):
            fact = fields[0]
            state = await self._catalog.state(fact.measurement_id, fact.measurement, request.start, request.end)
        plan = planner.plan(request, fields, state)
        reused = await self._reused(plan, state, assumed)
        document = answers.AggregateDocument(plan)
        tag = None if reused.tag is None else answers.tag(plan, document, reused.tag)
        batches = self._bounded(plan, reused.batches)
        columns, outcome = partial(answers.columns, plan), reused.outcome
        return Table(columns, batches, document, tag=tag, reuse=outcome, warnings=plan.warnings)

    async def _reused(self, plan: Plan, state: State, assumed: Assumption | None) -> Reused:
        """The rows of a plan, from what was kept as far as that goes."""
        if self._reuse is None:
            return Reused(await self._rows(plan, assumed))
        slots = divide(plan, self._lookback, self._database.origin(), self._settings.cache_max_windows)
        if slots is None:
            return Reused(await self._rows(plan, assumed), "bypass")

        async def compute(start: datetime, end: datetime) -> Batches:
            part = plan.request.model_copy(update={"start": start, "end": end})
            planned = planner.plan(part, plan.fields, state)
            telling = planned if slots.since is None else planner.telling_reach(planned, slots.since)
            return await self._rows(telling, assumed)

        max_rows = self._settings.max_values // len(plan.values)
        return await self._reuse.rows(slots, plan.measurement_id, state.raw_from, max_rows, compute, assumed)

    def _bounded(self, plan: Plan, rows: Batches) -> Batches:
        """The rows of the answer. Raises `Limited` past a bound, or they do when they are read."""
        request, settings = plan.request, self._settings
        size = limits.AnswerSize(settings, len(request.by), len(plan.values))
        if plan.fractions:
            before = len(request.by) + (request.step is not None)
            places = [place for place, value in enumerate(plan.values, before) if fraction(value.fn) is not None]
            rows = mapped(rows, partial(limits.finite, places))
        if request.fill != "none" and request.windows is not None:
            starts = list(request.windows.starts(request.start, request.end))
            rows = filled_batches(rows, len(request.by), starts, request.fill)
        return mapped(rows, size.take)

    async def _rows(self, plan: Plan, assumed: Assumption | None) -> Batches:
        """The rows of a plan, at most one more than the answer may have; the first of them are read."""
        if not plan.pieces or (plan.ranking and not plan.ranking.pieces):
            return Short([])
        statement = statements.aggregate(
            plan,
            limit=self._settings.max_values // len(plan.values) + 1,
            lookback=self._lookback,
            assumed=None if assumed is None or assumed.is_checked else assumed,
        )
        # To hand on rows as they come would cost more than few of them do.
        read = self._at_once if _is_short(plan.request) else self._as_they_come
        return await checked(read(statement), assumed)

    async def _at_once(self, statement: Statement) -> Batches:
        return Short(await self._database.fetch("aggregate", statement))

    async def _as_they_come(self, statement: Statement) -> Batches:
        return await begun(self._database.stream("aggregate", statement))


def _is_short(request: AggregateRequest) -> bool:
    """Whether an answer has no more rows than a batch has: one curve, of few windows."""
    windows = request.windows
    return not request.by and (windows is None or windows.count(request.start, request.end) < BATCH_ROWS)
