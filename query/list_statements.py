"""The SQL of lists: what there is, and what had points when. Pure: it composes, and runs nothing.

Whatever can be is read from the catalog alone. Where points matter, each series costs one look into the index of each
chunk of the range, and nothing is scanned: the sub-selects have a LIMIT, so that they cannot become joins.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, LiteralString

from psycopg import sql

from query.altered import Altered
from query.conditions import HOST, Statement, double, identifier, matching, number_in, tag_value, values_of
from query.facts import Measurement
from query.parameters import Matcher

LEAST_LIKENESS = 0.2
"""Of a name to what is searched, by word_similarity; below it two names have nothing in common."""
NEAR_THE_BEST = 0.8
"""The share of the best likeness that the others must have."""

NOTHING = sql.SQL("")

ColumnsOf = Sequence[tuple[Measurement, Sequence[str]]]
"""Measurements, and the columns of fields that are read of each."""


@dataclass(frozen=True, slots=True)
class Scope:
    """The series that a list is about: they match, and had points in the range if there is one."""

    match: Sequence[Matcher]
    measurement: Measurement | None
    """None stands for all."""
    among: Sequence[Measurement]
    """Those whose points are looked into, where points matter."""
    start: datetime | None = None
    end: datetime | None = None
    altered: frozenset[tuple[int, str]] = frozenset()
    """Columns that hold anything, by the ids of their measurements; the others hold numbers."""

    @property
    def has_range(self) -> bool:
        """Whether points matter."""
        return self.start is not None or self.end is not None

    def parameters(self) -> dict[str, Any]:
        """What the conditions refer to."""
        return {**values_of(self.match), "start": self.start, "end": self.end}

    def number(self, measurement: Measurement, column: str) -> sql.Composed:
        """A field of a row p."""
        return (number_in if (measurement.id, column) in self.altered else double)("p", column)

    def without(self, altered: Sequence[Altered]) -> Scope:
        """The same without the measurements of which nothing can be read, and with care for the other columns."""
        unread = {one.measurement_id for one in altered if one.is_key}
        return replace(
            self,
            among=[one for one in self.among if one.id not in unread],
            altered=frozenset((one.measurement_id, one.column) for one in altered),
        )


@dataclass(frozen=True, slots=True)
class Part:
    """Which part of a list to give: sorted, after a key, and at most so many entries and those that tie."""

    after: str | int | None
    limit: int
    search: str | None = None
    similarity: sql.Identifier | None = None
    """pg_trgm's word_similarity, if it is there."""


def measurements(scope: Scope, part: Part) -> Statement:
    """Rows of (name, number of fields)."""
    if scope.has_range:
        which = sql.SQL("m.id IN ({})").format(
            _union(
                "NULL::int",
                (
                    sql.SQL("""
                    SELECT {id} WHERE (
                        SELECT true FROM catalog.series s
                        WHERE s.measurement_id = {id} AND {matching} AND {active} LIMIT 1)
                """).format(id=sql.Literal(one.id), matching=matching(scope.match), active=_active(scope, one))
                    for one in scope.among
                ),
            )
        )
    elif scope.match:
        which = sql.SQL("EXISTS (SELECT FROM catalog.series s WHERE s.measurement_id = m.id AND {})").format(
            matching(scope.match)
        )
    else:
        which = sql.SQL("true").format()
    entries = sql.SQL("""
        SELECT m.name, (SELECT count(*) FROM catalog.field f WHERE f.measurement_id = m.id) AS fields, m.name AS label
        FROM catalog.measurement m WHERE {which} AND {one}
    """).format(which=which, one=_one(scope.measurement, "m.id"))
    return _part(entries, ("name", "fields"), scope.parameters(), part)


