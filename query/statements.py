"""The SQL of an aggregate. Pure: it composes, and runs nothing.

First come the plan's pieces, each a scan of one source: the points of each series, in each window, become parts. That
is where the rows are, and no join slows it down. Only then the parts of all pieces and series that share their `by`
tags are merged. What can only be had of all points of a group is attributed to the first of its series. Where nothing
is grouped by tags, and there is but one piece, its points need not become parts of series before (`Shape.is_at_once`).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from functools import lru_cache
from typing import Any, Literal, NamedTuple

from psycopg import sql

from query import conditions
from query.assumptions import Assumption, Taken
from query.conditions import Statement, identifier, tag_value
from query.functions import recipe
from query.light import during, planned
from query.planner import Plan
from query.scans import COMMA, NOTHING, Scans, alias
from query.shape import Shape, Value, shape, values

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
        FROM ({whole}) AS whole ORDER BY place LIMIT %(series)s
    )
    SELECT {columns} FROM ({merged}) AS merged JOIN ranked USING ({tags}) ORDER BY place, bucket LIMIT %(limit)s
""")

TEXTS = 1000
"""So many are held; the least used leave."""
LONGEST_HELD = 100
"""Scans, numbers, tags and matchers of a statement whose text is held. A long one is rare, and might be a megabyte."""


class _Asked(NamedTuple):
    """All that the text of a statement depends on."""

    merged: Shape
    ranking: Shape | None
    """Of the values by which curves are ordered, where they are."""
    order: tuple[int, Literal["asc", "desc"] | None] | None
    """By which of the values rows or curves are ordered, and how."""
    has_limit: bool
    """Whether only some of the curves are wanted."""
    taken: Taken | None

    @property
    def shapes(self) -> list[Shape]:
        """Those of all plans in the text."""
        return [self.merged] if self.ranking is None else [self.merged, self.ranking]

    @property
    def length(self) -> int:
        """How much the text is made of."""
        return sum(len(one.sources) * len(one.values) + len(one.by) + len(one.match) for one in self.shapes)


def aggregate(plan: Plan, limit: int, lookback: timedelta, assumed: Assumption | None = None) -> Statement:
    """At most `limit` rows: the `by` tags, the window's start if there is a step, the plan's values.

    They are sorted by tags and window; or, where the request orders its series, by their one value over the whole
    range. A window of a group in which every metric is null makes no row. `lookback` before the range, the point
    before a series' first is looked for. What a plan tells of that (`reach`) stands at the end of each row. There is no
    row unless what is `assumed` holds. Every plan here has a piece at least.
    """
    request, ranking = plan.request, plan.ranking
    asked = _Asked(
        shape(plan, lookback),
        None if ranking is None else shape(ranking, lookback, "ranking_"),
        ((ranking or plan).values.index(request.order_by), request.order) if request.is_ranked else None,
        request.limit is not None,
        None if assumed is None else assumed.taken,
    )
    if request.is_ranked and ranking is None:
        limit = min(limit, request.limit or limit)
    parameters: dict[str, Any] = {
        "measurement": plan.measurement_id,
        "series": request.limit,
        "limit": limit,
        **{f"by_{number}": tag for number, tag in enumerate(request.by)},
        **conditions.values_of(request.match),
        **values(plan, lookback, asked.merged),
    }
    if ranking is not None and asked.ranking is not None:
        parameters |= values(ranking, lookback, asked.ranking)
    if assumed is not None:
        parameters |= assumed.parameters()
    if asked.length > LONGEST_HELD:
        return Statement(_text(asked), parameters)
    return Statement(_held(asked), parameters, planned(one.days for one in asked.shapes))


def _text(asked: _Asked) -> sql.SQL:
    composed = _ordered(asked) if asked.ranking is None else _ranked(asked, asked.ranking)
    return sql.SQL(composed.as_string())


_held = lru_cache(TEXTS)(_text)


def _ordered(asked: _Asked) -> sql.Composed:
    merge = _Merge(asked.merged, asked.taken)
    order: list[sql.Composable] = list(merge.keys)
    if asked.order is not None:
        number, direction = asked.order
        order.insert(0, sql.SQL("{} {} NULLS LAST").format(merge.values[number], DIRECTIONS[direction]))
    return merge.text(order=order) + sql.SQL(" LIMIT %(limit)s")


