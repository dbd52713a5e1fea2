"""The alert on jobs, provoked: one fails for real, is told, and is forgotten when it has gone well again."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from psycopg import sql

from tests.community.stored import Stored, in_webassembly
from tests.conftest import DEADLINE_SECONDS, POLL_SECONDS
from tests.integration.grafana.boards import RULES

BEYOND = """
    INSERT INTO {} (time, series_id, f)
    SELECT now() - interval '5 hours' + n * interval '1 second', 1, 1.7e308 FROM generate_series(1, 900) n
"""
"""Values whose sum is beyond double precision, which no rollup can hold."""


def fired(stored: Stored) -> dict[str, tuple[str, str, float]]:
    """What the alert's statement finds, with the rights of Grafana's role: action, state and value by relation."""
    stored.rows("SET ROLE grafana_reader")
    try:
        found = stored.connection.execute(RULES["tidemark-job-failing"]["model"]["rawSql"].encode()).fetchall()
    finally:
        stored.rows("RESET ROLE")
    return {relation: (action, state, value) for relation, action, state, value in found}


@contextmanager
def jobs_run(stored: Stored) -> Iterator[None]:
    """TimescaleDB runs jobs of this database when they are due."""
    stored.rows("SELECT _timescaledb_functions.start_background_workers()")
    try:
        yield
    finally:
        stored.rows("SELECT _timescaledb_functions.stop_background_workers()")


def test_a_failing_job_fires_until_it_is_mended(stored: Stored, community_url: str) -> None:
    """The refresh of a rollup fails by what is in the points; without that it goes well, and nothing is told of it."""
    if in_webassembly(community_url):
        pytest.skip("the server in WebAssembly has nobody who runs jobs")
    m = stored.new()
    view = m.rollups()["10m_1"]
    job = m.jobs()["policy_refresh_continuous_aggregate", view]
    relation = f"rollups.{view}"
    stored.rows(sql.SQL(BEYOND).format(m.points))
    assert relation not in fired(stored)
    with jobs_run(stored):
        stored.rows("SELECT public.alter_job(%s, next_start => now())", job)
        until(stored, relation, is_there=True)
        action, state, value = fired(stored)[relation]
        assert (action, state) == ("refresh", "failed")
        assert value >= 1
        stored.rows(sql.SQL("DELETE FROM {}").format(m.points))
        stored.rows("SELECT public.alter_job(%s, next_start => now())", job)
        until(stored, relation, is_there=False)


def until(stored: Stored, relation: str, *, is_there: bool) -> None:
    """Wait until the alert names a relation, or does not any more."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while (relation in fired(stored)) != is_there:
        assert time.monotonic() < deadline
        time.sleep(POLL_SECONDS)
