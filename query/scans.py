"""The SQL of scans: the rows of one source, over one stretch of time, become parts by series and window. Pure."""

from __future__ import annotations

from datetime import timedelta
from functools import lru_cache
from typing import Any

from psycopg import sql

from query.conditions import identifier
from query.facts import FieldFact
from query.functions import PARTS, ROLLED_UP_PARTS
from query.planner import Piece, Plan
from query.steps import FixedWindows

COMMA = sql.SQL(", ")
NOTHING = sql.SQL("")

SCAN = sql.SQL("""
    SELECT {series} AS series_id{bucket}, {parts} FROM {source}
    WHERE {time} >= {start} AND {time} < {end} AND ({present}){chosen} GROUP BY {places}
""")

# A group is known by the first of its series.
GROUPS = sql.SQL("""
    JOIN (
        SELECT s.id AS member, min(s.id) OVER (PARTITION BY {tags}) AS id
        FROM catalog.series s WHERE s.measurement_id = {measurement}
    ) AS grouped ON grouped.member = p.series_id
""")

# The point before a series' first is looked for a while before the range, and counts for nothing else.
WITH_POINTS_BEFORE = sql.SQL("""
    (SELECT p.series_id, p.time, {columns} FROM {source}
     WHERE p.time >= {start} - {lookback} AND p.time < {end}{chosen}
     WINDOW earlier AS (PARTITION BY p.series_id ORDER BY p.time ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)) p
""")

POINT_BEFORE = sql.SQL("""
    {column} AS {value},
    last({column}, p.time) FILTER (WHERE {column} IS NOT NULL) OVER earlier AS {before},
    max(p.time) FILTER (WHERE {column} IS NOT NULL) OVER earlier AS {before_time}
""")


Parts = tuple[tuple[int, str], ...]
"""Of which field, by its place, which part."""

KINDS = 1000
"""Of pieces of statements, how many are held; the least used leave."""


def composed_once(text: sql.Composed) -> sql.SQL:
    """The same as one piece."""
    return sql.SQL(text.as_string())


class Parameters:
    """The values of a statement, each under a name of its own."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}

    def add(self, value: object) -> sql.Placeholder:
        """A place for the value."""
        name = f"value_{len(self.values)}"
        self.values[name] = value
        return sql.Placeholder(name)


def alias(part: str, field: int) -> sql.Identifier:
    """What a part of a field is called: by its place, since a field's name and a suffix may be too long."""
    return sql.Identifier(f"{part}_{field}")


