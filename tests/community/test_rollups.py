"""Rollups by policy: what they hold, when they are refreshed, how long they are kept, and which fields they have."""

from __future__ import annotations

import pytest
from psycopg import sql

from sql import policies
from tests.community.stored import Measurement, Stored

IS_COMMUNITY = """
    CREATE OR REPLACE FUNCTION catalog.is_community() RETURNS boolean LANGUAGE sql STABLE SET search_path = pg_catalog
    AS $$ SELECT catalog.edition() ->> 'edition' = 'community' $$
"""
IS_NOT = "CREATE OR REPLACE FUNCTION catalog.is_community() RETURNS boolean LANGUAGE sql STABLE AS $$ SELECT false $$"


def count(m: Measurement, rollup: str, older_than: str = "0 days") -> int:
    """How many points a rollup has rolled up, of those older than that."""
    return int(
        m.stored.value(
            sql.SQL("SELECT coalesce(sum({}), 0)::bigint FROM {} WHERE bucket < now() - {}::interval").format(
                sql.Identifier(f"count_{field_ids(m)['f']}"),
                sql.Identifier("rollups", m.rollups()[rollup]),
                sql.Literal(older_than),
            )
        )
    )


def field_ids(m: Measurement) -> dict[str, int]:
    """The fields' ids by name."""
    return dict(m.stored.rows("SELECT name, id FROM catalog.field WHERE measurement_id = %s", m.id))


def fields_of(m: Measurement) -> dict[str, list[str]]:
    """The names of the fields that each rollup has."""
    found = m.stored.rows(
        "SELECT r.width || '_' || r.part, array_agg(k.name ORDER BY k.id) FROM catalog.rollup r "
        "JOIN catalog.rollup_field f ON f.rollup_id = r.id JOIN catalog.field k ON k.id = f.field_id "
        "WHERE r.measurement_id = %s GROUP BY 1",
        m.id,
    )
    return dict(found)


def age(m: Measurement, hours: int, *fields: str) -> None:
    """Make fields as old as that."""
    m.stored.rows(
        "UPDATE catalog.field SET created_at = created_at - %s * interval '1 hour' "
        "WHERE measurement_id = %s AND name = ANY (%s)",
        hours,
        m.id,
        list(fields),
    )


def test_they_hold_what_their_points_do(stored: Stored) -> None:
    """Sum, count, minimum and maximum by series, in windows of 10 minutes and of an hour; of compressed chunks, too."""
    m = stored.new("f", "g", chunk_interval="3h", compress_after="1h")
    m.fill("30 hours", "0 hours")
    m.fill("20 hours", "10 hours", "2 minutes", field="g")
    m.run("compression")
    assert not m.is_valid("10m_1", "29 hours", "1 hour")
    m.refresh()
    m.until_valid("10m_1", "29 hours", "15 minutes")
    m.until_valid("1h_1", "29 hours", "2 hours 5 minutes")
    assert m.disagreements("f") == m.disagreements("g") == []
    assert count(m, "10m_1") > 28 * 60 * 3


def test_late_points_anywhere_are_rolled_up(stored: Stored) -> None:
    """Those of weeks ago as those of minutes ago; a rollup does not hold from the commit on that makes it differ."""
    m = stored.new(retain_raw="30d", chunk_interval="1d")
    m.fill("29 days", "0 days", "1 hour")
    m.refresh()
    for start, end in (("28 days", "27 days"), ("40 hours", "39 hours"), ("30 minutes", "20 minutes")):
        m.until_valid("10m_1", start, end)
        m.fill(start, end, "5 minutes")
        assert not m.is_valid("10m_1", start, end)
        assert not m.is_valid("1h_1", start, end)
        assert m.disagreements() == []
    m.run("refresh_continuous_aggregate", "10m_1")
    m.until_valid("10m_1", "28 days", "15 minutes")
    assert not m.is_valid("1h_1", "28 days", "27 days")
    m.run("refresh_continuous_aggregate", "1h_1")
    m.until_valid("1h_1", "28 days", "2 hours 5 minutes")
    assert m.disagreements() == []


