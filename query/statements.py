"""The SQL of the read path. Pure: it composes, and runs nothing.

An aggregate has two steps. First the points of each series, in each window, become *parts* (a sum, a count,
...): that is where the rows are, and no join slows it down. Then the parts of the series that share their
`by` tags are merged: exactly, since every function here can be had from its parts. An average of many series
is therefore the average of all their points, not of their averages.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, LiteralString

from psycopg import sql
from psycopg.types.json import Jsonb

from query.planner import Plan
from query.window import Function, Matcher, Operator

HOST = "host"
"""The tag that stands for `catalog.series.host`, which the first of ingest's host tags has filled."""

OPERATORS: dict[Operator, LiteralString] = {"=": "=", "!=": "<>", "=~": "~", "!~": "!~"}

FIELDS_OF: LiteralString = """
    SELECT m.id, m.name, f.name, f.column_name
    FROM unnest(%(measurements)s::text[], %(fields)s::text[]) AS wanted (measurement, field)
    JOIN catalog.measurement m ON m.name = wanted.measurement
    JOIN catalog.field f ON f.measurement_id = m.id AND f.name = wanted.field
"""

MEASUREMENTS: LiteralString = """
    SELECT m.id, m.name, (SELECT count(*) FROM catalog.field f WHERE f.measurement_id = m.id)
    FROM catalog.measurement m ORDER BY m.name COLLATE "C" LIMIT %(limit)s
"""

FIELDS: LiteralString = """
    SELECT m.id, m.name, f.name, f.column_name
    FROM catalog.measurement m JOIN catalog.field f ON f.measurement_id = m.id
    WHERE %(measurements)s::text[] IS NULL OR m.name = ANY (%(measurements)s)
    ORDER BY m.name COLLATE "C", f.name COLLATE "C" LIMIT %(limit)s
"""

CHECK_REGEX: LiteralString = "SELECT '' ~ %(plain)s, '' ~ %(anchored)s"
"""Compiles a regular expression as written too: anchored, `a)|(b` would be well formed and match too much."""

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


@dataclass(frozen=True, slots=True)
class Statement:
    """A statement and its parameters."""

    text: sql.Composed
    parameters: dict[str, Any]


def aggregate(plan: Plan, limit: int) -> Statement:
    """At most `limit` rows: the `by` tags, the window's start if there is a step, the plan's values; sorted.

    A window of a group in which every metric is null makes no row.
    """
    request = plan.request
    chosen = _conditions(plan.measurement_id, request.match)
    keys: list[sql.Composable] = [
        _tag(tag, f"by_{number}") + sql.SQL(' COLLATE "C"') for number, tag in enumerate(request.by)
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


def last_seen(
    measurement: str, measurement_id: int, match: Sequence[Matcher], since: datetime, limit: int
) -> Statement:
    """At most `limit` rows of (host, its newest point's time since `since` or null) in one measurement.

    One look into the index for each series, in the newest chunk that has it: no scan of points.
    """
    text = sql.SQL("""
        SELECT s.host, max((SELECT max(p.time) FROM {points} p WHERE p.series_id = s.id AND p.time >= %(since)s))
        FROM catalog.series s WHERE {conditions} AND s.host IS NOT NULL
        GROUP BY s.host LIMIT %(limit)s
    """)
    chosen = _conditions(measurement_id, match)
    return Statement(
        text.format(points=_name("points", measurement), conditions=chosen.text),
        {**chosen.parameters, "since": since, "limit": limit},
    )


def anchored(pattern: str) -> str:
    """`pattern` so that it must match a whole value; PostgreSQL takes the option (?i) only at the very start."""
    if pattern.startswith("(?i)"):
        return f"(?i)^(?:{pattern.removeprefix('(?i)')})$"
    return f"^(?:{pattern})$"


def _partial(plan: Plan, conditions: sql.Composed) -> sql.Composed:
    """The parts of each series, in each window."""
    request = plan.request
    columns = dict.fromkeys(value.column for value in plan.values)
    wanted = dict.fromkeys((value.column, part) for value in plan.values for part in RECIPES[value.fn].parts)
    parts = [
        sql.SQL("{} AS {}").format(sql.SQL(PARTS[part]).format(value=_name("p", column)), _aliases(plan, column)[part])
        for column, part in wanted
    ]
    present = [sql.SQL("{} IS NOT NULL").format(_name("p", column)) for column in columns]
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
        points=_name("points", plan.measurement),
        present=sql.SQL(" OR ").join(present),
        chosen=chosen.format(conditions=conditions),
        places=sql.SQL("1, 2" if request.step else "1"),
    )


def _name(*parts: str) -> sql.Identifier:
    """A quoted identifier in a statement with parameters, where the driver takes a % for its own sign."""
    return sql.Identifier(*(part.replace("%", "%%") for part in parts))


def _aliases(plan: Plan, column: str) -> dict[str, sql.Identifier]:
    """What the parts of a column are called; numbered, since a column's name and a suffix may be too long."""
    number = [value.column for value in plan.values].index(column)
    return {part: sql.Identifier(f"{part}_{number}") for part in PARTS}


def _conditions(measurement_id: int, match: Sequence[Matcher]) -> Statement:
    """What holds for the rows of catalog.series that every matcher chooses, in one measurement."""
    found = [_condition(number, matcher) for number, matcher in enumerate(match)]
    parameters: dict[str, Any] = {"measurement": measurement_id}
    for one in found:
        parameters.update(one.parameters)
    texts = [sql.SQL("s.measurement_id = %(measurement)s").format(), *(one.text for one in found)]
    return Statement(sql.SQL(" AND ").join(texts), parameters)


def _condition(number: int, matcher: Matcher) -> Statement:
    tag, value = f"tag_{number}", f"match_{number}"
    if matcher.operator == "=" and matcher.value:
        # In these two forms the condition finds its index.
        if matcher.tag == HOST:
            return Statement(sql.SQL("s.host = {}").format(sql.Placeholder(value)), {value: matcher.value})
        return Statement(
            sql.SQL("s.tags @> {}").format(sql.Placeholder(value)),
            {value: Jsonb({matcher.tag: matcher.value})},
        )
    operator = sql.SQL(OPERATORS[matcher.operator])
    return Statement(
        sql.SQL("{} {} {}").format(_tag(matcher.tag, tag), operator, sql.Placeholder(value)),
        {tag: matcher.tag, value: anchored(matcher.value) if matcher.is_regex else matcher.value},
    )


def _tag(tag: str, placeholder: str) -> sql.Composed:
    """A tag's value in catalog.series; a missing tag is the empty text. `host` is the host that ingest found."""
    if tag == HOST:
        return sql.SQL("coalesce(s.host, '')").format()
    return sql.SQL("coalesce(s.tags ->> {}::text, '')").format(sql.Placeholder(placeholder))
