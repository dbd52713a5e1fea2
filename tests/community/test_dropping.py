"""A measurement is dropped while its jobs run: they are stopped before, and nobody waits for another in a circle."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from psycopg import sql

from tests.community.stored import Measurement, Stored, in_webassembly
from tests.conftest import DEADLINE_SECONDS, POLL_SECONDS

GATE = """
    CREATE FUNCTION public.wait_here() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        PERFORM pg_sleep(600);
        RETURN NEW;
    END $$
"""
"""What a held job would wait for, if nobody cancelled it."""
AT_GATE = """
    SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND wait_event = 'PgSleep' AND pid <> pg_backend_pid()
"""


@contextmanager
def held_refresh(m: Measurement, rollup: str) -> Iterator[None]:
    """The job that refreshes a rollup is under way and gets no further, with locks on all that it reads and fills."""
    stored = m.stored
    stored.connection.execute(GATE)
    try:
        relation = stored.value("SELECT catalog.materialization(%s)", m.rollups()[rollup])
        stored.rows(
            sql.SQL("CREATE TRIGGER wait_here BEFORE INSERT ON {} FOR EACH ROW EXECUTE FUNCTION wait_here()").format(
                sql.Identifier(*relation.split("."))
            )
        )
        stored.rows("SELECT _timescaledb_functions.start_background_workers()")
        job = m.jobs()["policy_refresh_continuous_aggregate", m.rollups()[rollup]]
        stored.rows("SELECT public.alter_job(%s, next_start => now())", job)
        deadline = time.monotonic() + DEADLINE_SECONDS
        while stored.value(AT_GATE) != 1:
            assert time.monotonic() < deadline
            time.sleep(POLL_SECONDS)
        yield
    finally:
        stored.rows("SELECT _timescaledb_functions.stop_background_workers()")
        stored.rows("DROP FUNCTION public.wait_here CASCADE")


@pytest.fixture
def refreshed(stored: Stored, community_url: str) -> Measurement:
    """A measurement with points that are to be rolled up."""
    if in_webassembly(community_url):
        pytest.skip("the server in WebAssembly has nobody who runs jobs")
    m = stored.new()
    m.fill("5 hours", "1 hour", "10 minutes", series=1)
    stored.rows("SET lock_timeout = '20s'")
    return m


def test_a_measurement_is_dropped_while_a_job_runs(refreshed: Measurement) -> None:
    """At once, although the job would never end by itself; nothing of it is left."""
    with held_refresh(refreshed, "10m_1"):
        refreshed.stored.rows("SELECT catalog.drop_measurement(%s)", refreshed.name)
        assert refreshed.stored.value(AT_GATE) == 0
    assert refreshed.jobs() == {}
    assert refreshed.stored.value("SELECT to_regclass(format('points.%%I', %s::text))", refreshed.name) is None


def test_a_rollup_is_dropped_while_its_job_runs(refreshed: Measurement) -> None:
    """When its policy is turned off; the jobs of the points stay."""
    refreshed.stored.set_policy(refreshed.name, rollup_10m="off")
    with held_refresh(refreshed, "10m_1"):
        assert refreshed.apply()[-2:] == [f"rollup m{refreshed.id}_{rollup} dropped" for rollup in ("1h_1", "10m_1")]
        assert refreshed.stored.value(AT_GATE) == 0
    assert set(refreshed.jobs()) == {("policy_compression", refreshed.name), ("policy_retention", refreshed.name)}
