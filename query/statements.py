"""The SQL of an aggregate. Pure: it composes, and runs nothing.

First come the plan's pieces, each a scan of one source: the points of each series, in each window, become parts. That
is where the rows are, and no join slows it down. Only then the parts of all pieces and series that share their `by`
tags are merged. What can only be had of all points of a group is attributed to the first of its series.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import lru_cache

from psycopg import sql

from query.conditions import Statement, conditions, identifier, tag_value
from query.functions import fraction, recipe
from query.planner import Plan
from query.scans import COMMA, KINDS, NOTHING, Parameters, Scans, alias, composed_once
from query.window import Measure

MERGED = sql.SQL("WITH {chosen}partial AS ({scans}) SELECT {columns} FROM {source} {assumed}{grouping}{order}")

# The ids are in an array: the planner then looks them up in each chunk's index, which no join gives it.
CHOSEN = sql.SQL("""
    chosen AS MATERIALIZED (SELECT array_agg(s.id) AS ids FROM catalog.series s WHERE {conditions}),
""")
IS_CHOSEN = sql.SQL(" AND p.series_id = ANY ((SELECT ids FROM chosen)::int[])")

BUCKET = sql.Identifier("bucket")

DIRECTIONS = {"asc": sql.SQL("ASC"), "desc": sql.SQL("DESC"), None: sql.SQL("DESC")}

# Not EXISTS, for which all points may be read at once: few rows lack any.
MISSES = sql.SQL("""
    bool_or(coalesce({lacks}, false) AND (
        SELECT true FROM {points} q
        WHERE q.series_id = partial.series_id AND q.time >= {since} AND q.time < {near} AND {column} IS NOT NULL LIMIT 1
    ))
""")

RANKED = sql.SQL("""
    WITH ranked AS MATERIALIZED (
        SELECT *, row_number() OVER (ORDER BY {value} {direction} NULLS LAST, {tags}) AS place
        FROM ({whole}) AS whole ORDER BY place LIMIT {series}
    )
    SELECT {columns} FROM ({merged}) AS merged JOIN ranked USING ({tags}) ORDER BY place, bucket LIMIT {limit}
