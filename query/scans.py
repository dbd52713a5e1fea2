"""The SQL of scans: the rows of one source, over one stretch of time, become parts by series and window. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from psycopg import sql

from query.conditions import double, identifier
from query.functions import PARTS, ROLLED_UP_PARTS, recipe
from query.planner import Source
from query.shape import Shape
from query.steps import ORIGIN

COMMA = sql.SQL(", ")
NOTHING = sql.SQL("")

SCAN = sql.SQL("""
    SELECT {columns} FROM {source} WHERE {time} >= {start} AND {time} < {end} AND ({present}){chosen} {grouping}
""")

# TimescaleDB knows what time_bucket gives to be in the order of time, and takes series one after the other.
SORTED = sql.SQL("time_bucket({step}, {time})")
# Of the same it does not know it. It would merge the compressed batches of all series, point by point, to group what is
# sorted, which takes thrice as long as to group what is not. From 2.26 on it groups so many points at once, where it
# knows the step when it plans.
UNSORTED = sql.SQL("date_bin({step}, {time}, {origin})")

# A group is known by the first of its series.
GROUPS = sql.SQL("""
    JOIN (
        SELECT s.id AS member, min(s.id) OVER (PARTITION BY {tags}) AS id
        FROM catalog.series s WHERE s.measurement_id = %(measurement)s
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


def alias(part: str, field: int) -> sql.Identifier:
    """What a part of a field is called: by its place, since a field's name and a suffix may be too long."""
    return sql.Identifier(f"{part}_{field}")


class Scans:
    """Composes the scans of a shape; all have the same columns, so that they can be put together.

    `tags` are those of a row s of catalog.series to group by; `chosen` is what holds, beside its time, for a row p of
    points that is looked at.
    """

    def __init__(self, shape: Shape, tags: sql.Composable, chosen: sql.Composable) -> None:
        self._shape = shape
        self._tags = tags
        self._chosen = chosen

    def all(self) -> sql.Composed:
        """The rows of all sources: series_id, bucket (the window's start) if there is a step, and the parts."""
        scans = [self._parts_by_series(number, source) for number, source in enumerate(self._shape.sources)]
        return sql.SQL(" UNION ALL ").join(scans)

    def at_once(self) -> sql.Composed:
        """The rows of the one source: bucket if there is a step, and the numbers that are asked for."""
        (source,) = self._shape.sources
        columns: list[sql.Composable] = []
        for number, value in enumerate(self._shape.values):
            how = recipe(value.fn)
            assert how.at_once is not None, "asked only of what has it"
            parts = {part: self._part(value.field, part, source) for part in how.parts}
            computed = sql.SQL(how.at_once).format(**parts)
            columns.append(sql.SQL("{} AS {}").format(computed, alias("value", number)))
        if self._shape.windows == "none":
            return self._scan(0, source, columns, sql.SQL("HAVING count(*) > 0"))
        start = self._start(source, UNSORTED)
        return self._scan(0, source, [sql.SQL("{} AS bucket").format(start), *columns], sql.SQL("GROUP BY 1"))

    def _parts_by_series(self, number: int, source: Source) -> sql.Composed:
        columns = [sql.SQL("{} AS series_id").format(self._series(source)), self._parts(source)]
        if self._shape.windows == "none":
            return self._scan(number, source, columns, sql.SQL("GROUP BY 1"))
        start = self._start(source, SORTED if self._shape.step is None else UNSORTED)
        columns.insert(1, sql.SQL("{} AS bucket").format(start))
        return self._scan(number, source, columns, sql.SQL("GROUP BY 1, 2"))

    def _scan(
        self, number: int, source: Source, columns: Sequence[sql.Composable], grouping: sql.Composable
    ) -> sql.Composed:
        start, end = self._value("start", number), self._value("end", number)
        return SCAN.format(
            columns=COMMA.join(columns),
            source=self._with_points_before(source, start, end) if source.needs_before else self._rows(source),
            time=_time(source),
            start=start,
            end=end,
            present=self._present(source),
            chosen=self._chosen,
            grouping=grouping,
        )

    def _value(self, name: str, number: int | None = None) -> sql.Placeholder:
        return sql.Placeholder(self._shape.name(name, number))

    def _series(self, source: Source) -> sql.Composable:
        if not source.is_by_group:
            return sql.SQL("p.series_id")
        return sql.SQL("grouped.id" if self._shape.by else "0")

    def _start(self, source: Source, fixed: sql.SQL) -> sql.Composable:
        """Of the window that a row is in; `fixed` is how that of one length is found."""
        time = _time(source)
        if self._shape.windows == "fixed":
            step = self._value("step") if self._shape.step is None else sql.Literal(self._shape.step)
            return fixed.format(step=step, time=time, origin=sql.Literal(ORIGIN))
        return sql.SQL("({starts}::timestamptz[])[width_bucket({time}, {starts}::timestamptz[])]").format(
            starts=self._value("starts"), time=time
        )

    def _parts(self, source: Source) -> sql.Composable:
        """Every part that any source has, or a number needs: null where this one does not have it."""
        parts = []
        of_sources = [one for source in self._shape.sources for one in source.parts]
        for field, part in dict.fromkeys([*of_sources, *self._shape.needed]):
            has_it = (field, part) in source.parts
            computed = self._part(field, part, source) if has_it else sql.SQL(f"NULL::{PARTS[part].type}").format()
            parts.append(sql.SQL("{} AS {}").format(computed, alias(part, field)))
        return COMMA.join(parts)

    def _part(self, field: int, part: str, source: Source) -> sql.Composed:
        of_rollup = PARTS[part].of_rollup
        if source.view is not None and of_rollup is not None:
            number = self._shape.fields[field].id
            kept = {name: sql.Identifier("p", f"{name}_{number}") for name in ROLLED_UP_PARTS}
            return sql.SQL(of_rollup).format(**kept)
        return sql.SQL(PARTS[part].of_points).format(
            value=self._point(field, source),
            before=alias("before", field),
            before_time=alias("before_time", field),
            fractions=self._value("fractions"),
        )

    def _point(self, field: int, source: Source) -> sql.Composable:
        """The value of a field in a point."""
        if source.needs_before:
            return sql.Identifier("p", f"value_{field}")
        return double("p", self._shape.fields[field].column)

    def _present(self, source: Source) -> sql.Composable:
        """Rows without a number of any of the fields are none."""
        return sql.SQL(" OR ").join(
            sql.SQL("{} IS NOT NULL").format(self._point(field, source))
            if source.view is None
            else sql.SQL("p.{} > 0").format(alias("count", self._shape.fields[field].id))
            for field in source.fields
        )

    def _rows(self, source: Source) -> sql.Composable:
        if source.view is not None:
            return sql.SQL("{} p").format(identifier("rollups", source.view))
        points = sql.SQL("{} p").format(identifier("points", self._shape.fields[0].measurement))
        if source.is_by_group and self._shape.by:
            return points + GROUPS.format(tags=self._tags)
        return points

    def _with_points_before(self, source: Source, start: sql.Placeholder, end: sql.Placeholder) -> sql.Composed:
        columns = [
            POINT_BEFORE.format(
                column=double("p", self._shape.fields[field].column),
                value=alias("value", field),
                before=alias("before", field),
                before_time=alias("before_time", field),
            )
            for field in source.fields
        ]
        return WITH_POINTS_BEFORE.format(
            columns=COMMA.join(columns),
            source=self._rows(source),
            start=start,
            lookback=self._value("lookback"),
            end=end,
            chosen=self._chosen,
        )


def _time(source: Source) -> sql.SQL:
    return sql.SQL("p.time" if source.view is None else "p.bucket")
