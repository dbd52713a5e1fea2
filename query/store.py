"""Questions to the database: a checked request becomes an answer."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any

import psycopg

from query import answers, limits, planner, statements
from query.database import Database
from query.planner import FieldFact
from query.settings import QuerySettings
from query.times import shortened
from query.window import AggregateRequest, FieldsRequest, HostsRequest, Matcher
from service.errors import BadRequest, NotFound

NAMES_COMPARED = 1000
NAMES_SUGGESTED = 10


class Store:
    """Everything that query asks of the database."""

    def __init__(self, database: Database, settings: QuerySettings) -> None:
        self._database = database
        self._settings = settings

    async def aggregate(self, request: AggregateRequest) -> dict[str, Any]:
        """The answer of `/api/v1/aggregate`.

        Raises `NotFound` for a metric that does not exist, `BadRequest` for metrics of several measurements
        or a bad regular expression, `Limited` past a bound, `Unavailable` while the database is away.
        """
        settings = self._settings
        limits.check_aggregate(request, settings)
        await self._check_regexes(request.match)
        plan = planner.plan(request, await self._facts(request.metric))
        max_rows = settings.max_values // len(plan.values)
        statement = statements.aggregate(plan, limit=max_rows + 1)
        rows = await self._database.fetch("aggregate", statement.text, statement.parameters)
        if len(rows) > max_rows:
            raise limits.too_many_values(settings, f"more than {settings.max_values} values")
        answer = answers.aggregate(plan, rows)
        if len(answer["series"]) > settings.max_series:
            raise limits.too_many_series(settings)
        return answer

    async def hosts(self, request: HostsRequest) -> dict[str, Any]:
        """The answer of `/api/v1/hosts`: every host of every measurement, seen since `since` or not."""
        settings = self._settings
        limits.check_matchers(request.match, settings)
        await self._check_regexes(request.match)
        last_seen: dict[str, Any] = {}
        for measurement_id, measurement, _ in await self._measurements():
            statement = statements.last_seen(
                measurement, measurement_id, request.match, request.since, limit=settings.max_names + 1
            )
            for host, seen in await self._database.fetch("hosts", statement.text, statement.parameters):
                last_seen[host] = max(filter(None, (seen, last_seen.get(host))), default=None)
            if len(last_seen) > settings.max_names:
                raise limits.too_many_names(settings, "hosts", "choose fewer by match")
        return answers.hosts(request.since, last_seen)

    async def measurements(self) -> dict[str, Any]:
        """The answer of `/api/v1/measurements`."""
        return {
            "measurements": [{"measurement": name, "fields": fields} for _, name, fields in await self._measurements()]
        }

    async def fields(self, request: FieldsRequest) -> dict[str, Any]:
        """The answer of `/api/v1/fields`. Raises `NotFound` for a measurement that does not exist."""
        limit = self._settings.max_names
        wanted = None if request.measurement is None else [request.measurement]
        facts = await self._list_fields(wanted, limit + 1)
        if len(facts) > limit:
            raise limits.too_many_names(self._settings, "fields", "ask for those of one measurement")
        if not facts and request.measurement is not None:
            raise await self._no_measurement("measurement", request.measurement)
        return {
            "fields": [
                {"metric": fact.metric, "measurement": fact.measurement, "field": fact.field, "column": fact.column}
                for fact in facts
            ]
        }

    async def _facts(self, metrics: Sequence[str]) -> list[FieldFact]:
        """Everything that the metrics may mean; each of them exists."""
        pairs = [pair for metric in metrics for pair in planner.splits(metric)]
        rows = await self._database.fetch(
            "catalog",
            statements.FIELDS_OF,
            {"measurements": [pair[0] for pair in pairs], "fields": [pair[1] for pair in pairs]},
        )
        facts = [FieldFact(*row) for row in rows]
        if missing := planner.missing(metrics, facts):
            raise await self._no_metric(missing[0])
        return facts

    async def _no_metric(self, metric: str) -> NotFound:
        """Says which metrics of the measurement there are, the most similar first; or which measurements."""
        facts = await self._list_fields([name for name, _ in planner.splits(metric)], NAMES_COMPARED)
        if not facts:
            return await self._no_measurement("metric", metric)
        return _not_found("metric", metric, [fact.metric for fact in facts])

    async def _no_measurement(self, parameter: str, name: str) -> NotFound:
        rows = await self._database.fetch("catalog", statements.MEASUREMENTS, {"limit": NAMES_COMPARED})
        return _not_found(parameter, name, [row[1] for row in rows])

    async def _list_fields(self, measurements: Sequence[str] | None, limit: int) -> list[FieldFact]:
        rows = await self._database.fetch("catalog", statements.FIELDS, {"measurements": measurements, "limit": limit})
        return [FieldFact(*row) for row in rows]

    async def _measurements(self) -> list[tuple[Any, ...]]:
        limit = self._settings.max_names
        rows = await self._database.fetch("catalog", statements.MEASUREMENTS, {"limit": limit + 1})
        if len(rows) > limit:
            raise limits.too_many_names(self._settings, "measurements", "raise it to list them all")
        return rows

    async def _check_regexes(self, match: Sequence[Matcher]) -> None:
        for matcher in match:
            if matcher.is_regex:
                patterns = {"plain": matcher.value, "anchored": statements.anchored(matcher.value)}
                try:
                    await self._database.fetch("regex", statements.CHECK_REGEX, patterns)
                except psycopg.errors.InvalidRegularExpression as error:
                    raise BadRequest(
                        f"match: {matcher.tag}{matcher.operator}{matcher.value}: {error.diag.message_primary}; "
                        "allowed: PostgreSQL's advanced regular expressions, (?i) at the start for any case",
                        parameter="match",
                    ) from error


def _not_found(parameter: str, name: str, known: list[str]) -> NotFound:
    nearest = get_close_matches(name, known, n=NAMES_SUGGESTED, cutoff=0)
    return NotFound(
        f"{parameter}: there is no {shortened(name)!r}; known: {', '.join(nearest) or 'none yet'}",
        parameter=parameter,
        known=nearest,
    )