""")


def aggregate(plan: Plan, limit: int, lookback: timedelta, assumed: Statement | None = None) -> Statement:
    """At most `limit` rows: the `by` tags, the window's start if there is a step, the plan's values.

    They are sorted by tags and window; or, where the request orders its series, by their one value over the whole
    range. A window of a group in which every metric is null makes no row. `lookback` before the range, the point
    before a series' first is looked for. What a plan tells of that (`reach`) stands at the end of each row. There is no
    row unless what is `assumed` holds. Every plan here has a piece at least.
    """
    parameters = Parameters()
    request = plan.request
    merge = _Merge(plan, parameters, lookback, assumed)
    if plan.ranking is not None:
        whole = _Merge(plan.ranking, parameters, lookback, assumed)
        tags = COMMA.join(merge.tags)
        columns = [*merge.tags, BUCKET, *merge.values]
        text = RANKED.format(
            value=whole.values[plan.ranking.values.index(request.order_by)],
            direction=DIRECTIONS[request.order],
            tags=tags,
            whole=whole.text(),
            series=parameters.add(request.limit),
            columns=COMMA.join(sql.SQL("merged.{}").format(column) for column in columns),
            merged=merge.text(only=None if request.limit is None else tags),
            limit=parameters.add(limit),
        )
    else:
        order: list[sql.Composable] = list(merge.keys)
        if request.is_ranked:
            value = merge.values[plan.values.index(request.order_by)]
            order.insert(0, sql.SQL("{} {} NULLS LAST").format(value, DIRECTIONS[request.order]))
            limit = min(limit, request.limit or limit)
        text = merge.text(order=order) + sql.SQL(" LIMIT {}").format(parameters.add(limit))
    return Statement(text, parameters.values)


class _Merge:
    """Composes how the parts of a plan are merged; several have the parameters of one statement."""

    def __init__(self, plan: Plan, parameters: Parameters, lookback: timedelta, assumed: Statement | None) -> None:
        self._plan = plan
        self._assumed: sql.Composable = NOTHING
        if assumed is not None:
            self._assumed = sql.SQL("WHERE {} ").format(assumed.text)
            parameters.values.update(assumed.parameters)
        self._parameters = parameters
        self._lookback = lookback
        self._by = [
            tag_value(tag, f"by_{number}") + sql.SQL(' COLLATE "C"') for number, tag in enumerate(plan.request.by)
        ]
        parameters.values.update({f"by_{number}": tag for number, tag in enumerate(plan.request.by)})
        self.tags = [sql.Identifier(f"tag_{number}") for number in range(len(self._by))]
        self.keys = [*self.tags, BUCKET] if plan.request.step else self.tags
        self.values = [sql.Identifier(f"value_{number}") for number in range(len(plan.values))]

    def text(self, *, order: Sequence[sql.Composable] = (), only: sql.Composable | None = None) -> sql.Composed:
        """The tags, the window and the values; `only` of the groups whose tags are in `ranked`."""
        request = self._plan.request
        chosen = conditions(self._plan.measurement_id, request.match)
        self._parameters.values.update(chosen.parameters)
        chosen_here = chosen.text
        if only is not None:
            chosen_here += sql.SQL(" AND ({}) IN (SELECT {} FROM ranked)").format(COMMA.join(self._by), only)
        has_choice = bool(request.match) or only is not None
        scans = Scans(
            self._plan, self._parameters, self._lookback, COMMA.join(self._by), IS_CHOSEN if has_choice else NOTHING
        )
        merged = [self._merged(value) for value in self._plan.values]
        computed = zip([*self._by, *merged], [*self.tags, *self.values], strict=True)
        columns: list[sql.Composable] = [sql.SQL("{} AS {}").format(*pair) for pair in computed]
        columns += self._reach()
        if request.step is not None:
            columns.insert(len(self._by), BUCKET)
        return MERGED.format(
            chosen=CHOSEN.format(conditions=chosen_here) if has_choice else NOTHING,
            scans=scans.all(),
            columns=COMMA.join(columns),
            source=sql.SQL("partial JOIN catalog.series s ON s.id = series_id" if request.by else "partial"),
            assumed=self._assumed,
            grouping=sql.SQL("GROUP BY {}" if self.keys else "HAVING count(*) > 0").format(COMMA.join(self.keys)),
            order=sql.SQL(" ORDER BY {}").format(COMMA.join(order)) if order else NOTHING,
        )

    def _reach(self) -> list[sql.Composable]:
        """What a row tells of the points before it, if the plan says that it does."""
        since, fields = self._plan.reaches, self._plan.reached
        if since is None:
            return []
        if not fields:
            return [sql.SQL("NULL::timestamptz AS oldest, false AS lacks, false AS misses")]
        near = min(piece.start for piece in self._plan.pieces if piece.needs_before) - self._lookback
        oldest = [sql.SQL("min({})").format(alias("oldest", field)) for field in fields]
        lacks = [sql.SQL("bool_or({})").format(alias("lacks", field)) for field in fields]
        misses = [self._misses(field, since, near) for field in fields] if since < near else [sql.SQL("false")]
        either = sql.SQL(" OR ")
        return [
            sql.SQL("least({}) AS oldest").format(COMMA.join(oldest)),
            sql.SQL("coalesce({}, false) AS lacks").format(either.join(lacks)),
            sql.SQL("coalesce({}, false) AS misses").format(either.join(misses)),
        ]

    def _misses(self, field: int, since: datetime, near: datetime) -> sql.Composed:
        return MISSES.format(
            lacks=alias("lacks", field),
            points=identifier("points", self._plan.measurement),
            column=identifier("q", self._plan.fields[field].column),
            since=self._parameters.add(since),
            near=self._parameters.add(near),
        )

    def _merged(self, value: Measure) -> sql.SQL:
        share = fraction(value.fn)
        place = None if share is None else self._plan.fractions.index(share) + 1
        return _merged(value.fn, self._plan.request.metric.index(value.metric), place)


@lru_cache(KINDS)
def _merged(fn: str, field: int, place: int | None) -> sql.SQL:
    how = recipe(fn)
    parts = {part: alias(part, field) for part in how.parts}
    return composed_once(sql.SQL(how.merge).format(**parts, place=sql.Literal(place)))