def _ranked(asked: _Asked, ranking: Shape) -> sql.Composed:
    assert asked.order is not None, "there is no ranking without an order"
    number, direction = asked.order
    merge, whole = _Merge(asked.merged, asked.taken), _Merge(ranking, asked.taken)
    tags = COMMA.join(merge.tags)
    columns = [*merge.tags, BUCKET, *merge.values]
    return RANKED.format(
        value=whole.values[number],
        direction=DIRECTIONS[direction],
        tags=tags,
        whole=whole.text(),
        columns=COMMA.join(sql.SQL("merged.{}").format(column) for column in columns),
        merged=merge.text(only=tags if asked.has_limit else None),
    )


class _Merge:
    """Composes how the parts of a shape are merged."""

    def __init__(self, shape: Shape, taken: Taken | None) -> None:
        self._shape = shape
        self._assumed = NOTHING if taken is None else sql.SQL("WHERE {} ").format(taken.text())
        self._by = [
            tag_value(f"by_{number}", is_host=is_host) + sql.SQL(' COLLATE "C"')
            for number, is_host in enumerate(shape.by)
        ]
        self.tags = [sql.Identifier(f"tag_{number}") for number in range(len(self._by))]
        self.keys = self.tags if shape.windows == "none" else [*self.tags, BUCKET]
        self.values = [sql.Identifier(f"value_{number}") for number in range(len(shape.values))]

    def text(self, *, order: Sequence[sql.Composable] = (), only: sql.Composable | None = None) -> sql.Composed:
        """The tags, the window and the values; `only` of the groups whose tags are in `ranked`."""
        shape = self._shape
        chosen = conditions.OF_MEASUREMENT.format(conditions.text_of(shape.match))
        if only is not None:
            chosen += sql.SQL(" AND ({}) IN (SELECT {} FROM ranked)").format(COMMA.join(self._by), only)
        has_choice = bool(shape.match) or only is not None
        looked_at = (IS_CHOSEN if has_choice else NOTHING) + during(shape.days)
        scans = Scans(shape, COMMA.join(self._by), looked_at)
        return MERGED.format(
            chosen=CHOSEN.format(conditions=chosen) if has_choice else NOTHING,
            scans=scans.at_once() if shape.is_at_once else scans.all(),
            columns=COMMA.join(self._columns()),
            source=sql.SQL("partial JOIN catalog.series s ON s.id = series_id" if shape.by else "partial"),
            assumed=self._assumed,
            grouping=self._grouping(),
            order=sql.SQL(" ORDER BY {}").format(COMMA.join(order)) if order else NOTHING,
        )

    def _columns(self) -> list[sql.Composable]:
        if self._shape.is_at_once:
            return [*self.keys, *self.values]
        computed = [*self._by, *(_merged(value) for value in self._shape.values)]
        columns: list[sql.Composable] = [
            sql.SQL("{} AS {}").format(*pair) for pair in zip(computed, [*self.tags, *self.values], strict=True)
        ]
        if self._shape.windows != "none":
            columns.insert(len(self._by), BUCKET)
        return columns + self._reach()

    def _grouping(self) -> sql.Composable:
        if self._shape.is_at_once:
            return NOTHING
        return sql.SQL("GROUP BY {}" if self.keys else "HAVING count(*) > 0").format(COMMA.join(self.keys))

    def _reach(self) -> list[sql.Composable]:
        """What a row tells of the points before it, if it does."""
        fields = self._shape.reached
        if not self._shape.tells_reach:
            return []
        if not fields:
            return [sql.SQL("NULL::timestamptz AS oldest, false AS lacks, false AS misses")]
        oldest = [sql.SQL("min({})").format(alias("oldest", field)) for field in fields]
        lacks = [sql.SQL("bool_or({})").format(alias("lacks", field)) for field in fields]
        misses = [self._misses(field) for field in fields] if self._shape.looks_far else [sql.SQL("false")]
        either = sql.SQL(" OR ")
        return [
            sql.SQL("least({}) AS oldest").format(COMMA.join(oldest)),
            sql.SQL("coalesce({}, false) AS lacks").format(either.join(lacks)),
            sql.SQL("coalesce({}, false) AS misses").format(either.join(misses)),
        ]

    def _misses(self, field: int) -> sql.Composed:
        fact = self._shape.fields[field]
        return MISSES.format(
            lacks=alias("lacks", field),
            points=identifier("points", fact.measurement),
            column=identifier("q", fact.column),
            since=sql.Placeholder(self._shape.name("since")),
            near=sql.Placeholder(self._shape.name("near")),
        )


def _merged(value: Value) -> sql.Composed:
    how = recipe(value.fn)
    parts = {part: alias(part, value.field) for part in how.parts}
    return sql.SQL(how.merge).format(**parts, place=sql.Literal(value.place))