def test_they_outlive_their_points(stored: Stored) -> None:
    """What has expired stays rolled up, through refreshes that come after, and counts as valid."""
    m = stored.new(retain_raw="2d", chunk_interval="6h")
    m.fill("100 hours", "0 hours", "10 minutes")
    stored.rows(
        sql.SQL("CALL public.refresh_continuous_aggregate({}, NULL, now() - interval '1 hour')").format(
            sql.Literal(f"rollups.{m.rollups()['10m_1']}")
        )
    )
    stored.rows(
        sql.SQL("CALL public.refresh_continuous_aggregate({}, NULL, now() - interval '1 hour')").format(
            sql.Literal(f"rollups.{m.rollups()['1h_1']}")
        )
    )
    before = {rollup: count(m, rollup, "80 hours") for rollup in ("10m_1", "1h_1")}
    assert min(before.values()) > 18 * 6 * 3
    m.run("retention")
    assert stored.value(
        sql.SQL("SELECT min(time) BETWEEN now() - interval '79 hours' AND now() - interval '71 hours' FROM {}").format(
            m.points
        )
    )
    m.fill("60 hours", "1 hours", "7 minutes")
    m.refresh()
    m.refresh()
    assert {rollup: count(m, rollup, "80 hours") for rollup in before} == before
    m.until_valid("10m_1", "99 hours", "15 minutes")
    m.until_valid("1h_1", "98 hours", "2 hours 5 minutes")
    assert m.disagreements() == []


def test_they_expire(stored: Stored) -> None:
    """Each after its own time; what may be gone already is not said to hold."""
    m = stored.new(retain_raw="forever", rollup_10m="forever", rollup_1h="forever", chunk_interval="1d")
    m.fill("70 days", "0 days", "6 hours")
    m.refresh()
    m.until_valid("1h_1", "69 days", "1 days")
    stored.set_policy(m.name, retain_raw="1d", rollup_10m="10d", rollup_1h="60d", chunk_interval="1d")
    m.apply()
    for relation in (None, "10m_1", "1h_1"):
        m.run("retention", relation)
    assert count(m, "10m_1", "19 days") == 0
    assert count(m, "10m_1", "8 days") > 0
    assert count(m, "1h_1", "50 days") > 0
    m.until_valid("10m_1", "9 days", "1 days")
    assert not m.is_valid("10m_1", "11 days", "1 days")
    m.until_valid("1h_1", "59 days", "1 days")
    assert not m.is_valid("1h_1", "61 days", "1 days")
    stored.set_policy(m.name, retain_raw="1d", rollup_10m="30d", rollup_1h="60d", chunk_interval="1d")
    m.apply()
    assert not m.is_valid("10m_1", "12 days", "1 days")


def test_what_is_kept_longer_is_not_taken_from_the_rollups(stored: Stored) -> None:
    """Points that were dropped when they were kept for less are still rolled up; a refresh does not look there."""
    m = stored.new(retain_raw="2d", chunk_interval="6h")
    m.fill("6 days", "0 days", "10 minutes")
    for rollup in ("10m_1", "1h_1"):
        stored.rows(
            sql.SQL("CALL public.refresh_continuous_aggregate({}, NULL, now() - interval '1 hour')").format(
                sql.Literal(f"rollups.{m.rollups()[rollup]}")
            )
        )
    m.run("retention")
    before = count(m, "10m_1", "4 days"), count(m, "1h_1", "4 days")
    stored.set_policy(m.name, retain_raw="60d", chunk_interval="6h")
    assert m.apply() == ["raw points kept 60d"]
    m.refresh()
    assert (count(m, "10m_1", "4 days"), count(m, "1h_1", "4 days")) == before
    m.until_valid("10m_1", "5 days", "15 minutes")
    assert m.disagreements() == []


