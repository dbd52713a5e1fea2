"""`python -m sql maintain` as a process: what it does in a round, when it ends, and what it says."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from tests.conftest import DEADLINE_SECONDS, POLL_SECONDS, Commands, Running
from tests.held_commit import held_commit

POINTS = """
    SELECT catalog.ensure_fields('m', '{f}');
    INSERT INTO points.m (time, series_id, f)
    SELECT now() - interval '1 day' * age, 1, age FROM generate_series(0, 200) age;
"""


@pytest.fixture
def on_database(commands: Commands, database: str) -> Commands:
    """Commands on the test's database."""
    commands.environment |= {"DATABASE_URL": database, "TIDEMARK_MAINTAIN_SECONDS": "1"}
    return commands


def value(database: str, statement: str) -> Any:
    """The one value that a statement finds."""
    with psycopg.connect(database) as connection:
        row = connection.execute(statement.encode()).fetchone()
        assert row is not None
        return row[0]


def until(condition: Callable[[], bool], *running: Running) -> None:
    """Wait for something that comes about while these run."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not condition():
        assert time.monotonic() < deadline
        for one in running:
            assert one.process.poll() is None, one.text()
        time.sleep(POLL_SECONDS)


def test_a_round(on_database: Commands, database: str) -> None:
    """The settings are the defaults, every measurement has them, and what has expired is gone where no job drops it."""
    with psycopg.connect(database) as connection:
        connection.execute(POINTS.encode())
    on_database.environment |= {"TIDEMARK_RETAIN_RAW": "30d", "TIDEMARK_ROLLUP_10M": "off"}
    done = on_database.run("sql", "maintain", "--once")
    assert done.returncode == 0, done.stderr
    assert value(database, "SELECT retain_raw FROM catalog.policy_of('m')") == "30d"
    assert value(database, "SELECT now() - catalog.raw_from(id) FROM catalog.measurement").days == 30
    assert "a policy was applied" in done.stderr
    if value(database, "SELECT catalog.edition() ->> 'edition'") == "apache":
        assert value(database, "SELECT extract(day FROM now() - min(time))::int FROM points.m") in (31, 32)
        assert done.stderr.count("no compression and no rollups") == 1
        assert "expired chunks were dropped" in done.stderr
    again = on_database.run("sql", "maintain", "--once")
    assert "applied" not in again.stderr
    assert "dropped" not in again.stderr.replace("are dropped by this process", "")


def test_what_is_set_by_hand_goes_before_the_settings(on_database: Commands, database: str) -> None:
    """Whatever the settings become later."""
    assert on_database.run("sql", "policy", "set", "*", "retain_raw=7d").returncode == 0
    on_database.environment["TIDEMARK_RETAIN_RAW"] = "8d"
    for command in (["migrate"], ["maintain", "--once"]):
        assert on_database.run("sql", *command).returncode == 0
        assert value(database, "SELECT retain_raw FROM catalog.policy_of('m')") == "7d"
    assert on_database.run("sql", "policy", "unset", "*").returncode == 0
    assert value(database, "SELECT retain_raw FROM catalog.policy_of('m')") == "8d"


def test_it_goes_on_and_stops_at_once(on_database: Commands, database: str) -> None:
    """A measurement that lost its policy has it again with the next round; SIGTERM does not wait for that."""
    on_database.environment["TIDEMARK_MAINTAIN_SECONDS"] = "1"
    running = on_database.start("sql", "maintain")
    running.until("maintaining the database")
    with psycopg.connect(database) as connection:
        connection.execute("SELECT catalog.ensure_fields('m', '{f}')")
        connection.execute("DELETE FROM catalog.retention")
    until(lambda: value(database, "SELECT count(*) FROM catalog.retention") == 1, running)
    assert running.stop() == 0
    assert "Traceback" not in running.text()
    on_database.environment["TIDEMARK_MAINTAIN_SECONDS"] = "86400"
    patient = on_database.start("sql", "maintain")
    patient.until("maintaining the database")
    assert patient.stop() == 0


def test_of_two_one_works(on_database: Commands, database: str) -> None:
    """The other says so once, and takes its place when it is gone."""
    first = on_database.start("sql", "maintain")
    first.until("maintaining the database")
    second = on_database.start("sql", "maintain")
    second.until("another process maintains this database")
    first.stop()
    second.until("this process maintains the database")
    assert second.text().count("another process") == 1
    assert second.stop() == 0


def test_without_a_database_it_waits(commands: Commands, free_port: int, empty_database: str) -> None:
    """It says once that nothing answers, or that there is no schema, and never a password."""
    commands.environment["DATABASE_URL"] = f"postgresql://me:secret@127.0.0.1:{free_port}/db"
    running = commands.start("sql", "maintain")
    running.until("the database does not answer")
    assert running.stop() == 0
    assert running.text().count("the database does not answer") == 1
    assert "secret" not in running.text()
    once = commands.run("sql", "maintain", "--once")
    assert once.returncode == 1
    assert "the database does not answer" in once.stderr

    commands.environment["DATABASE_URL"] = empty_database
    waiting = commands.start("sql", "maintain")
    waiting.until("run python -m sql migrate")
    assert commands.run("sql", "migrate").returncode == 0
    waiting.until("the database has its schema")
    assert waiting.stop() == 0


def test_a_connection_that_is_lost_is_made_again(on_database: Commands, database: str) -> None:
    """What was the server's end of it does not matter."""
    running = on_database.start("sql", "maintain")
    running.until("maintaining the database")
    ended = value(
        database,
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
        "WHERE application_name = 'tidemark maintain' AND datname = current_database()",
    )
    assert ended == 1
    running.until("the database answers")
    assert running.stop() == 0


@pytest.mark.community
def test_rollups_are_settled(on_database: Commands, database: str) -> None:
    """Readers rely on what was rolled up from then on; while somebody commits for long, it says so and waits."""
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(POINTS.encode())
        refresh = "CALL refresh_continuous_aggregate(format('rollups.%%I', %s::text), now() - interval '5 days', %s)"
        for view, until in connection.execute(
            "SELECT view_name, now() - interval '2 hours' FROM catalog.rollup ORDER BY width"
        ).fetchall():
            connection.execute(refresh, (view, until))
    settled = "SELECT bool_and(settled_before > now() - interval '4 hours') FROM catalog.rollup"

    def write(connection: psycopg.Connection) -> None:
        connection.execute("INSERT INTO points.m (time, series_id, f) VALUES (now() - interval '36 hours', 1, 1)")

    with held_commit(database, write):
        done = on_database.run("sql", "maintain", "--once")
        assert done.returncode == 0, done.stderr
        assert "what is rolled up was not settled" in done.stderr
        assert not value(database, settled)
    done = on_database.run("sql", "maintain", "--once")
    assert (done.returncode, "not settled" in done.stderr) == (0, False)
    assert value(database, settled)
