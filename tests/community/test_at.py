"""metrics.<measurement>_at on a server with rollups: which rows it takes, and that what they say is right."""

from __future__ import annotations

import re

from psycopg import sql

from tests.community.stored import Measurement, Stored

BY_HOUR = sql.SQL("""
    SELECT public.time_bucket('1 hour', time) AS t, max({field}), sum({field})
    FROM {source} WHERE time >= date_trunc('hour', now()) - interval '28 hours'
    GROUP BY 1 HAVING count({field}) > 0 ORDER BY 1
""")
"""Hours without a row, or with rows that have nothing in this field, are left out on both sides."""


def measurement(stored: Stored, step: str = "5 minutes", *fields: str) -> Measurement:
    """A measurement with thirty hours of points of three series, which the catalog has by the ids that `fill` has."""
    m = stored.new(*fields)
    stored.rows(
        "INSERT INTO catalog.series (id, measurement_id, tags, host) OVERRIDING SYSTEM VALUE "
        "SELECT n, %s, jsonb_build_object('host', 'h' || n), 'h' || n FROM generate_series(1, 3) n",
        m.id,
    )
    m.fill("30 hours", "0 hours", step)
    return m


def at(m: Measurement, step: str, statistic: str = "avg") -> sql.Composed:
    """The function, called with constants as a panel does."""
    return sql.SQL("{}({}, {})").format(sql.Identifier("metrics", f"{m.name}_at"), step, statistic)


def by_hour(m: Measurement, source: sql.Composable, field: str = "f") -> list[tuple[object, ...]]:
    """Maximum and sum of a field for each hour."""
    return m.stored.rows(BY_HOUR.format(source=source, field=sql.Identifier(field)))


def read_by(m: Measurement, step: str) -> set[str]:
    """The rollups that a plan reads, by their names: materialized hypertables' or their chunks'."""
    materialized = {
        number: rollup
        for rollup, view in m.rollups().items()
        for number in re.findall(r"_(\d+)$", m.stored.value("SELECT catalog.materialization(%s)", view).strip('"'))
    }
    plan = m.stored.rows(sql.SQL("EXPLAIN SELECT max(f) FROM {}").format(at(m, step)))
    text = "\n".join(line for (line,) in plan)
    return {
        rollup for number, rollup in materialized.items() if re.search(rf"_hyper_{number}_|hypertable_{number}\b", text)
    }


def test_the_step_chooses_the_rollup(stored: Stored) -> None:
    """The coarsest whose windows are no longer than the step; points below ten minutes. The answers are the points'."""
    m = measurement(stored, "1 minute", "f", "g")
    m.refresh()
    for step, rollups in (("1m", set()), ("10m", {"10m_1"}), ("30m", {"10m_1"}), ("1h", {"1h_1"}), ("1d", {"1h_1"})):
        assert read_by(m, step) == rollups, step
        points = by_hour(m, sql.Identifier("metrics", m.name))
        highest = [(t, highest) for t, highest, _ in by_hour(m, at(m, step, "max"))]
        assert highest == [(t, highest) for t, highest, _ in points], step
        sums = [(t, total) for t, _, total in by_hour(m, at(m, step, "sum"))]
        assert sums == [(t, total) for t, _, total in points], step


def test_fewer_rows_are_read(stored: Stored) -> None:
    """Windows in place of points, but for the tail that is not rolled up yet."""
    m = measurement(stored, "1 minute")
    m.refresh()
    rows = {
        step: m.stored.value(sql.SQL("SELECT count(*) FROM {}").format(at(m, step))) for step in ("1m", "10m", "1h")
    }
    assert rows["1m"] >= 30 * 60 * 3 - 3
    assert rows["10m"] < rows["1m"] / 5
    assert rows["1h"] < rows["10m"]


def test_points_stand_in_until_there_is_a_rollup(stored: Stored) -> None:
    """Before the first refresh, and while old points are rolled up after new ones, nothing is missing."""
    m = measurement(stored)
    points = by_hour(m, sql.Identifier("metrics", m.name))
    assert len(points) >= 28
    assert by_hour(m, at(m, "1h", "sum")) == points
    m.stored.rows(
        sql.SQL("CALL public.refresh_continuous_aggregate({}, now() - interval '5 hours', now())").format(
            sql.Literal(f"rollups.{m.rollups()['10m_1']}")
        )
    )
    assert [row[2] for row in by_hour(m, at(m, "10m", "sum"))] == [row[2] for row in points]


def test_a_field_that_came_late(stored: Stored) -> None:
    """It is read from the points, then from a rollup of its own, beside the others."""
    m = measurement(stored)
    m.refresh()
    m.grow("late")
    m.fill("20 hours", "10 hours", "5 minutes", field="late")
    assert by_hour(m, at(m, "1h", "sum"), "late")
    for _ in range(2):
        for field in ("f", "late"):
            points = by_hour(m, sql.Identifier("metrics", m.name), field)
            assert [row[2] for row in by_hour(m, at(m, "1h", "sum"), field)] == [row[2] for row in points], field
        m.stored.rows(
            "UPDATE catalog.field SET created_at = created_at - interval '1 hour' WHERE measurement_id = %s", m.id
        )
        m.apply()
        m.refresh()
    assert {rollup for rollup in m.rollups() if rollup.endswith("_2")} == {"10m_2", "1h_2"}


def test_it_follows_the_policy(stored: Stored) -> None:
    """Without rollups all is read from the points; dropped ones by hand are forgotten by the next round."""
    m = measurement(stored)
    m.refresh()
    points = by_hour(m, sql.Identifier("metrics", m.name))
    stored.set_policy(m.name, rollup_1h="off")
    m.apply()
    assert read_by(m, "1h") == {"10m_1"}
    m.stored.rows(sql.SQL("DROP MATERIALIZED VIEW {}").format(sql.Identifier("rollups", m.rollups()["10m_1"])))
    stored.set_policy(m.name, rollup_10m="off")
    m.apply()
    assert read_by(m, "1h") == set()
    assert by_hour(m, at(m, "1h", "sum")) == points


def test_what_is_rolled_up_is_asked_for_once(stored: Stored) -> None:
    """By each branch, and not by each chunk: that would take longer than to read them."""
    m = measurement(stored)
    plan = [line for (line,) in stored.rows(sql.SQL("EXPLAIN SELECT * FROM {}").format(at(m, "1h")))]
    assert any("InitPlan" in line for line in plan)
    assert not any("rolled_up_to" in line for line in plan if "Cond:" in line or "Filter:" in line)


def test_points_are_told_apart_by_fields_only_where_a_rollup_lacks_some(stored: Stored) -> None:
    """Each chunk's plan has that condition, and with many fields it takes longer to plan than to read."""
    m = measurement(stored, "5 minutes", "f", "g")
    body = sql.SQL("SELECT prosrc FROM pg_proc WHERE oid = {}::regprocedure").format(
        sql.Literal(sql.Identifier("metrics", f"{m.name}_at").as_string() + "(interval, text)")
    )
    assert "IS NOT NULL" not in str(stored.rows(body))
    m.grow("late")
    assert "p.f IS NOT NULL OR p.g IS NOT NULL" in str(stored.rows(body))
