"""Least privilege: what the roles of ingest and query can do, and that they can do no more."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from sql.addresses import as_role
from tests.conftest import copied

MADE = """
    SELECT catalog.ensure_fields('metrics', '{cpu_usage}');
    SELECT catalog.ensure_series('metrics', ARRAY['{"host": "web-1"}', '{"host": "web-2"}']::jsonb[]);
    INSERT INTO points.metrics (time, series_id, cpu_usage)
    SELECT now() - interval '1 minute' * n, s.id, s.id * 10 + n FROM catalog.series s, generate_series(1, 3) n;
"""

REFUSED = (psycopg.errors.InsufficientPrivilege,)


@pytest.fixture(scope="module")
def filled(server_url: str, template: str) -> Iterator[str]:
    """A database with a few points of the measurement `metrics`, for all tests here: what they may do, they undo."""
    with copied(server_url, template) as url:
        with psycopg.connect(url) as connection:
            connection.execute(MADE)
        yield url


@pytest.fixture
def ingest(filled: str) -> Iterator[psycopg.Connection]:
    """A connection with the rights of ingest."""
    with psycopg.connect(as_role(filled, "ingest"), autocommit=True) as connection:
        yield connection


@pytest.fixture
def query(filled: str) -> Iterator[psycopg.Connection]:
    """A connection with the rights of query."""
    with psycopg.connect(as_role(filled, "query"), autocommit=True) as connection:
        yield connection


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT count(*) FROM points.metrics",
        "INSERT INTO points.metrics (time, series_id, cpu_usage) VALUES (now(), 1, 1)",
        "UPDATE points.metrics SET cpu_usage = 2",
        "CREATE TEMPORARY TABLE arrived (LIKE points.metrics)",
        "SELECT catalog.ensure_fields('another', '{a}')",
        "SELECT catalog.ensure_series('metrics', '{}')",
        "SELECT catalog.epoch(), catalog.edition()",
    ],
)
def test_ingest_can_do_its_work(ingest: psycopg.Connection, statement: str) -> None:
    """It writes and merges rows, and has the database make what they need."""
    with ingest.transaction(force_rollback=True):
        ingest.execute(statement.encode())


def test_ingest_can_write_what_it_had_made(ingest: psycopg.Connection) -> None:
    """A new measurement is at once its to write to, over chunks of any time."""
    ingest.execute("SELECT catalog.ensure_fields('new', '{a}')")
    with ingest.cursor() as cursor, cursor.copy("COPY points.new (time, series_id, a) FROM STDIN") as copy:
        for time in ("2026-01-01", "2026-06-01", "2026-11-22"):
            copy.write_row((time, 1, 1.5))
    assert ingest.execute("SELECT count(*) FROM points.new").fetchone() == (3,)


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM points.metrics",
        "TRUNCATE points.metrics",
        "DROP TABLE points.metrics",
        "ALTER TABLE points.metrics ADD COLUMN more float8",
        "CREATE TABLE points.mine (a int)",
        "CREATE TABLE catalog.mine (a int)",
        "CREATE TABLE metrics.mine (a int)",
        "CREATE TABLE public.mine (a int)",
        "CREATE SCHEMA mine",
        "SELECT * FROM catalog.series",
        "SELECT * FROM catalog.measurement",
        "INSERT INTO catalog.series (measurement_id, tags) VALUES (1, '{}')",
        "SELECT * FROM catalog.migration",
        "SELECT * FROM metrics.metrics",
        "SELECT catalog.refresh_view(NULL)",
        "SELECT catalog.create_points(NULL)",
        "SELECT catalog.make_fields('m', '{a}', 1, 1)",
        "SELECT catalog.drop_measurement('metrics')",
        "SELECT catalog.begin_lineage()",
        "SELECT * FROM catalog.lineage",
        "SELECT * FROM catalog.policy",
        "INSERT INTO catalog.policy (pattern) VALUES ('m')",
        "SELECT catalog.apply_policy('metrics')",
        "SELECT catalog.expire('metrics')",
        "SELECT catalog.drop_rollups(1, '10m')",
        "SELECT * FROM catalog.rollup_state(1)",
        "CREATE TABLE rollups.mine (a int)",
        "UPDATE catalog.lineage SET id = gen_random_uuid()",
        "SELECT catalog.lock_catalog()",
        "COPY points.metrics TO PROGRAM 'cat'",
        "ALTER SYSTEM SET jit = on",
    ],
)
def test_ingest_can_do_no_more(ingest: psycopg.Connection, statement: str) -> None:
    """It cannot delete, change the schema, or read the catalog."""
    with pytest.raises(REFUSED):
        ingest.execute(statement.encode())


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT * FROM catalog.series",
        "SELECT * FROM catalog.field JOIN catalog.measurement m ON m.id = measurement_id",
        "SELECT * FROM catalog.migration",
        "SELECT * FROM points.metrics",
        "SELECT time_bucket('1 minute', time), first(cpu_usage, time) FROM metrics GROUP BY 1",
        "SELECT catalog.edition()",
        "SELECT * FROM catalog.policy",
        "SELECT catalog.policy_of('metrics'), catalog.raw_from(1)",
        "SELECT count(*) FROM catalog.rollup r, catalog.rollup_state(r.measurement_id)",
        "SELECT count(*) FROM catalog.rollup_field",
        "SELECT measurement, points FROM catalog.storage_report()",
        "SELECT count(*) FROM catalog.job_report()",
    ],
)
def test_query_can_read_everything(query: psycopg.Connection, statement: str) -> None:
    """The catalog, the rows, the views, and TimescaleDB's functions by name."""
    assert query.execute(statement.encode()).fetchall()


