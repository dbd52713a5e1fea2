"""metrics.<measurement>_at on a server without rollups: its rows are those of the view, whatever the step."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from psycopg import sql

from sql.addresses import as_role
from tests.conftest import DEADLINE_SECONDS, POLL_SECONDS

MADE = """
    SELECT catalog.ensure_fields('cpu', '{usage,time}');
    SELECT catalog.ensure_series('cpu', ARRAY['{"host": "a"}', '{"host": "b"}']::jsonb[]);
    INSERT INTO points.cpu (time, series_id, usage, time_)
    SELECT now() - interval '1 minute' * n, s.id, s.id * 10 + n, nullif(n, 3)
    FROM catalog.series s, generate_series(1, 90) n;
"""
QUESTIONS = (
    "SELECT host, sum(usage) FROM cpu_at('1h') WHERE time > now() - interval '1 hour' GROUP BY 1",
    "SELECT * FROM cpu_at('1m') ORDER BY time",
    "SELECT count(*) FROM cpu_at('1h', 'max') JOIN cpu USING (time, host, usage)",
)
WAITS = "SELECT FROM pg_stat_activity WHERE pid = %s AND wait_event_type = 'Lock'"
BODY = "SELECT prosrc, xmin::text FROM pg_proc WHERE oid = to_regprocedure('metrics.cpu_at(interval, text)')"


@pytest.fixture
def owner(database: str) -> Iterator[psycopg.Connection]:
    """A connection with the owner's rights to a database with two hosts' points of an hour and a half."""
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(MADE)
        yield connection


@pytest.mark.parametrize("step", ["30s", "10m", "1h", "7d"])
@pytest.mark.parametrize("statistic", ["avg", "max"])
def test_its_rows_are_the_views(owner: psycopg.Connection, database: str, step: str, statistic: str) -> None:
    """For the role of query, by name alone as any client writes it."""
    with psycopg.connect(as_role(database, "query")) as query:
        found = query.execute(
            sql.SQL(
                "SELECT count(*), count(*) FILTER (WHERE c IS NULL) "
                "FROM cpu_at({}, {}) a FULL JOIN cpu c USING (time, host, tags, usage)"
            ).format(sql.Literal(step), sql.Literal(statistic))
        ).fetchone()
    assert found == (180, 0)


def test_the_condition_on_time_reaches_the_table(owner: psycopg.Connection) -> None:
    """The function is put in its place: no function scan, and an index or chunk condition on time."""
    plan = owner.execute("EXPLAIN SELECT max(usage) FROM metrics.cpu_at('1h') WHERE time > now() - interval '5 min'")
    text = "\n".join(line for (line,) in plan.fetchall())
    assert "Function Scan" not in text
    assert "now() - '00:05:00'" in text


def test_a_later_field_is_in_it(owner: psycopg.Connection) -> None:
    """It has the view's columns, also those that came after it was made."""
    owner.execute("SELECT catalog.ensure_fields('cpu', '{later}')")
    owner.execute("UPDATE points.cpu SET later = 1 WHERE series_id = 1")
    assert owner.execute("SELECT sum(later) FROM metrics.cpu_at('1m')").fetchone() == (90.0,)


def test_it_is_made_anew_only_when_it_changes(owner: psycopg.Connection) -> None:
    """Maintenance goes over every measurement each few minutes, and leaves the system's tables alone."""
    before = owner.execute(BODY).fetchone()
    assert before is not None
    owner.execute("SELECT catalog.apply_policy('cpu')")
    assert owner.execute(BODY).fetchone() == before


def test_it_goes_with_its_measurement(owner: psycopg.Connection) -> None:
    """Dropping a measurement drops it; one of the same name gets another."""
    owner.execute("SELECT catalog.drop_measurement('cpu')")
    assert owner.execute(BODY).fetchone() is None
    owner.execute("SELECT catalog.ensure_fields('cpu', '{other}')")
    assert owner.execute("SELECT count(other) FROM metrics.cpu_at('1h')").fetchone() == (0,)


@pytest.mark.parametrize("name", ["a" * 60, "a" * 61, "a" * 63, 'say "hi"; %I', "b_at"])
def test_any_measurement_can_be_made_and_dropped(owner: psycopg.Connection, name: str) -> None:
    """Also one whose name leaves no room for the function's, which then has none."""
    owner.execute("SELECT catalog.ensure_fields(%s, '{f}')", (name,))
    found = owner.execute("SELECT count(*) FROM pg_proc WHERE proname = %s", (f"{name}_at",)).fetchone()
    assert found == (len(name) <= 60,)
    owner.execute("SELECT catalog.drop_measurement(%s)", (name,))
    assert owner.execute("SELECT to_regclass(format('metrics.%%I', %s::text))", (name,)).fetchone() == (None,)


@pytest.mark.parametrize("question", QUESTIONS)
def test_a_question_that_waits_for_a_field_is_answered(owner: psycopg.Connection, database: str, question: str) -> None:
    """It began before the field was there, and goes on when it is: it gets its rows, and not a word of row types."""
    with (
        psycopg.connect(database) as growing,
        psycopg.connect(as_role(database, "query"), autocommit=True) as query,
        ThreadPoolExecutor() as pool,
    ):
        expected = len(query.execute(question.encode()).fetchall())
        growing.execute("SELECT catalog.ensure_fields('cpu', '{later}')")
        asked = pool.submit(lambda: query.execute(question.encode()).fetchall())
        deadline = time.monotonic() + DEADLINE_SECONDS
        while not owner.execute(WAITS, (query.info.backend_pid,)).fetchall():
            assert time.monotonic() < deadline
            time.sleep(POLL_SECONDS)
        growing.commit()
        assert len(asked.result(DEADLINE_SECONDS)) == expected


def test_readers_outlast_fields_that_come(owner: psycopg.Connection, database: str) -> None:
    """Who asks in a loop while thirty fields are added, each by itself, hears no error and misses no row."""
    done = threading.Event()

    def ask(question: str) -> set[int]:
        found = set()
        # Without prepared statements: those of SELECT * may not gain columns, whatever they read.
        with psycopg.connect(as_role(database, "query"), autocommit=True, prepare_threshold=None) as query:
            is_over = False
            while not is_over:
                is_over = done.is_set()  # who comes late asks once
                found.add(len(query.execute(question.encode()).fetchall()))
        return found

    with ThreadPoolExecutor(len(QUESTIONS)) as pool:
        asked = [pool.submit(ask, question) for question in QUESTIONS]
        try:
            for number in range(30):
                owner.execute("SELECT catalog.ensure_fields('cpu', ARRAY[%s])", (f"later_{number}",))
        finally:
            done.set()
        assert [one.result(DEADLINE_SECONDS) for one in asked] == [{2}, {180}, {1}]


@pytest.mark.parametrize("condition", ["true", "host = 'a'", "tags->>'host' = 'a' AND usage > 1"])
def test_the_view_costs_a_plan_nothing(owner: psycopg.Connection, condition: str) -> None:
    """It is named for its columns alone: with the fields in step it is not in the plan."""
    question = f"SELECT * FROM metrics.cpu_at('1h') WHERE time > now() - interval '5 min' AND {condition}"
    text = "\n".join(line for (line,) in owner.execute(f"EXPLAIN {question}".encode()).fetchall())
    assert "One-Time Filter" not in text
    assert "Left Join" not in text
    assert "Right Join" not in text
