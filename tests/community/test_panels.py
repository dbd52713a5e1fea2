"""The dashboards' statements where there are rollups: over weeks they read these, and few points; and all have rows."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import psycopg
import pytest

from bench.macros import RANGES, Panel
from bench.storage import REFRESH, run_jobs
from tests.community.stored import Stored, connected, in_webassembly
from tests.integration.grafana import fleet
from tests.integration.grafana.boards import LISTS, ONE_OF, TARGETS, VARIABLES, alert
from tests.integration.grafana.work import ROWS, most_pages, work

CHUNKS = "SELECT chunk_name, hypertable_schema FROM timescaledb_information.chunks WHERE hypertable_schema = 'points'"
MADE_OF = """
    SELECT c.chunk_name, r.width FROM timescaledb_information.chunks c
    JOIN timescaledb_information.continuous_aggregates a
        ON a.materialization_hypertable_schema = c.hypertable_schema
        AND a.materialization_hypertable_name = c.hypertable_name
    JOIN catalog.rollup r ON r.view_name = a.view_name
"""
OF_THE_TAIL = 2
"""How many chunks have points that are not rolled up yet: that of now, and the one before where it began just now."""
LONG = {"30d": "10m", "90d": "1h"}
"""The ranges whose intervals are no shorter than a rollup's windows, and the rollup."""


class Rolled:
    """The fleet's points and rollups, and which chunks are which."""

    def __init__(self, connection: psycopg.Connection, now: datetime) -> None:
        self.connection = connection
        self.now = now
        stored = Stored(connection)
        self.points = {name for name, _ in stored.rows(CHUNKS)}
        self.rollups = dict(stored.rows(MADE_OF))

    def expand(self, sql: str, span: str) -> str:
        """A statement as Grafana sends it for a range."""
        length, interval = RANGES[span]
        return Panel(self.now - length, self.now, interval, VARIABLES).expand(sql)


@pytest.fixture(scope="module")
def rolled(community_url: str) -> Iterator[Rolled]:
    """Ninety days of a fleet, rolled up as the jobs do; asked with the rights of Grafana's role."""
    now = datetime.now(UTC)
    with connected(community_url) as connection:
        stored = Stored(connection)
        if in_webassembly(community_url):  # where each chunk and each row takes its time
            stored.set_policy("*", chunk_interval="7d")
        names = fleet.store(connection, now, every=4 if in_webassembly(community_url) else 1)
        try:
            for name in names:
                stored.rows("SELECT catalog.apply_policy(%s)", name)
                run_jobs(connection, name, REFRESH)
            connection.execute("ANALYZE")
            rolled = Rolled(connection, now)
            connection.execute("SET ROLE grafana_reader; SET search_path = metrics, public")
            yield rolled
        finally:
            connection.execute("RESET ROLE; RESET search_path")
            for name in names:
                stored.rows("SELECT catalog.drop_measurement(%s)", name)
            stored.close()


@pytest.mark.parametrize("span", RANGES)
def test_panels_have_rows_and_are_little_work(rolled: Rolled, span: str, community_url: str) -> None:
    """Rows at every range; at long ones those of the rollup that the interval asks for, and the points of the tail."""
    if span not in LONG and in_webassembly(community_url):
        pytest.skip("one connection, and slow: the Apache edition's tests ask the short ranges")
    for name, sql in TARGETS.items():
        statement = rolled.expand(sql, span)
        assert rolled.connection.execute(statement.encode()).fetchone(), name
        done = work(rolled.connection, statement)
        assert done.pages <= most_pages(rolled.connection, statement), name
        assert done.rows <= ROWS, name
        if span in LONG and "_at('$__interval'" in sql:
            read = {width for chunk, width in rolled.rollups.items() if chunk in done.relations}
            assert read == {LONG[span]}, name
            assert len(done.relations & rolled.points) <= OF_THE_TAIL, name


@pytest.mark.parametrize("name", LISTS)
def test_variables_have_values(rolled: Rolled, name: str) -> None:
    """The hosts and the measurements that there are."""
    rows = rolled.connection.execute(LISTS[name].encode()).fetchall()
    assert ONE_OF[name] in {value for (value,) in rows}


@pytest.mark.parametrize(
    ("rule", "wrong"), [("tidemark-host-silent", fleet.SILENT), ("tidemark-disk-full", fleet.FILLING)]
)
def test_alerts_name_what_is_wrong(rolled: Rolled, rule: str, wrong: str) -> None:
    """Where there are rollups as well."""
    rows = rolled.connection.execute(alert(rule, rolled.now).encode()).fetchall()
    assert wrong in {row[0] for row in rows}
