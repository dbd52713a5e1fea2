"""The SQL about the catalog: which measurements and fields there are. Pure: it composes, and runs nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import LiteralString

from psycopg import sql

from query.conditions import Statement, matching, values_of
from query.parameters import Matcher

FIELDS_OF: LiteralString = """
    SELECT m.id, m.name, f.name, f.column_name, f.id, seen.epoch
    FROM (SELECT catalog.epoch() AS epoch OFFSET 0) seen
    CROSS JOIN unnest(%(measurements)s::text[], %(fields)s::text[]) AS wanted (measurement, field)
    JOIN catalog.measurement m ON m.name = wanted.measurement
    JOIN catalog.field f ON f.measurement_id = m.id AND f.name = wanted.field
"""

MEASUREMENT: LiteralString = "SELECT m.id, m.name FROM catalog.measurement m WHERE m.name = %(name)s"

ROLLUP_STATE: LiteralString = """
    SELECT nullif(catalog.raw_from(%(measurement)s), '-infinity'), s.width, s.view_name, s.fields,
        s.valid * tstzmultirange(tstzrange(%(start)s, %(end)s))
    FROM (SELECT) AS always LEFT JOIN catalog.rollup_state(%(measurement)s) s ON true
"""

ALTERED: LiteralString = """
    SELECT m.id, format('points.%%I', m.name), made.name, format_type(a.atttypid, a.atttypmod), made.type,
        made.type <> 'double precision', a.atttypid = ANY (made.as_good::regtype[])
    FROM catalog.measurement m
    CROSS JOIN (VALUES ('{int2,int4,int8,float4,float8,numeric}')) AS numbers (types)
    CROSS JOIN LATERAL (
        VALUES ('time', 'timestamp with time zone', '{timestamptz,timestamp,date}'), ('series_id', 'integer', types)
        UNION ALL SELECT f.column_name, 'double precision', types FROM catalog.field f WHERE f.measurement_id = m.id
    ) AS made (name, type, as_good)
    JOIN pg_attribute a ON a.attrelid = to_regclass(format('points.%%I', m.name)) AND a.attname = made.name
    WHERE NOT a.attisdropped AND format_type(a.atttypid, a.atttypmod) <> made.type
        AND (%(measurements)s::int[] IS NULL OR m.id = ANY (%(measurements)s))
    ORDER BY m.name COLLATE "C", made.name COLLATE "C" LIMIT %(limit)s
"""

GONE: LiteralString = """
    SELECT max(kept.since), count(kept.since)
    FROM unnest(%(measurements)s::int[]) AS m (id) CROSS JOIN LATERAL catalog.raw_from(m.id) AS kept (since)
    WHERE kept.since > %(start)s
"""

MEASUREMENTS: LiteralString = """
    SELECT m.id, m.name, (SELECT count(*) FROM catalog.field f WHERE f.measurement_id = m.id)
    FROM catalog.measurement m ORDER BY m.name COLLATE "C" LIMIT %(limit)s
"""

FIELDS: LiteralString = """
    SELECT m.id, m.name, f.name, f.column_name, f.id, seen.epoch
    FROM (SELECT catalog.epoch() AS epoch OFFSET 0) seen CROSS JOIN catalog.measurement m
    JOIN catalog.field f ON f.measurement_id = m.id
    WHERE %(measurements)s::text[] IS NULL OR m.name = ANY (%(measurements)s)
    ORDER BY m.name COLLATE "C", f.name COLLATE "C" LIMIT %(limit)s
"""


def measurements_with_series(match: Sequence[Matcher], limit: int) -> Statement:
    """At most `limit` rows of (id, name): the measurements that have a series that matches, by name.

    One whose table somebody has dropped by hand stays in the catalog until its next point, and has none.
    """
    text = sql.SQL("""
        SELECT m.id, m.name FROM catalog.measurement m
        WHERE EXISTS (SELECT FROM catalog.series s WHERE s.measurement_id = m.id AND {matching})
            AND to_regclass(format('points.%%I', m.name)) IS NOT NULL
        ORDER BY m.name COLLATE "C" LIMIT %(limit)s
    """)
    return Statement(text.format(matching=matching(match)), {**values_of(match), "limit": limit})
