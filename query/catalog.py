"""Names in requests, looked up in the database: what exists, and what is told of that which does not."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import psycopg

from query import catalog_statements, conditions
from query.altered import Altered
from query.assumptions import Misfit
from query.composition import Rollup, size_of
from query.conditions import Statement
from query.facts import FieldFact, Measurement, missing, most_like, splits
from query.known import Known
from query.parameters import Matcher
from query.planner import MAY_BE_GONE, State, no_longer_kept
from query.servers import Servers
from query.tables import Row
from query.times import shortened
from service.errors import BadRequest, HttpError, NotFound, Unavailable

NAMES_COMPARED = 1000
NAMES_SUGGESTED = 10


class Catalog:
    """What the database knows of names."""

    def __init__(self, database: Servers) -> None:
        self._database = database
        self._known = Known()

    async def facts(self, metrics: Sequence[str], measurement: str | None = None) -> list[FieldFact]:
        """Everything that the metrics may mean, of one measurement if it is named.

        Raises `NotFound` unless each of them exists, `BadRequest` for one that is not of the measurement.
        """
        pairs = [pair for metric in metrics for pair in splits(metric)]
        wanted = {"measurements": [pair[0] for pair in pairs], "fields": [pair[1] for pair in pairs]}
        rows = await self._database.fetch("catalog", Statement(catalog_statements.FIELDS_OF, wanted))
        facts = self._learned(rows)
        if unknown := missing(metrics, facts):
            raise await self._no_metric(unknown[0])
        if measurement is None:
            return facts
        facts = [fact for fact in facts if fact.measurement == measurement]
        if strangers := missing(metrics, facts):
            raise BadRequest(
                f"metric: {strangers[0]} is not of {measurement}; allowed: metrics of the measurement",
                parameter="metric",
            )
        return facts

    async def _no_metric(self, metric: str) -> NotFound:
        """Says which metrics of the measurement there are, the most similar first; or which measurements."""
        facts = await self.list_fields([name for name, _ in splits(metric)], NAMES_COMPARED)
        if not facts:
            return await self.no_measurement("metric", metric)
        return _not_found("metric", metric, [fact.metric for fact in facts])

    async def no_measurement(self, parameter: str, name: str) -> NotFound:
        """Says which measurements there are, the most similar first."""
        statement = Statement(catalog_statements.MEASUREMENTS, {"limit": NAMES_COMPARED})
        rows = await self._database.fetch("catalog", statement)
        return _not_found(parameter, name, [row[1] for row in rows])

    async def measurement(self, name: str) -> Measurement:
        """The measurement of this name. Raises `NotFound` when there is none."""
        rows = await self._database.fetch("catalog", Statement(catalog_statements.MEASUREMENT, {"name": name}))
        if not rows:
            raise await self.no_measurement("measurement", name)
        return Measurement(*rows[0])

    async def measurements_with_series(self, match: Sequence[Matcher], limit: int) -> list[Measurement]:
        """At most `limit` measurements that have a series that matches; by name."""
        statement = catalog_statements.measurements_with_series(match, limit)
        rows = await self._database.fetch("catalog", statement)
        return [Measurement(*row) for row in rows]

    async def state(self, measurement_id: int, measurement: str, start: datetime, end: datetime) -> State:
        """What there is beside the points of a measurement, as far as it concerns [start, end).

        To be asked before the points: what is changed between is then read from them, or as it was promised.
        """
        parameters = {"measurement": measurement_id, "start": start, "end": end}
        statement = Statement(catalog_statements.ROLLUP_STATE, parameters, "either")
        rows = await self._database.fetch("rollups", statement)
        rollups = [
            Rollup(
                measurement,
                size_of(width),
                view,
                width,
                frozenset(fields),
                tuple((one.lower, one.upper) for one in valid),
            )
            for _, width, view, fields, valid in rows
            if width is not None
        ]
        return State(tuple(rollups), rows[0][0])

    async def explained(self, error: Misfit) -> HttpError:
        """What is told of a statement that does not fit: the columns of other types than ingest makes them.

        Where there is none, it is the database that does not fit.
        """
        found = await self.altered(None, NAMES_SUGGESTED)
        if not found:
            return Unavailable(f"the database failed: {error.message}")
        return Misfit(
            f"{error.message}: {'; '.join(map(str, found))}; allowed: the types with which ingest makes columns, other "
            "numbers as fields, or to ask for other metrics"
        )

    async def altered(self, measurements: Sequence[int] | None, limit: int | None) -> list[Altered]:
        """At most `limit` columns of other types than ingest makes them, of the measurements or of all; by name."""
        parameters = {"measurements": measurements, "limit": limit}
        rows = await self._database.fetch("catalog", Statement(catalog_statements.ALTERED, parameters))
        return [Altered(*row) for row in rows]

    async def gone(self, measurements: Sequence[int], start: datetime) -> tuple[str, ...]:
        """What an answer about points from `start` on has to warn of: that some of them may be gone.

        To be asked before the points, for which no rollup stands.
        """
        parameters = {"measurements": list(measurements), "start": start}
        statement = Statement(catalog_statements.GONE, parameters, "either")
        ((raw_from, count),) = await self._database.fetch("retention", statement)
        if raw_from is None:
            return ()
        those = "" if count == len(measurements) else f" of {count} of the {len(measurements)} measurements"
        return (f"{no_longer_kept(raw_from)}{those}{MAY_BE_GONE}",)

    async def list_fields(self, measurements: Sequence[str] | None, limit: int | None) -> list[FieldFact]:
        """At most `limit` fields of the measurements, or of all; by name."""
        return self._learned(await self._fields(measurements, limit))

    def known_facts(self, metrics: Sequence[str]) -> tuple[str, list[FieldFact]] | None:
        """What the metrics meant when they were looked up before, and in which epoch; None unless all were."""
        epoch = self._database.epoch()
        facts = None if epoch is None else self._known.facts(epoch, metrics)
        return None if epoch is None or facts is None else (epoch, facts)

    async def fields_of(self, measurement: str) -> list[FieldFact]:
        """All fields of a measurement that has some; by name."""
        rows = await self._fields([measurement], None)
        facts = self._learned(rows)
        if facts:
            self._known.learn_all(rows[0][-1], measurement, facts)
        return facts

    def known_fields(self, measurement: str) -> tuple[str, Sequence[FieldFact]] | None:
        """All fields of a measurement when they were looked up before, and in which epoch; None where they were not."""
        epoch = self._database.epoch()
        fields = None if epoch is None else self._known.fields_of(epoch, measurement)
        return None if epoch is None or fields is None else (epoch, fields)

    async def check_regexes(self, match: Sequence[Matcher]) -> None:
        """Raise `BadRequest` for a matcher whose regular expression PostgreSQL cannot compile."""
        for matcher in match:
            if matcher.is_regex and not conditions.is_list(matcher):
                patterns = {"plain": matcher.value, "anchored": conditions.anchored(matcher.value)}
                try:
                    await self._database.fetch("regex", Statement(conditions.CHECK_REGEX, patterns))
                except psycopg.errors.InvalidRegularExpression as error:
                    raise BadRequest(
                        f"match: {shortened(str(matcher))}: {error.diag.message_primary}; "
                        "allowed: PostgreSQL's advanced regular expressions, (?i) at the start for any case",
                        parameter="match",
                    ) from error

    async def _fields(self, measurements: Sequence[str] | None, limit: int | None) -> list[Row]:
        parameters = {"measurements": measurements, "limit": limit}
        return await self._database.fetch("catalog", Statement(catalog_statements.FIELDS, parameters))

    def _learned(self, rows: Sequence[Row]) -> list[FieldFact]:
        """The facts of rows that end with the epoch."""
        facts = [FieldFact(*row[:-1]) for row in rows]
        if facts:
            self._known.learn(rows[0][-1], facts)
        return facts


def _not_found(parameter: str, name: str, known: list[str]) -> NotFound:
    nearest = most_like(name, known, NAMES_SUGGESTED)
    return NotFound(
        f"{parameter}: there is no {shortened(name)!r}; known: {', '.join(nearest) or 'none yet'}",
        parameter=parameter,
        known=nearest,
    )