def fields(measurement: Measurement | None, part: Part) -> Statement:
    """Rows of (metric, measurement, field, column). Two fields may be one metric: names have dots."""
    entries = sql.SQL("""
        SELECT m.name || '.' || f.name AS metric, m.name AS measurement, f.name AS field, f.column_name AS "column",
            m.name || '.' || f.name AS label
        FROM catalog.measurement m JOIN catalog.field f ON f.measurement_id = m.id WHERE {one}
    """).format(one=_one(measurement, "m.id"))
    return _part(entries, ("metric", "measurement", "field", "column"), {}, part)


def tags(scope: Scope, part: Part) -> Statement:
    """Rows of (tag, number of series that have it). `host` is a tag of whatever has a host."""
    entries = sql.SQL("""
        SELECT tag, count(*) AS series, tag AS label
        FROM ({series}) s CROSS JOIN LATERAL (
            SELECT jsonb_object_keys(s.tags) UNION SELECT 'host' WHERE s.host IS NOT NULL
        ) AS has (tag)
        GROUP BY tag
    """).format(series=_series(scope))
    return _part(entries, ("tag", "series"), scope.parameters(), part)


def tag_values(tag: str, scope: Scope, part: Part) -> Statement:
    """Rows of (value, number of series that have it)."""
    entries = sql.SQL("""
        SELECT value, count(*) AS series, value AS label
        FROM (SELECT {value} AS value FROM ({series}) s) v WHERE value <> '' GROUP BY value
    """).format(value=tag_value("key", is_host=tag == HOST), series=_series(scope))
    return _part(entries, ("value", "series"), {**scope.parameters(), "key": tag}, part)


def all_series(scope: Scope, part: Part) -> Statement:
    """Rows of (id, measurement, host, tags); a search is in the measurement's name and the tags' values."""
    entries = sql.SQL("SELECT id, measurement, host, tags{label} FROM ({series}) s").format(
        label=_label(sql.Identifier("measurement"), part), series=_series(scope, _page(part))
    )
    return _part(entries, ("id", "measurement", "host", "tags"), scope.parameters(), part)


def hosts(scope: Scope, part: Part, silent_for: timedelta | None) -> Statement:
    """Rows of (host, its newest point's time since the scope's start, or null).

    With `silent_for`, only the hosts without a point for so long.
    """
    # A page of names needs to look for the points of no others; what is silent, or most alike, is known only of all.
    is_page = part.search is None and silent_for is None
    named = sql.SQL("""
        SELECT s.host FROM catalog.series s
        WHERE s.host IS NOT NULL AND {matching} AND {one} AND {after} GROUP BY s.host {page}
    """).format(
        matching=matching(scope.match),
        one=_one(scope.measurement, "s.measurement_id"),
        after=sql.SQL('s.host COLLATE "C" > %(after)s' if is_page and part.after is not None else "true"),
        page=sql.SQL('ORDER BY s.host COLLATE "C" LIMIT %(limit)s' if is_page else ""),
    )
    seen = _union(
        "NULL::text, NULL::timestamptz",
        (
            sql.SQL("""
            SELECT s.host, {newest} AS seen FROM catalog.series s
            WHERE s.measurement_id = {id} AND {matching} AND s.host = ANY (ARRAY(SELECT host FROM named))
        """).format(newest=_newest(one), id=sql.Literal(one.id), matching=matching(scope.match))
            for one in scope.among
        ),
    )
    entries = sql.SQL("""
        SELECT host, max(seen) AS last_seen, host AS label
        FROM (WITH named AS MATERIALIZED ({named}) {seen}) s (host, seen)
        GROUP BY host {silent}
    """).format(
        named=named,
        seen=seen,
        silent=sql.SQL(
            "HAVING max(seen) IS NULL OR max(seen) < now() - %(silent_for)s" if silent_for is not None else ""
        ),
    )
    return _part(entries, ("host", "last_seen"), {**scope.parameters(), "silent_for": silent_for}, part)


