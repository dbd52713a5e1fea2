"""Measurements of a test's own on a community server: made, filled, looked at, and taken away again."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import copy
from typing import Any, LiteralString

import psycopg
from psycopg import sql

from sql import rollups
from tests.conftest import DEADLINE_SECONDS, POLL_SECONDS

DISAGREEMENTS = sql.SQL("""
    WITH state AS (
        SELECT valid FROM catalog.rollup_state({id}) WHERE view_name = {name}
    ), raw AS (
        SELECT public.time_bucket({width}, time) AS bucket, series_id, sum({column}) AS sum, count({column}) AS count,
               min({column}) AS min, max({column}) AS max
        FROM {points} GROUP BY 1, 2
    ), rolled AS (
        SELECT bucket, series_id, {sum} AS sum, {count} AS count, {min} AS min, {max} AS max
        FROM {view}
    )
    SELECT bucket, series_id, to_jsonb(raw), to_jsonb(rolled)
    FROM raw FULL JOIN rolled USING (bucket, series_id), state
    WHERE bucket >= {since} AND valid @> tstzrange(bucket, bucket + {width})
    AND (raw.sum, raw.count, raw.min, raw.max) IS DISTINCT FROM (rolled.sum, rolled.count, rolled.min, rolled.max)
    AND (raw.count, rolled.count) IS DISTINCT FROM (0, NULL::bigint)