class Scans:
    """Composes the scans of a plan; all have the same columns, so that they can be put together.

    `tags` are those of a row s of catalog.series to group by; `chosen` is the condition on the series of a row p.
    """

    def __init__(
        self,
        plan: Plan,
        parameters: Parameters,
        lookback: timedelta,
        tags: sql.Composable,
        chosen: sql.Composable,
    ) -> None:
        self._plan = plan
        self._parameters = parameters
        self._tags = tags
        self._chosen = chosen
        self._lookback = parameters.add(lookback)
        self._fractions = parameters.add(list(plan.fractions))
        self._starts: sql.Placeholder | None = None
        windows = plan.request.windows
        if isinstance(windows, FixedWindows):
            self._step = parameters.add(windows.length)
        elif windows is not None:
            self._starts = parameters.add(list(windows.starts(plan.request.start, plan.request.end)))

    def all(self) -> sql.Composed:
        """The rows of all pieces: series_id, bucket (the window's start) if there is a step, and the parts."""
        return sql.SQL(" UNION ALL ").join([self._scan(piece) for piece in self._plan.pieces])

    def _scan(self, piece: Piece) -> sql.Composed:
        start, end = self._parameters.add(piece.start), self._parameters.add(piece.end)
        time = sql.SQL("p.time" if piece.rollup is None else "p.bucket")
        return SCAN.format(
            series=self._series(piece),
            bucket=self._bucket(time),
            parts=self._parts(piece),
            source=self._with_points_before(piece, start, end) if piece.needs_before else self._source(piece),
            time=time,
            start=start,
            end=end,
            present=self._present(piece),
            chosen=self._chosen,
            places=sql.SQL("1" if self._plan.request.step is None else "1, 2"),
        )

    def _series(self, piece: Piece) -> sql.Composable:
        if not piece.is_by_group:
            return sql.SQL("p.series_id")
        return sql.SQL("grouped.id" if self._plan.request.by else "0")

    def _bucket(self, time: sql.Composable) -> sql.Composable:
        if self._plan.request.step is None:
            return NOTHING
        if self._starts is None:
            return sql.SQL(", time_bucket({}, {}) AS bucket").format(self._step, time)
        return sql.SQL(", ({starts}::timestamptz[])[width_bucket({time}, {starts}::timestamptz[])] AS bucket").format(
            starts=self._starts, time=time
        )

    def _parts(self, piece: Piece) -> sql.Composable:
        """Every part that any piece has: null where this one does not have it."""
        wanted = tuple(dict.fromkeys(one for piece in self._plan.pieces for one in piece.parts))
        known = (self._plan.fields, piece.rollup is not None, piece.needs_before)
        return _parts(wanted, piece.parts, known, self._fractions.as_string())

    def _present(self, piece: Piece) -> sql.Composable:
        """Rows without a number of any of the fields are none."""
        return _present(piece.fields, (self._plan.fields, piece.rollup is not None, piece.needs_before))

    def _source(self, piece: Piece) -> sql.Composable:
        if piece.rollup is not None:
            return sql.SQL("{} p").format(identifier("rollups", piece.rollup.view))
        points = sql.SQL("{} p").format(identifier("points", self._plan.measurement))
        if piece.is_by_group and self._plan.request.by:
            return points + GROUPS.format(tags=self._tags, measurement=self._parameters.add(self._plan.measurement_id))
        return points

    def _with_points_before(self, piece: Piece, start: sql.Placeholder, end: sql.Placeholder) -> sql.Composed:
        columns = [
            POINT_BEFORE.format(
                column=identifier("p", self._plan.fields[field].column),
                value=alias("value", field),
                before=alias("before", field),
                before_time=alias("before_time", field),
            )
            for field in piece.fields
        ]
        return WITH_POINTS_BEFORE.format(
            columns=COMMA.join(columns),
            source=self._source(piece),
            start=start,
            lookback=self._lookback,
            end=end,
            chosen=self._chosen,
        )


Read = tuple[tuple[FieldFact, ...], bool, bool]
"""The fields of a plan; of one of its pieces, whether it reads a rollup, and whether points with those before them."""

# Statements of a few kinds are asked for again and again. What depends on the kind alone, and would be composed of some
# hundred pieces, is composed once.


@lru_cache(KINDS)
def _parts(wanted: Parts, having: Parts, read: Read, fractions: str) -> sql.SQL:
    parts = []
    for field, part in wanted:
        computed = sql.SQL(f"NULL::{PARTS[part].type}").format()
        if (field, part) in having:
            computed = _computed(field, part, read, sql.SQL(fractions))
        parts.append(sql.SQL("{} AS {}").format(computed, alias(part, field)))
    return composed_once(COMMA.join(parts))


def _computed(field: int, part: str, read: Read, fractions: sql.Composable) -> sql.Composed:
    fields, is_rollup, _ = read
    of_rollup = PARTS[part].of_rollup
    if is_rollup and of_rollup is not None:
        kept = {name: sql.Identifier("p", f"{name}_{fields[field].id}") for name in ROLLED_UP_PARTS}
        return sql.SQL(of_rollup).format(**kept)
    return sql.SQL(PARTS[part].of_points).format(
        value=_value(field, read),
        before=alias("before", field),
        before_time=alias("before_time", field),
        fractions=fractions,
    )


def _value(field: int, read: Read) -> sql.Identifier:
    fields, _, needs_before = read
    if needs_before:
        return sql.Identifier("p", f"value_{field}")
    return identifier("p", fields[field].column)


@lru_cache(KINDS)
def _present(places: tuple[int, ...], read: Read) -> sql.SQL:
    fields, is_rollup, _ = read
    return composed_once(
        sql.SQL(" OR ").join(
            sql.SQL("p.{} > 0").format(alias("count", fields[field].id))
            if is_rollup
            else sql.SQL("{} IS NOT NULL").format(_value(field, read))
            for field in places
        )
    )