def last(scope: Scope, among: ColumnsOf, only: bool, part: Part) -> Statement:
    """Rows of (id, place of the measurement in `among`, host, tags, time, values in the order of its columns).

    Those of `among` that are not in the scope have none.

    The newest point of each series since the scope's start: with `only`, the newest that has one of the columns. A
    search is in the same as that of series.
    """
    branches, in_scope = [], {one.id for one in scope.among}
    for place, (measurement, columns) in enumerate(among):
        if measurement.id not in in_scope:
            continue
        names = [scope.number(measurement, column) for column in columns]
        present = sql.SQL(" OR ").join(sql.SQL("{} IS NOT NULL").format(name) for name in names)
        branches.append(
            sql.SQL("""
                SELECT s.id, {place} AS place, s.host, s.tags, p.time, p.values{label}
                FROM catalog.series s CROSS JOIN LATERAL (
                    SELECT p.time, ARRAY[{names}] AS values FROM {points} p
                    WHERE p.series_id = s.id AND p.time >= %(start)s AND {present} ORDER BY p.time DESC LIMIT 1
                ) p
                WHERE s.measurement_id = {id} AND {matching} {page}
            """).format(
                place=sql.Literal(place),
                label=_label(_literal(measurement.name), part),
                names=sql.SQL(", ").join(names),
                points=identifier("points", measurement.name),
                present=sql.SQL("({})").format(present) if only else sql.SQL("true"),
                id=sql.Literal(measurement.id),
                matching=matching(scope.match),
                page=_page(part),
            )
        )
    none: LiteralString = (
        "NULL::int AS id, NULL::int AS place, NULL::text AS host, NULL::jsonb AS tags, "
        "NULL::timestamptz AS time, NULL::float8[] AS values, NULL::text AS label"
    )
    return _part(_union(none, branches), ("id", "place", "host", "tags", "time", "values"), scope.parameters(), part)


def _part(entries: sql.Composed, columns: Sequence[LiteralString], parameters: dict[str, Any], part: Part) -> Statement:
    """The rows of `columns`, sorted by the first of them, that are in this part.

    With a search, `entries` has a column `label` to look into, and rows have one more column: whether the label has
    the text. If no label has it, the rows are those whose labels are most like it.
    """
    listed = sql.SQL(", ").join(map(sql.Identifier, columns))
    key = sql.Identifier(columns[0]) + sql.SQL(' COLLATE "C"' if columns[0] != "id" else "")
    if part.search is None:
        found = sql.SQL("SELECT {listed} FROM ({entries}) AS entries").format(listed=listed, entries=entries)
    else:
        found = _found(entries, listed, part)
        listed = listed + sql.SQL(", contains")
    text = sql.SQL(
        "SELECT {listed} FROM ({found}) AS found {after} ORDER BY {key} FETCH FIRST (%(limit)s) ROWS WITH TIES"
    )
    return Statement(
        text.format(
            listed=listed,
            found=found,
            key=key,
            after=sql.SQL("WHERE {} > %(after)s").format(key) if part.after is not None else sql.SQL(""),
        ),
        {**parameters, "after": part.after, "limit": part.limit, "search": part.search},
    )


def _found(entries: sql.Composed, listed: sql.Composed, part: Part) -> sql.Composed:
    contains = sql.SQL("""
        WITH labelled AS MATERIALIZED (
            SELECT e.*, strpos(lower(label), lower(%(search)s)) > 0 AS contains FROM ({entries}) AS e
        )
        SELECT {listed}, true AS contains FROM labelled WHERE contains
    """).format(entries=entries, listed=listed)
    if part.similarity is None:
        return contains
    alike = sql.SQL("""
        SELECT {listed}, false FROM (
            SELECT *, max(likeness) OVER () AS best FROM (
                SELECT *, {similarity}(%(search)s, label) AS likeness FROM labelled
                WHERE NOT EXISTS (SELECT FROM labelled WHERE contains)
            ) AS likenesses
        ) AS compared WHERE likeness >= greatest({least}, {near} * best)
    """).format(
        listed=listed,
        similarity=part.similarity,
        least=sql.Literal(LEAST_LIKENESS),
        near=sql.Literal(NEAR_THE_BEST),
    )
    return sql.SQL("{} UNION ALL {}").format(contains, alike)