def test_fields_that_come_later_are_gathered(stored: Stored) -> None:
    """Into one further part, once the first of them has waited; however many requests they came with."""
    m = stored.new("f")
    for number in range(5):
        m.grow("f", f"late_{number}")
    assert m.apply() == []
    age(m, 1, "late_0")
    assert len(m.apply()) == 6  # made, kept for a time, and compressed
    assert fields_of(m) == {
        **{rollup: ["f"] for rollup in ("10m_1", "1h_1")},
        **{rollup: [f"late_{number}" for number in range(5)] for rollup in ("10m_2", "1h_2")},
    }
    m.fill("5 hours", "0 hours", field="late_3")
    m.refresh()
    m.until_valid("10m_2", "4 hours", "15 minutes")
    assert m.disagreements("late_3") == []
    m.grow("latest")
    age(m, 0, "latest")
    assert m.apply() == []


def test_the_wait_doubles_with_each_part(stored: Stored) -> None:
    """So that fields that come one by one do not make a rollup each."""
    m = stored.new("f")
    for part, minutes in ((2, 10), (3, 20), (4, 40)):
        m.grow(f"field_{part}")
        short, rest = minutes - 1, 2
        for waited, made in ((short, False), (rest, True)):
            stored.rows(
                "UPDATE catalog.field SET created_at = created_at - %s * interval '1 minute' WHERE name = %s",
                waited,
                f"field_{part}",
            )
            m.apply()
            assert (f"10m_{part}" in m.rollups()) is made


def test_more_fields_than_a_row_has_room_for(stored: Stored) -> None:
    """Are in several parts from the start, and every one of them can be filled."""
    names = [f"field_{number}" for number in range(450)]
    m = stored.new(*names)
    assert {len(fields) for fields in fields_of(m).values()} == {200, 50}
    assert len(m.rollups()) == 6
    columns = sql.SQL(", ").join(map(sql.Identifier, names))
    values = sql.SQL(", ").join(sql.Literal(number + 0.5) for number in range(450))
    stored.rows(
        sql.SQL("INSERT INTO {} (time, series_id, {}) VALUES (now() - interval '3 hours', 1, {})").format(
            m.points, columns, values
        )
    )
    m.refresh()
    assert m.disagreements("field_0") == m.disagreements("field_449") == []
    m.until_valid("1h_3", "4 hours", "2 hours 5 minutes")


def test_they_can_be_turned_off_and_on(stored: Stored) -> None:
    """Off: they are dropped at once. On again: they are made of the points that there are."""
    m = stored.new(chunk_interval="6h")
    m.fill("20 hours", "0 hours")
    m.refresh()
    stored.set_policy(m.name, rollup_1h="off", chunk_interval="6h")
    assert m.apply() == [f"rollup m{m.id}_1h_1 dropped"]
    assert set(m.rollups()) == {"10m_1"}
    stored.set_policy(m.name, rollup_10m="off", chunk_interval="6h")
    m.apply()
    assert m.rollups() == {}
    assert stored.rows("SELECT * FROM catalog.rollup_state(%s)", m.id) == []
    stored.set_policy(m.name, rollup_10m="1y", chunk_interval="6h")
    m.apply()
    assert not m.is_valid("1h_1", "19 hours", "2 hours 5 minutes")
    m.refresh()
    m.until_valid("1h_1", "19 hours", "2 hours 5 minutes")
    assert m.disagreements() == []


def test_a_shorter_time_waits_for_the_rollups(stored: Stored) -> None:
    """What is to be dropped by it must be rolled up first, and settled; until then it is told that it waits."""
    m = stored.new(retain_raw="60d", chunk_interval="1d")
    m.fill("9 days", "0 days", "1 hour")
    assert policies.waiting(stored.connection, m.name) == []
    stored.set_policy(m.name, retain_raw="2d", chunk_interval="1d")
    for _ in range(2):
        assert m.apply() == []
        (told,) = policies.waiting(stored.connection, m.name)
        assert told.startswith("raw points are kept 60 days until all that is older than 2d is rolled up and settled")
        m.run("refresh_continuous_aggregate", "10m_1")
        m.run("refresh_continuous_aggregate", "1h_1")
    m.refresh()
    assert m.apply() == ["raw points kept 2d"]
    assert policies.waiting(stored.connection, m.name) == []


