"""The SQL of an aggregate. Pure: it composes, and runs nothing.

An aggregate has two steps. First the points of each series, in each window, become *parts* (a sum, a count,
...): that is where the rows are, and no join slows it down. Then the parts of the series that share their
`by` tags are merged: exactly, since every function here can be had from its parts. An average of many series
is therefore the average of all their points, not of their averages.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import LiteralString

from psycopg import sql

from query.conditions import Statement, conditions, identifier, tag_value
from query.planner import Plan
from query.window import Function

PARTS: dict[str, LiteralString] = {
    "sum": "sum({value})",
    "count": "count({value})",
    "min": "min({value})",
    "max": "max({value})",
    "first": "first({value}, p.time) FILTER (WHERE {value} IS NOT NULL)",
    "first_time": "min(p.time) FILTER (WHERE {value} IS NOT NULL)",
    "last": "last({value}, p.time) FILTER (WHERE {value} IS NOT NULL)",
    "last_time": "max(p.time) FILTER (WHERE {value} IS NOT NULL)",
}


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a function is had from its parts."""

    parts: tuple[str, ...]
    merge: LiteralString


RECIPES: dict[Function, Recipe] = {
    "avg": Recipe(("sum", "count"), "sum({sum}) / nullif(sum({count}), 0)::float8"),
    "sum": Recipe(("sum",), "sum({sum})"),
    "count": Recipe(("count",), "sum({count})::bigint"),
    "min": Recipe(("min",), "min({min})"),
    "max": Recipe(("max",), "max({max})"),
    # Of several series' points at the same moment, the one of the series that was made first: a repeated
    # request must have the same answer.
    "first": Recipe(("first", "first_time"), "(array_agg({first} ORDER BY {first_time} NULLS LAST, series_id))[1]"),
    "last": Recipe(("last", "last_time"), "(array_agg({last} ORDER BY {last_time} DESC NULLS LAST, series_id))[1]"),
}


def aggregate(plan: Plan, limit: int) -> Statement:
    """At most `limit` rows: the `by` tags, the window's start if there is a step, the plan's values; sorted.

    A window of a group in which every metric is null makes no row.
    """
    request = plan.request
    chosen = conditions(plan.measurement_id, request.match)
    keys: list[sql.Composable] = [
        tag_value(tag, f"by_{number}") + sql.SQL(' COLLATE "C"') for number, tag in enumerate(request.by)
    ]
    if request.step is not None:
        keys.append(sql.SQL("bucket"))
    merged = [sql.SQL(RECIPES[value.fn].merge).format(**_aliases(plan, value.column)) for value in plan.values]
    # Keys are grouped by their place: a name could be that of a field.
    places = sql.SQL(", ").join(sql.Literal(place) for place in range(1, len(keys) + 1))
    text = sql.SQL("WITH partial AS ({partial}) SELECT {keys_and_values} FROM {source} {grouping} LIMIT %(limit)s")
    return Statement(
        text.format(
            partial=_partial(plan, chosen.text),
            keys_and_values=sql.SQL(", ").join([*keys, *merged]),
            source=sql.SQL("partial JOIN catalog.series s ON s.id = series_id" if request.by else "partial"),
            grouping=sql.SQL("GROUP BY {places} ORDER BY {places}" if keys else "HAVING count(*) > 0").format(
                places=places
            ),
        ),
        {
            **chosen.parameters,
            "start": request.start,
            "end": request.end,
            "step": request.step.length if request.step else None,
            "limit": limit,
            **{f"by_{number}": tag for number, tag in enumerate(request.by)},
        },
    )


def _partial(plan: Plan, matched: sql.Composed) -> sql.Composed:
    """The parts of each series, in each window."""
    request = plan.request
    columns = dict.fromkeys(value.column for value in plan.values)
    wanted = dict.fromkeys((value.column, part) for value in plan.values for part in RECIPES[value.fn].parts)
    parts = [
        sql.SQL("{} AS {}").format(
            sql.SQL(PARTS[part]).format(value=identifier("p", column)), _aliases(plan, column)[part]
        )
        for column, part in wanted
    ]
    present = [sql.SQL("{} IS NOT NULL").format(identifier("p", column)) for column in columns]
    # The ids go in as an array: the planner then looks them up in each chunk's index, which no join gives it.
    chosen = sql.SQL(
        " AND p.series_id = ANY (ARRAY(SELECT s.id FROM catalog.series s WHERE {conditions}))" if request.match else ""
    )
    return sql.SQL("""
        SELECT p.series_id{bucket}, {parts} FROM {points} p
        WHERE p.time >= %(start)s AND p.time < %(end)s AND ({present}){chosen}
        GROUP BY {places}
    """).format(
        bucket=sql.SQL(", time_bucket(%(step)s, p.time) AS bucket" if request.step else ""),
        parts=sql.SQL(", ").join(parts),
        points=identifier("points", plan.measurement),
        present=sql.SQL(" OR ").join(present),
        chosen=chosen.format(conditions=matched),
        places=sql.SQL("1, 2" if request.step else "1"),
    )


def _aliases(plan: Plan, column: str) -> dict[str, sql.Identifier]:
    """What the parts of a column are called; numbered, since a column's name and a suffix may be too long."""
    number = [value.column for value in plan.values].index(column)
    return {part: sql.Identifier(f"{part}_{number}") for part in PARTS}
