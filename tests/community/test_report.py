"""The report: what compression made of points, what waits for it, and jobs that fail."""

from __future__ import annotations

import time
from typing import Any

import pytest
from psycopg import sql

from sql.report import bytes_per_value, failed_jobs, lines, report
from tests.community.stored import Measurement, Stored, in_webassembly
from tests.conftest import DEADLINE_SECONDS, POLL_SECONDS


def row_of(m: Measurement) -> dict[str, Any]:
    """The report's row of a measurement."""
    rows: list[dict[str, Any]] = report(m.stored.connection)["measurements"]
    return next(row for row in rows if row["measurement"] == m.name)


def test_what_compression_makes(stored: Stored) -> None:
    """Points are counted, and bytes before and after are those that TimescaleDB has measured."""
    m = stored.new(chunk_interval="3h", compress_after="1h", retain_raw="forever")
    m.fill("40 hours", "0 hours", "10 seconds", series=4)
    stored.rows(sql.SQL("ANALYZE {}").format(m.points))
    before = row_of(m)
    assert before["bytes_per_value_after"] is None
    assert before["points"] == pytest.approx(40 * 360 * 4, rel=0.02)
    assert before["due_chunks"] in (12, 13, 14)
    assert 30 < before["bytes_per_value_before"] < 200
    m.run("compression")
    m.refresh()
    after = row_of(m)
    assert after["due_chunks"] == 0
    assert after["compressed_chunks"] == before["due_chunks"]
    assert after["points"] == pytest.approx(before["points"], rel=0.02)
    assert after["after_bytes"] < after["before_bytes"]
    assert after["raw_bytes"] < before["raw_bytes"]
    # So few points a chunk are mostly pages begun; how small many become is measured, not tested.
    assert after["bytes_per_value_after"] < after["bytes_per_value_before"] / 2
    assert after["rollup_bytes"] > before["rollup_bytes"]
    assert bytes_per_value(after)["bytes_per_value_after"] == after["after_bytes"] / after["compressed_values"]


def test_jobs_that_are_well(stored: Stored) -> None:
    """Each is told with what it works on; none is in trouble before it was ever due."""
    m = stored.new()
    told = report(stored.connection)
    relations = {f"points.{m.name}", *(f"rollups.{view}" for view in m.rollups().values())}
    mine = [job for job in told["jobs"] if job["relation"] in relations]
    assert sorted((job["action"], job["state"]) for job in mine) == sorted(
        [*[("compression", "ok")] * 3, *[("refresh", "ok")] * 2, *[("retention", "ok")] * 3]
    )
    assert any("compression" in line and m.name in line for line in lines(told))


def test_a_job_that_fails_is_told(stored: Stored, community_url: str) -> None:
    """With its reason, as PostgreSQL gave it: here a sum beyond double precision, which no rollup can hold."""
    if in_webassembly(community_url):
        pytest.skip("the server in WebAssembly has nobody who runs jobs")
    m = stored.new()
    job = m.jobs()["policy_refresh_continuous_aggregate", m.rollups()["10m_1"]]
    name = f"job {job} (refresh of rollups.{m.rollups()['10m_1']})"
    stored.rows(
        sql.SQL(
            "INSERT INTO {} (time, series_id, f) "
            "SELECT now() - interval '5 hours' + n * interval '1 second', 1, 1.7e308 FROM generate_series(1, 900) n"
        ).format(m.points)
    )
    stored.rows("SELECT _timescaledb_functions.start_background_workers()")
    try:
        stored.rows("SELECT public.alter_job(%s, next_start => now())", job)
        deadline = time.monotonic() + DEADLINE_SECONDS
        while name not in (failed := failed_jobs(stored.connection)):
            assert time.monotonic() < deadline
            time.sleep(POLL_SECONDS)
    finally:
        stored.rows("SELECT _timescaledb_functions.stop_background_workers()")
    assert "out of range" in failed[name], failed
