"""Rollups are compressed too: they stay what their points say, and late points reach them there."""

from __future__ import annotations

from typing import Any

import pytest

from sql.report import lines, report
from tests.community.stored import Measurement, Stored

ROLLUPS = ("10m_1", "1h_1")


@pytest.fixture
def old(stored: Stored) -> Measurement:
    """Points of two months, rolled up."""
    m = stored.new(retain_raw="90d", chunk_interval="7d")
    m.fill("62 days", "0 days", "20 minutes", series=10)
    m.refresh()
    return m


def compress(m: Measurement) -> None:
    """Run the jobs that compress the rollups."""
    for rollup in ROLLUPS:
        m.run("compression", rollup)


def told(m: Measurement) -> dict[str, Any]:
    """What the report says of the rollups, by width."""
    return {row["width"]: row for row in report(m.stored.connection)["rollups"] if row["measurement"] == m.name}


def due(m: Measurement) -> int:
    """How many chunks of the rollups are compressed, and were written to since."""
    return int(
        m.stored.value(
            "SELECT count(*) FROM timescaledb_information.chunks c "
            "WHERE is_compressed AND format('%%I.%%I', hypertable_schema, hypertable_name) IN ("
            "  SELECT catalog.materialization(view_name) FROM catalog.rollup WHERE measurement_id = %s) "
            "AND _timescaledb_functions.chunk_status(format('%%I.%%I', chunk_schema, chunk_name)::regclass) <> 1",
            m.id,
        )
    )


def test_old_chunks_are_compressed(old: Measurement) -> None:
    """And are smaller, hold the same, and can be relied on as before."""
    before = told(old)
    compress(old)
    after = told(old)
    for width, least in (("10m", 7), ("1h", 1)):
        assert before[width]["compressed_chunks"] == 0
        assert least <= after[width]["compressed_chunks"] < after[width]["chunks"]
        assert after[width]["bytes"] < before[width]["bytes"]
    assert old.is_valid("10m_1", "61 days", "1 hour")
    assert old.is_valid("1h_1", "61 days", "3 hours")
    assert old.disagreements() == []
    assert any(f"m{old.id}_1h_1" in line and "1h" in line for line in lines(report(old.stored.connection)))


def test_late_points_reach_them(old: Measurement) -> None:
    """A refresh changes compressed windows, and the job compresses them again."""
    compress(old)
    old.fill("50 days", "49 days", "7 minutes", series=12)
    assert not old.is_valid("10m_1", "50 days", "49 days")
    old.refresh()
    assert old.is_valid("10m_1", "61 days", "1 hour")
    assert old.is_valid("1h_1", "61 days", "3 hours")
    assert old.disagreements() == []
    assert due(old) in (2, 3)  # one of hours, and of ten minutes two where weeks meet on that day
    compress(old)
    assert due(old) == 0
    assert old.disagreements() == []


def test_they_follow_the_policy(stored: Stored) -> None:
    """A day after their end, or later if points are; never where points are not."""
    m = stored.new("f", compress_after="3d")
    assert {("policy_compression", view) for view in m.rollups().values()} <= set(m.jobs())
    jobs = dict(stored.rows("SELECT job_id, config ->> 'compress_after' FROM timescaledb_information.jobs"))
    assert {jobs[m.jobs()["policy_compression", view]] for view in m.rollups().values()} == {"3 days"}
    stored.set_policy(m.name, compress_after="2h")
    assert [change for change in m.apply() if change.startswith("rollup")] == [
        f"rollup m{m.id}_{rollup} compressed after 1 day" for rollup in ROLLUPS
    ]
    stored.set_policy(m.name, compress_after="off")
    assert [change for change in m.apply() if change.startswith("rollup")] == [
        f"rollup m{m.id}_{rollup} compressed no more" for rollup in ROLLUPS
    ]
    assert m.apply() == []
    assert not {("policy_compression", view) for view in m.rollups().values()} & set(m.jobs())


def test_they_expire_when_they_are_compressed(old: Measurement) -> None:
    """By whole chunks, as others do."""
    compress(old)
    old.stored.set_policy(old.name, retain_raw="90d", rollup_10m="20d", chunk_interval="7d")
    old.apply()
    before = told(old)["10m"]["chunks"]
    old.run("retention", "10m_1")
    assert told(old)["10m"]["chunks"] < before
    assert not old.is_valid("10m_1", "30 days", "1 hour")
    assert old.is_valid("10m_1", "19 days", "1 hour")
    assert old.disagreements() == []
