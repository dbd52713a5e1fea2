"""The SQL for points themselves. Pure: it composes, and runs nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, LiteralString

from psycopg import sql

from query import conditions
from query.assumptions import Assumption, Taken
from query.conditions import HOST, OF_MEASUREMENT, Form, Statement, double, identifier, tag_value
from query.facts import FieldFact
from query.light import days, during, planned
from query.points import Comparison, Order, PointsRequest
from query.ranges import Range
from query.scans import COMMA
from query.statements import LONGEST_HELD, TEXTS

COMPARISONS: dict[Comparison, LiteralString] = {">": ">", ">=": ">=", "<": "<", "<=": "<=", "=": "=", "!=": "<>"}

# The first two are those in which TimescaleDB reads chunks, one after the other: a page costs no look at the others.
ORDERS: dict[Order, LiteralString] = {
    "asc": "ORDER BY p.time ASC, p.series_id ASC",
    "desc": "ORDER BY p.time DESC, p.series_id DESC",
    "any": "",
}

POINTS = sql.SQL("""
    SELECT p.time, p.series_id, {columns} FROM {points} p JOIN catalog.series s ON s.id = p.series_id
    WHERE p.time >= %(start)s AND p.time < %(end)s{during} AND {conditions}
    {order} LIMIT %(limit)s
""")

IS_CHOSEN = sql.SQL("p.series_id = ANY (ARRAY(SELECT s.id FROM catalog.series s WHERE {conditions}))")


@dataclass(frozen=True, slots=True)
class _Asked:
    """All that the text of a statement depends on."""

    fields: tuple[FieldFact, ...]
    by: tuple[bool, ...]
    """Of each tag to tell whether it is the host."""
    where: tuple[tuple[str, Comparison], ...]
    """The column of each condition, and how it is compared."""
    match: tuple[Form, ...]
    order: Order
    has_after: bool
    """Whether it is a page after another."""
    days: Range | None
    """In which points are looked at, where the statement is light."""
    taken: Taken | None

    @property
    def length(self) -> int:
        """How much the text is made of."""
        return len(self.fields) + len(self.by) + len(self.where) + len(self.match)


def points(
    request: PointsRequest,
    fields: Sequence[FieldFact],
    columns: Mapping[str, str],
    limit: int,
    assumed: Assumption | None = None,
) -> Statement:
    """At most `limit` rows: the time, the series' id, the tags asked for, the numbers of `fields`; as ordered.

    `columns` are those of the metrics of the conditions. There is no row unless what is `assumed` holds.
    """
    match = conditions.forms(request.match)
    asked = _Asked(
        tuple(fields),
        tuple(tag == HOST for tag in request.by),
        tuple((columns[condition.metric], condition.operator) for condition in request.where),
        match,
        request.order,
        request.after is not None,
        days(match, request.start, request.end, len(fields) + len(request.where)),
        None if assumed is None else assumed.taken,
    )
    parameters: dict[str, Any] = {
        "measurement": fields[0].measurement_id,
        "start": request.start,
        "end": request.end,
        "limit": limit,
        **{f"by_{place}": tag for place, tag in enumerate(request.by)},
        **{f"number_{place}": condition.number for place, condition in enumerate(request.where)},
        **conditions.values_of(request.match),
    }
    if assumed is not None:
        parameters |= assumed.parameters()
    if request.after is not None:
        parameters |= {"after_time": request.after.time, "after_series": request.after.series}
    if asked.length > LONGEST_HELD:
        return Statement(_text(asked), parameters)
    return Statement(_held(asked), parameters, planned([asked.days]))


def _text(asked: _Asked) -> sql.SQL:
    tags = [tag_value(f"by_{place}", is_host=is_host) for place, is_host in enumerate(asked.by)]
    values = [double("p", field.column) for field in asked.fields]
    composed = POINTS.format(
        columns=COMMA.join([*tags, *values]),
        points=identifier("points", asked.fields[0].measurement),
        during=during(asked.days),
        conditions=sql.SQL(" AND ").join(_conditions(asked, values)),
        order=sql.SQL(ORDERS[asked.order]),
    )
    return sql.SQL(composed.as_string())


_held = lru_cache(TEXTS)(_text)


def _conditions(asked: _Asked, values: Sequence[sql.Composable]) -> list[sql.Composable]:
    """What holds for a point beside its time."""
    held: list[sql.Composable] = []
    if {field.column for field in asked.fields}.isdisjoint(column for column, _ in asked.where):
        # Else the point has one of the fields anyway, and the others need not be looked at.
        present = sql.SQL(" OR ").join(sql.SQL("{} IS NOT NULL").format(one) for one in values)
        held.append(sql.SQL("({})").format(present))
    for place, (column, operator) in enumerate(asked.where):
        compared = sql.SQL(COMPARISONS[operator])
        held.append(sql.SQL("{} {} {}").format(double("p", column), compared, sql.Placeholder(f"number_{place}")))
    if asked.match:
        held.append(IS_CHOSEN.format(conditions=OF_MEASUREMENT.format(conditions.text_of(asked.match))))
    if asked.taken is not None:
        held.append(asked.taken.text())
    if asked.has_after:
        is_newest_first = asked.order == "desc"
        held.append(
            sql.SQL("p.time {} %(after_time)s AND (p.time, p.series_id) {} (%(after_time)s, %(after_series)s)").format(
                sql.SQL("<=" if is_newest_first else ">="), sql.SQL("<" if is_newest_first else ">")
            )
        )
    return held