def test_query_can_read_what_comes_later(query: psycopg.Connection, ingest: psycopg.Connection) -> None:
    """A measurement that ingest has made is there to read at once."""
    ingest.execute("SELECT catalog.ensure_fields('later', '{a}')")
    ingest.execute("INSERT INTO points.later (time, series_id, a) VALUES (now(), 1, 1)")
    assert query.execute("SELECT host, tags, a FROM later").fetchall() == [("web-1", {"host": "web-1"}, 1.0)]


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO points.metrics (time, series_id, cpu_usage) VALUES (now(), 1, 1)",
        "UPDATE points.metrics SET cpu_usage = 2",
        "DELETE FROM points.metrics",
        "TRUNCATE points.metrics",
        "DROP VIEW metrics.metrics",
        "INSERT INTO catalog.series (measurement_id, tags) VALUES (1, '{}')",
        "UPDATE catalog.migration SET name = 'x'",
        "CREATE TABLE public.mine (a int)",
        "CREATE TABLE metrics.mine (a int)",
        "CREATE SCHEMA mine",
        "SELECT catalog.ensure_fields('mine', '{a}')",
        "SELECT catalog.ensure_series('metrics', '{}')",
        "UPDATE catalog.policy SET retain_raw = '1d'",
        "SELECT catalog.apply_policy('metrics')",
        "SELECT catalog.expire('metrics')",
        "SELECT catalog.retain(1, interval '1 day')",
        "COPY points.metrics TO PROGRAM 'cat'",
        "SELECT pg_read_file('PG_VERSION')",
    ],
)
def test_query_can_change_nothing(query: psycopg.Connection, statement: str) -> None:
    """It cannot write, make or drop anything, nor reach the server's files."""
    with pytest.raises(REFUSED):
        query.execute(statement.encode())


def test_the_statement_that_people_write(query: psycopg.Connection) -> None:
    """The average per host over the last hour, as written, with no schema named."""
    found = query.execute(
        "SELECT host, AVG(cpu_usage) FROM metrics WHERE time > NOW() - INTERVAL '1 hour' GROUP BY host"
    ).fetchall()
    assert sorted(found) == [("web-1", 12.0), ("web-2", 22.0)]


def test_the_statement_works_after_a_login_of_the_role(filled: str) -> None:
    """The search path is the role's own, so that any client that logs in with it has it."""
    with psycopg.connect(filled) as connection:
        settings = connection.execute(
            "SELECT rolname, rolconfig FROM pg_roles WHERE rolname IN ('tidemark_ingest', 'tidemark_query') ORDER BY 1"
        ).fetchall()
    assert settings == [(name, ["search_path=metrics, public"]) for name in ("tidemark_ingest", "tidemark_query")]