def _series(scope: Scope, page: sql.Composable = NOTHING) -> sql.Composed:
    """The series of the scope: their id, measurement, host and tags."""
    if scope.has_range:
        return _union(
            "NULL::int AS id, NULL::text AS measurement, NULL::text AS host, NULL::jsonb AS tags",
            (
                sql.SQL("""
                SELECT s.id, {name}::text AS measurement, s.host, s.tags FROM catalog.series s
                WHERE s.measurement_id = {id} AND {matching} AND {active} {page}
            """).format(
                    page=page,
                    name=_literal(one.name),
                    id=sql.Literal(one.id),
                    matching=matching(scope.match),
                    active=_active(scope, one),
                )
                for one in scope.among
            ),
        )
    return sql.SQL("""
        SELECT s.id, m.name AS measurement, s.host, s.tags
        FROM catalog.series s JOIN catalog.measurement m ON m.id = s.measurement_id WHERE {matching} AND {one} {page}
    """).format(matching=matching(scope.match), one=_one(scope.measurement, "s.measurement_id"), page=page)


def _label(measurement: sql.Composable, part: Part) -> sql.Composable:
    """The column in which a search for the series `s` looks, if there is one."""
    if part.search is None:
        return NOTHING
    return sql.SQL(
        ", concat_ws(' ', {}, (SELECT string_agg(value, ' ') FROM jsonb_each_text(s.tags))) AS label"
    ).format(measurement)


def _page(part: Part) -> sql.Composable:
    """Ends a choice of the series `s` where the page does; a search has to see all of them."""
    if part.search is not None:
        return NOTHING
    after = sql.SQL("AND s.id > %(after)s " if part.after is not None else "")
    return after + sql.SQL("ORDER BY s.id LIMIT %(limit)s")


def _active(scope: Scope, measurement: Measurement) -> sql.Composed:
    """Whether the series `s` has a point in the range; the order has the newest chunk looked into first and alone."""
    return sql.SQL(
        "(SELECT true FROM {points} p WHERE p.series_id = s.id{start}{end} ORDER BY p.time DESC LIMIT 1)"
    ).format(
        points=identifier("points", measurement.name),
        start=sql.SQL(" AND p.time >= %(start)s" if scope.start is not None else ""),
        end=sql.SQL(" AND p.time < %(end)s" if scope.end is not None else ""),
    )


def _newest(measurement: Measurement) -> sql.Composed:
    """The time of the newest point of the series `s`, or null; newer chunks are looked into first."""
    return sql.SQL(
        "(SELECT p.time FROM {points} p WHERE p.series_id = s.id AND p.time >= %(start)s ORDER BY p.time DESC LIMIT 1)"
    ).format(points=identifier("points", measurement.name))


def _one(measurement: Measurement | None, column: LiteralString) -> sql.Composable:
    if measurement is None:
        return sql.SQL("true")
    return sql.SQL(column) + sql.SQL(" = ") + sql.Literal(measurement.id)


def _literal(text: str) -> sql.Composable:
    """A quoted text in a statement with parameters, where the driver takes a % for its own sign."""
    return sql.Literal(text.replace("%", "%%"))


def _union(none: LiteralString, branches: Iterable[sql.Composed]) -> sql.Composed:
    """The rows of all branches; where there is none, no rows, of the form of `none`."""
    parenthesized = [sql.SQL("({})").format(branch) for branch in branches]
    return sql.SQL(" UNION ALL ").join(parenthesized or [sql.SQL("SELECT {} WHERE false").format(sql.SQL(none))])
