"""The SQL for points themselves. Pure: it composes, and runs nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, LiteralString

from psycopg import sql

from query.assumptions import Assumption
from query.conditions import HOST, Statement, conditions, identifier, tag_value
from query.facts import FieldFact
from query.points import Comparison, Order, PointsRequest

COMPARISONS: dict[Comparison, LiteralString] = {">": ">", ">=": ">=", "<": "<", "<=": "<=", "=": "=", "!=": "<>"}

# The first two are those in which TimescaleDB reads chunks, one after the other: a page costs no look at the others.
ORDERS: dict[Order, LiteralString] = {
    "asc": "ORDER BY p.time ASC, p.series_id ASC",
    "desc": "ORDER BY p.time DESC, p.series_id DESC",
    "any": "",
}

POINTS = sql.SQL("""
    SELECT p.time, p.series_id, {columns} FROM {points} p JOIN catalog.series s ON s.id = p.series_id
    WHERE p.time >= {start} AND p.time < {end} AND {conditions}
    {order} LIMIT {limit}
""")

IS_CHOSEN = sql.SQL("p.series_id = ANY (ARRAY(SELECT s.id FROM catalog.series s WHERE {conditions}))")


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
    tags = [tag_value(f"by_{place}", is_host=tag == HOST) for place, tag in enumerate(request.by)]
    values = [identifier("p", field.column) for field in fields]
    parameters: dict[str, Any] = {"start": request.start, "end": request.end, "limit": limit}
    parameters |= {f"by_{place}": tag for place, tag in enumerate(request.by)}
    held = []
    if {field.column for field in fields}.isdisjoint(columns[condition.metric] for condition in request.where):
        # Else the point has one of the fields anyway, and the others need not be looked at.
        present = sql.SQL(" OR ").join(sql.SQL("{} IS NOT NULL").format(one) for one in values)
        held.append(sql.SQL("({})").format(present))
    for place, condition in enumerate(request.where):
        held.append(
            sql.SQL("{} {} {}").format(
                identifier("p", columns[condition.metric]),
                sql.SQL(COMPARISONS[condition.operator]),
                sql.Placeholder(f"number_{place}"),
            )
        )
        parameters[f"number_{place}"] = condition.number
    if request.match:
        chosen = conditions(fields[0].measurement_id, request.match)
        held.append(IS_CHOSEN.format(conditions=chosen.text))
        parameters |= chosen.parameters
    if assumed is not None:
        held.append(assumed.taken.text())
        parameters |= assumed.parameters()
    if request.after is not None:
        is_newest_first = request.order == "desc"
        held.append(
            sql.SQL("p.time {} %(after_time)s AND (p.time, p.series_id) {} (%(after_time)s, %(after_series)s)").format(
                sql.SQL("<=" if is_newest_first else ">="), sql.SQL("<" if is_newest_first else ">")
            )
        )
        parameters |= {"after_time": request.after.time, "after_series": request.after.series}
    return Statement(
        POINTS.format(
            columns=sql.SQL(", ").join([*tags, *values]),
            points=identifier("points", fields[0].measurement),
            start=sql.Placeholder("start"),
            end=sql.Placeholder("end"),
            conditions=sql.SQL(" AND ").join(held),
            order=sql.SQL(ORDERS[request.order]),
            limit=sql.Placeholder("limit"),
        ),
        parameters,
    )