def test_points_do_not_expire_before_they_are_rolled_up(stored: Stored) -> None:
    """Where a policy comes to points that are there, and where a server becomes a community edition."""
    stored.rows(IS_NOT)
    try:
        m = stored.new(retain_raw="2d", chunk_interval="1d")
        stored.rows("DELETE FROM catalog.retention WHERE measurement_id = %s", m.id)
    finally:
        stored.rows(IS_COMMUNITY)
    m.fill("9 days", "0 days", "1 hour")
    assert [change for change in m.apply() if change.startswith("rollup ")]
    assert ("policy_retention", m.name) not in m.jobs()
    assert stored.value("SELECT catalog.raw_from(%s) = '-infinity'", m.id)
    assert not m.is_valid("10m_1", "8 days", "7 days")
    m.refresh()
    assert m.apply() == ["raw points kept 2d"]
    m.run("retention")
    m.until_valid("10m_1", "8 days", "15 minutes")
    m.until_valid("1h_1", "8 days", "2 hours 5 minutes")
    assert count(m, "1h_1", "4 days") == pytest.approx(5 * 24 * 3, abs=6)
    m.refresh()
    assert count(m, "1h_1", "4 days") == pytest.approx(5 * 24 * 3, abs=6)


def test_a_measurement_goes_with_its_rollups(stored: Stored) -> None:
    """And with its jobs; one that was dropped by hand is made anew."""
    m = stored.new()
    views = m.rollups().values()
    stored.rows("SELECT catalog.drop_measurement(%s)", m.name)
    assert stored.rows("SELECT * FROM catalog.rollup WHERE measurement_id = %s", m.id) == []
    assert (
        stored.rows("SELECT job_id FROM timescaledb_information.jobs WHERE hypertable_name = ANY (%s)", [*views]) == []
    )
    by_hand = stored.new(rollup_1h="off")
    stored.rows(sql.SQL("DROP TABLE {} CASCADE").format(by_hand.points))
    by_hand.grow("f")
    assert (
        stored.value(
            "SELECT count(*) FROM catalog.rollup r JOIN catalog.measurement m ON m.id = r.measurement_id "
            "WHERE m.name = %s",
            by_hand.name,
        )
        == 1
    )


def test_a_rollup_dropped_by_hand_is_made_again(stored: Stored) -> None:
    """And is not spoken of meanwhile."""
    m = stored.new()
    stored.rows(sql.SQL("DROP MATERIALIZED VIEW {}").format(sql.Identifier("rollups", m.rollups()["1h_1"])))
    assert not m.is_valid("1h_1", "1 day", "1 hour")
    assert m.apply()
    assert set(m.rollups()) == {"10m_1", "1h_1"}


def test_another_timescaledb_is_not_trusted(stored: Stored) -> None:
    """Where nobody knows its logs, no rollup holds, but for what has expired."""
    m = stored.new(retain_raw="1d")
    m.fill("20 hours", "0 hours")
    m.refresh()
    m.until_valid("10m_1", "19 hours", "15 minutes")
    known = stored.value("SELECT pg_get_functiondef('catalog.knows_invalidations'::regproc)")
    stored.rows(
        "CREATE OR REPLACE FUNCTION catalog.knows_invalidations() RETURNS boolean LANGUAGE sql AS 'SELECT false'"
    )
    try:
        assert not m.is_valid("10m_1", "19 hours", "15 minutes")
        m.until_valid("10m_1", "3 days", "25 hours")
    finally:
        stored.connection.execute(known)
    m.until_valid("10m_1", "19 hours", "15 minutes")
