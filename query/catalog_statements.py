"""The SQL about the catalog: which measurements, fields and hosts there are. Pure: it composes, and runs nothing."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import LiteralString

from psycopg import sql

from query.conditions import Statement, conditions, identifier
from query.parameters import Matcher

FIELDS_OF: LiteralString = """
    SELECT m.id, m.name, f.name, f.column_name, f.id
    FROM unnest(%(measurements)s::text[], %(fields)s::text[]) AS wanted (measurement, field)
    JOIN catalog.measurement m ON m.name = wanted.measurement
    JOIN catalog.field f ON f.measurement_id = m.id AND f.name = wanted.field
"""

MEASUREMENTS: LiteralString = """
    SELECT m.id, m.name, (SELECT count(*) FROM catalog.field f WHERE f.measurement_id = m.id)
    FROM catalog.measurement m ORDER BY m.name COLLATE "C" LIMIT %(limit)s
"""

FIELDS: LiteralString = """
    SELECT m.id, m.name, f.name, f.column_name, f.id
    FROM catalog.measurement m JOIN catalog.field f ON f.measurement_id = m.id
    WHERE %(measurements)s::text[] IS NULL OR m.name = ANY (%(measurements)s)
    ORDER BY m.name COLLATE "C", f.name COLLATE "C" LIMIT %(limit)s
"""


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
    chosen = conditions(measurement_id, match)
    return Statement(
        text.format(points=identifier("points", measurement), conditions=chosen.text),
        {**chosen.parameters, "since": since, "limit": limit},
    )