""")


def in_webassembly(url: str) -> bool:
    """Whether a server is the one in WebAssembly, which has one connection."""
    return "sslmode=disable" in url


@contextmanager
def connected(url: str) -> Iterator[psycopg.Connection]:
    """A connection; the one backend in WebAssembly goes on from connection to connection."""
    with psycopg.connect(url, autocommit=True, prepare_threshold=None) as connection:
        connection.execute("ROLLBACK; RESET SESSION AUTHORIZATION; RESET ALL")
        yield connection


class Stored:
    """One connection, and the measurements made through it."""

    def __init__(self, connection: psycopg.Connection) -> None:
        self.connection = connection
        self._made: list[str] = []
        self._patterns: list[str] = []

    def close(self) -> None:
        """Take everything away."""
        for pattern in self._patterns:
            self.rows("DELETE FROM catalog.policy WHERE pattern = %s", pattern)
        for name in self._made:
            self.rows("SELECT catalog.drop_measurement(%s)", name)

    def rows(self, statement: LiteralString | sql.Composed, *parameters: Any) -> list[tuple[Any, ...]]:
        """What a statement finds."""
        cursor = self.connection.execute(statement, parameters or None)
        return cursor.fetchall() if cursor.description else []

    def value(self, statement: LiteralString | sql.Composed, *parameters: Any) -> Any:
        """The one value that a statement finds."""
        ((value,),) = self.rows(statement, *parameters)
        return value

    def set_policy(self, pattern: str, **values: str) -> None:
        """Set a row of the policy; it is unset in the end."""
        self._patterns.append(pattern)
        names = sql.SQL(", ").join(map(sql.Identifier, values))
        places = sql.SQL(", ").join(sql.Placeholder() * len(values))
        self.rows(sql.SQL("DELETE FROM catalog.policy WHERE pattern = {}").format(sql.Literal(pattern)))
        self.rows(
            sql.SQL("INSERT INTO catalog.policy (pattern, {}) VALUES ({}, {})").format(
                names, sql.Literal(pattern), places
            ),
            *values.values(),
        )

    def new(self, *fields: str, **policy: str) -> Measurement:
        """A measurement with these fields (`f` unless named) and this policy of its own."""
        name = f"t {uuid.uuid4().hex[:8]}"
        if policy:
            self.set_policy(name, **policy)
        self._made.append(name)
        return Measurement(self, name, fields or ("f",))


class Measurement:
    """A measurement of the test's own."""

    def __init__(self, stored: Stored, name: str, fields: Sequence[str]) -> None:
        self.stored = stored
        self.name = name
        self.points = sql.Identifier("points", name)
        self.grow(*fields)
        self.id: int = stored.value("SELECT id FROM catalog.measurement WHERE name = %s", name)

    def seen_by(self, connection: psycopg.Connection) -> Measurement:
        """The same measurement through another connection."""
        other = copy(self)
        other.stored = Stored(connection)
        return other

    def grow(self, *fields: str) -> None:
        """Make fields, as ingest does."""
        self.stored.rows("SELECT catalog.ensure_fields(%s, %s)", self.name, list(fields))

    def apply(self) -> list[str]:
        """Apply its policy; what that changed."""
        changes: list[str] = self.stored.value("SELECT catalog.apply_policy(%s)", self.name)
        return changes

    def fill(self, start: str, end: str, step: str = "1 minute", series: int = 3, field: str = "f") -> None:
        """Points of some series between two moments that are named as intervals before now; late ones are merged."""
        self.stored.rows(
            sql.SQL(
                "INSERT INTO {} AS p (time, series_id, {field}) "
                "SELECT t, s, (extract(minute FROM t)::int * 7 + s * 13) % 100 "
                "FROM generate_series(now() - {}::interval, now() - {}::interval - interval '1 microsecond', {}) t, "
                "generate_series(1, {}) s ON CONFLICT (series_id, time) DO UPDATE SET {field} = p.{field} + 1"
            ).format(
                self.points,
                sql.Literal(start),
                sql.Literal(end),
                sql.SQL("interval {}").format(sql.Literal(step)),
                sql.Literal(series),
                field=sql.Identifier(field),
            )
        )

    def rollups(self) -> dict[str, str]:
        """The views of its rollups, by width and part: `10m_1`."""
        found = self.stored.rows(
            "SELECT width || '_' || part, view_name FROM catalog.rollup WHERE measurement_id = %s", self.id
        )
        return dict(found)

    def jobs(self) -> dict[tuple[str, str], int]:
        """The ids of its jobs, by procedure and relation."""
        relations = [self.name, *self.rollups().values()]
        found = self.stored.rows(
            "SELECT proc_name, hypertable_name, job_id FROM timescaledb_information.jobs "
            "WHERE hypertable_name = ANY (%s)",
            relations,
        )
        return {(proc, relation): job for proc, relation, job in found}

    def run(self, procedure: str, rollup: str | None = None) -> None:
        """Run one of its jobs now: `compression`, `retention`, or `refresh_continuous_aggregate` of a rollup."""
        relation = self.rollups()[rollup] if rollup else self.name
        self.stored.rows(sql.SQL("CALL public.run_job({})").format(self.jobs()[f"policy_{procedure}", relation]))

    def refresh(self) -> None:
        """Run the jobs that refresh its rollups, the finer ones first, and settle them."""
        for rollup in sorted(self.rollups(), reverse=False):
            self.run("refresh_continuous_aggregate", rollup)
        self.settle()

    def settle(self) -> None:
        """Settle its rollups, as maintenance does."""
        mine = self.rollups().values()
        for repeat in rollups.unsettled(self.stored.connection):
            if repeat.rollup.view_name in mine:
                rollups.settle(self.stored.connection, repeat)

    def valid(self, rollup: str) -> Any:
        """What `catalog.rollup_state` says of a rollup."""
        return self.stored.value(
            "SELECT valid FROM catalog.rollup_state(%s) WHERE view_name = %s", self.id, self.rollups()[rollup]
        )

    def is_valid(self, rollup: str, start: str, end: str) -> bool:
        """Whether a rollup holds from one moment to another, named as intervals before now."""
        return bool(
            self.stored.value(
                "SELECT valid @> tstzrange(now() - %s::interval, now() - %s::interval) "
                "FROM catalog.rollup_state(%s) WHERE view_name = %s",
                start,
                end,
                self.id,
                self.rollups()[rollup],
            )
        )

    def until_valid(self, rollup: str, start: str, end: str) -> None:
        """Wait until that is so: a job of the server's own may just have in hand what was changed."""
        deadline = time.monotonic() + DEADLINE_SECONDS
        while not self.is_valid(rollup, start, end):
            assert time.monotonic() < deadline, (rollup, start, end, self.valid(rollup))
            time.sleep(POLL_SECONDS)

    def disagreements(self, field: str = "f") -> list[tuple[Any, ...]]:
        """The windows since raw points are whole where a rollup that is said to hold differs from its points."""
        found: list[tuple[Any, ...]] = []
        ((number, column),) = self.stored.rows(
            "SELECT id, column_name FROM catalog.field WHERE measurement_id = %s AND name = %s", self.id, field
        )
        having = self.stored.rows(
            "SELECT r.view_name FROM catalog.rollup r JOIN catalog.rollup_field f ON f.rollup_id = r.id "
            "WHERE f.field_id = %s",
            number,
        )
        for rollup, view in self.rollups().items():
            if (view,) not in having:
                continue
            width = sql.SQL("interval {}").format(sql.Literal("10 minutes" if rollup.startswith("10m") else "1 hour"))
            names = {one: sql.Identifier(f"{one}_{number}") for one in ("sum", "count", "min", "max")}
            statement = DISAGREEMENTS.format(
                id=sql.Literal(self.id),
                name=sql.Literal(view),
                width=width,
                column=sql.Identifier(column),
                points=self.points,
                view=sql.Identifier("rollups", view),
                since=sql.SQL("catalog.raw_from({})").format(sql.Literal(self.id)),
                **names,
            )
            found += [(rollup, *row) for row in self.stored.rows(statement)]
        return found
