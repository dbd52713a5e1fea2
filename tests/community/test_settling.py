"""Rollups lack nothing of what was being committed while they were refreshed for the first time."""

from __future__ import annotations

import psycopg
import pytest
from psycopg import sql

from sql import rollups
from tests.community.stored import Measurement, Stored, in_webassembly
from tests.held_commit import held_commit


@pytest.fixture(autouse=True)
def several_connections(community_url: str) -> None:
    """The server in WebAssembly has one connection, and so nothing that happens meanwhile."""
    if in_webassembly(community_url):
        pytest.skip("the server in WebAssembly has one connection")


def rolled_up(m: Measurement, rollup: str) -> int:
    """How many points a rollup has."""
    return int(
        m.stored.value(
            sql.SQL("SELECT coalesce(sum({}), 0)::bigint FROM {}").format(
                sql.Identifier(
                    f"count_{m.stored.value('SELECT id FROM catalog.field WHERE measurement_id = %s', m.id)}"
                ),
                sql.Identifier("rollups", m.rollups()[rollup]),
            )
        )
    )


def materialized(m: Measurement, rollup: str) -> sql.Identifier:
    """The table that TimescaleDB fills for a rollup."""
    relation = m.stored.value("SELECT catalog.materialization(%s)", m.rollups()[rollup])
    return sql.Identifier(*relation.split("."))


def refresh(m: Measurement) -> None:
    """Run the jobs that refresh, and settle nothing."""
    for rollup in ("10m_1", "1h_1"):
        m.run("refresh_continuous_aggregate", rollup)


def write_late(m: Measurement, connection: psycopg.Connection) -> None:
    """Some points, five hours old, a minute apart."""
    m.seen_by(connection).fill("5 hours", "4 hours", "1 minute", series=2)


def test_points_that_commit_during_the_first_refresh(
    stored: Stored, community_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TimescaleDB forgets them; nothing is said to hold without them, and settling puts them in."""
    monkeypatch.setattr(rollups, "WAIT_SECONDS", 0.2)
    m = stored.new(chunk_interval="3h", compress_after="off")
    m.fill("9 hours", "6 hours", "1 minute", series=2)
    with held_commit(community_url, lambda connection: write_late(m, connection)):
        refresh(m)
        assert not m.is_valid("10m_1", "8 hours", "7 hours")
        with pytest.raises(rollups.UnderWayError, match="about to commit"):
            m.settle()
        assert not m.is_valid("10m_1", "8 hours", "7 hours")
        before = rolled_up(m, "10m_1"), rolled_up(m, "1h_1")
    refresh(m)
    # This is the hole: a refresh that comes after their commit finds nothing to do.
    assert (rolled_up(m, "10m_1"), rolled_up(m, "1h_1")) == before
    assert m.disagreements() == []
    assert not m.is_valid("10m_1", "5 hours", "4 hours")
    m.settle()
    assert rolled_up(m, "10m_1") == before[0] + 120
    m.until_valid("10m_1", "9 hours", "3 hours")
    m.until_valid("1h_1", "8 hours", "3 hours")
    assert m.disagreements() == []


def test_a_refresh_that_saw_too_little(stored: Stored, community_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """While one that began before is still under way, its rollup is left to the next round."""
    monkeypatch.setattr(rollups, "WAIT_SECONDS", 0.2)
    m = stored.new(chunk_interval="3h", compress_after="off")
    m.fill("9 hours", "1 hours", "1 minute", series=2)
    refresh(m)
    with psycopg.connect(community_url) as refreshing:
        refreshing.execute(sql.SQL("DELETE FROM {} WHERE false").format(materialized(m, "10m_1")))
        refreshing.execute("SELECT pg_current_xact_id()")
        m.settle()
        assert not m.is_valid("10m_1", "8 hours", "2 hours")
        refreshing.rollback()
    m.settle()
    m.until_valid("10m_1", "8 hours", "2 hours")
    refresh(m)
    m.until_valid("1h_1", "7 hours", "3 hours")
    assert m.disagreements() == []


def test_a_table_that_is_locked(stored: Stored, community_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Is not waited for without end; its rollup is settled when it is free."""
    monkeypatch.setattr(rollups, "WAIT_SECONDS", 0.2)
    m = stored.new(chunk_interval="3h", compress_after="off")
    m.fill("9 hours", "1 hours", "1 minute", series=2)
    refresh(m)
    with psycopg.connect(community_url) as other:
        other.execute(sql.SQL("LOCK TABLE {} IN SHARE MODE").format(materialized(m, "10m_1")))
        with pytest.raises(psycopg.errors.LockNotAvailable):
            m.settle()
    assert not m.is_valid("10m_1", "8 hours", "2 hours")
    m.settle()
    m.until_valid("10m_1", "8 hours", "2 hours")


def test_time_without_points_is_not_gone_through(stored: Stored) -> None:
    """A point that is a century old is settled like others, and what lies between has nothing to be repeated."""
    kept = {"retain_raw": "forever", "rollup_10m": "forever", "rollup_1h": "forever"}
    m = stored.new(chunk_interval="3h", compress_after="off", **kept)
    m.fill("9 hours", "6 hours", "1 minute", series=2)
    m.fill("36500 days", "36499 days 23 hours", "1 minute", series=1)
    refresh(m)
    mine = m.rollups().values()
    windows = [len(one.windows) for one in rollups.unsettled(stored.connection) if one.rollup.view_name in mine]
    assert len(windows) == 2
    assert all(2 <= count <= 4 for count in windows), "the two stretches, each cut by a day or a week at most once"
    m.settle()
    assert (rolled_up(m, "10m_1"), rolled_up(m, "1h_1")) == (360 + 60, 360 + 60)
    m.until_valid("10m_1", "8 hours", "7 hours")
    m.until_valid("10m_1", "36499 days 23 hours 40 minutes", "36499 days 23 hours 20 minutes")
    assert m.disagreements() == []


def test_late_points_are_logged_from_then_on(stored: Stored, community_url: str) -> None:
    """What is written before the time that is settled is refreshed by the jobs, and not relied on before."""
    m = stored.new(chunk_interval="3h", compress_after="off")
    m.fill("9 hours", "0 hours", "1 minute", series=2)
    m.refresh()
    assert rollups.unsettled(stored.connection) == []
    with held_commit(community_url, lambda connection: write_late(m, connection)):
        m.until_valid("10m_1", "8 hours", "15 minutes")
    assert not m.is_valid("10m_1", "5 hours", "4 hours")
    refresh(m)
    m.until_valid("10m_1", "8 hours", "15 minutes")
    assert m.disagreements() == []


def test_a_rollup_is_made_while_nobody_writes(stored: Stored, community_url: str) -> None:
    """TimescaleDB logs nothing for it of a transaction that began to write before."""
    m = stored.new("f", rollup_1h="off")
    m.grow("g")
    stored.rows("UPDATE catalog.field SET created_at = created_at - interval '1 day' WHERE measurement_id = %s", m.id)
    with psycopg.connect(community_url) as writer:
        m.seen_by(writer).fill("5 hours", "4 hours")
        with pytest.raises(psycopg.errors.LockNotAvailable):
            m.apply()
    assert m.apply()
    assert set(m.rollups()) == {"10m_1", "10m_2"}
