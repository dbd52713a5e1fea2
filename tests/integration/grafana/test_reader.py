"""The role that Grafana logs in with: it reads everything, changes nothing, and gives up in time."""

from __future__ import annotations

import secrets
from collections.abc import Iterator

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from sql.addresses import GRAFANA
from sql.passwords import give


@pytest.fixture
def reader(database: str) -> Iterator[psycopg.Connection]:
    """Logged in as Grafana does, in a database with a point."""
    password = secrets.token_urlsafe(12)
    give(database, {GRAFANA: password})
    with psycopg.connect(database, autocommit=True) as owner:
        owner.execute("SELECT catalog.ensure_fields('cpu', '{usage}')")
        owner.execute("SELECT catalog.ensure_series('cpu', ARRAY['{\"host\": \"a\"}']::jsonb[])")
        owner.execute("INSERT INTO points.cpu (time, series_id, usage) VALUES (now(), 1, 12.5)")
    with psycopg.connect(make_conninfo(database, user=GRAFANA, password=password), autocommit=True) as connection:
        yield connection


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT host, usage FROM cpu",
        "SELECT host, usage FROM cpu_at('1h') WHERE time > now() - interval '90 days'",
        "SELECT time_bucket('1m', time), max(usage) FROM cpu GROUP BY 1",
        "SELECT name FROM catalog.measurement",
        "SELECT measurement, points, compressed_chunks FROM catalog.storage_report()",
    ],
)
def test_it_reads_what_panels_show(reader: psycopg.Connection, statement: str) -> None:
    """Measurements by name alone, with or without a step, the catalog, and the report."""
    assert reader.execute(statement.encode()).fetchall()


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM points.cpu",
        "INSERT INTO points.cpu (time, series_id, usage) VALUES (now(), 1, 1)",
        "CREATE TABLE public.mine (a int)",
        "SELECT catalog.ensure_fields('another', '{a}')",
        "SELECT catalog.drop_measurement('cpu')",
    ],
)
def test_it_changes_nothing(reader: psycopg.Connection, statement: str) -> None:
    """Neither in a read-only transaction nor in one that it makes writable."""
    for mode in ("read only", "read write"):
        with pytest.raises((psycopg.errors.InsufficientPrivilege, psycopg.errors.ReadOnlySqlTransaction)):
            reader.execute(f"BEGIN {mode}; {statement}".encode())
        reader.execute("ROLLBACK")


def test_it_gives_up_in_time(reader: psycopg.Connection) -> None:
    """A panel that would take longer than half a minute is ended by the server."""
    assert reader.execute("SHOW statement_timeout").fetchone() == ("30s",)
    assert reader.execute("SHOW default_transaction_read_only").fetchone() == ("on",)
