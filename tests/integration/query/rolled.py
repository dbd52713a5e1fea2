"""Rollups as ordinary tables, which every edition has: made from the points, and valid where a test says."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import psycopg
from psycopg import sql
from psycopg.types.multirange import Multirange
from psycopg.types.range import Range as PgRange

WIDTHS = {"10m": timedelta(minutes=10), "1h": timedelta(hours=1)}

Range = tuple[datetime, datetime]

STATE = """
    CREATE TABLE public.rollup_state (
        rollup_id int GENERATED ALWAYS AS IDENTITY, measurement text, width interval, part int, view_name text,
        fields text[], valid tstzmultirange);
    GRANT SELECT ON public.rollup_state TO tidemark_query;
    CREATE OR REPLACE FUNCTION catalog.rollup_state(wanted_measurement int)
    RETURNS TABLE (rollup_id int, width interval, part int, view_name text, fields int[], valid tstzmultirange)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
        SELECT s.rollup_id, s.width, s.part, s.view_name,
            ARRAY(SELECT f.id FROM catalog.field f WHERE f.measurement_id = m.id AND f.name = ANY (s.fields)), s.valid
        FROM public.rollup_state s JOIN catalog.measurement m ON m.name = s.measurement
        WHERE m.id = wanted_measurement
    $$;
"""
"""In place of what TimescaleDB tells, which the Apache edition does not."""


@dataclass(frozen=True)
class Part:
    """One rollup of some fields."""

    size: str
    number: int
    fields: tuple[str, ...]
    valid: tuple[Range, ...]


def roll_up(url: str, measurement: str, parts: Sequence[Part], spoiled: bool = True) -> None:
    """Make the rollups of the measurement's points of now; where they are not valid they hold nonsense."""
    with psycopg.connect(url, autocommit=True) as connection:
        if connection.execute("SELECT to_regclass('public.rollup_state')").fetchone() == (None,):
            connection.execute(STATE)
        connection.execute("TRUNCATE public.rollup_state")
        ids: dict[str, int] = dict(
            connection.execute(
                "SELECT f.name, f.id FROM catalog.field f JOIN catalog.measurement m ON m.id = f.measurement_id "
                "WHERE m.name = %s", (measurement,)
            ).fetchall()
        )  # fmt: skip
        for part in parts:
            _make(connection, measurement, part, ids)
            if spoiled:
                _spoil(connection, part, [ids[field] for field in part.fields])


def _view(part: Part) -> str:
    return f"test_{part.size}_{part.number}"


def _make(connection: psycopg.Connection, measurement: str, part: Part, ids: dict[str, int]) -> None:
    table = sql.Identifier("rollups", _view(part))
    kept = [
        sql.SQL("sum({0}) AS {1}, count({0}) AS {2}, min({0}) AS {3}, max({0}) AS {4}").format(
            sql.Identifier(field), *(sql.Identifier(f"{name}_{ids[field]}") for name in ("sum", "count", "min", "max"))
        )
        for field in part.fields
    ]
    connection.execute(sql.SQL("DROP TABLE IF EXISTS {}").format(table))
    connection.execute(
        sql.SQL(
            "CREATE TABLE {} AS SELECT time_bucket({}, time) AS bucket, series_id, {} FROM {} GROUP BY 1, 2"
        ).format(
            table,
            sql.Literal(WIDTHS[part.size]),
            sql.SQL(", ").join(kept),
            sql.Identifier("points", measurement),
        )
    )
    connection.execute(
        "INSERT INTO public.rollup_state (measurement, width, part, view_name, fields, valid) "
        "VALUES (%s, %s, %s, %s, %s, %s)",
        (measurement, WIDTHS[part.size], part.number, _view(part), list(part.fields), multirange(part.valid)),
    )


def _spoil(connection: psycopg.Connection, part: Part, ids: Sequence[int]) -> None:
    nonsense = [sql.SQL("{} = 1e9").format(sql.Identifier(f"{name}_{one}")) for one in ids for name in ("sum", "min")]
    connection.execute(
        sql.SQL("UPDATE {} SET {} WHERE NOT %s::tstzmultirange @> bucket").format(
            sql.Identifier("rollups", _view(part)), sql.SQL(", ").join(nonsense)
        ),
        (multirange(part.valid),),
    )


def multirange(ranges: Iterable[Range]) -> Multirange[datetime]:
    """As the driver has it."""
    return Multirange([PgRange(start, end) for start, end in ranges])
