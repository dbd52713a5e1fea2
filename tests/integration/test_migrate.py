"""Migrations on the real server: each once, in order, undone when they fail, by any number at once."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from sql import migrate as module
from sql.addresses import as_role
from sql.migrate import Migration, MigrationError, migrate, migrations
from tests.conftest import DEADLINE_SECONDS, Commands

OBJECTS = """
    SELECT n.nspname, c.relname, c.relkind::text, c.oid FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname IN ('catalog', 'points', 'metrics')
    UNION ALL
    SELECT n.nspname, p.proname, 'function', p.oid FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
    WHERE n.nspname IN ('catalog', 'points', 'metrics')
"""


def rows(url: str, statement: str) -> list[tuple[Any, ...]]:
    """What `statement` finds."""
    with psycopg.connect(url) as connection:
        return connection.execute(statement.encode()).fetchall()


def test_a_fresh_database_gets_every_file_once(empty_database: str) -> None:
    """All files are applied in order, the ledger has each with its checksum, and the edition is told."""
    outcome = migrate(empty_database)
    files = migrations()
    assert outcome.applied == tuple(file.name for file in files)
    assert outcome.version == len(files)
    assert outcome.edition["edition"] in ("apache", "community")
    ((installed,),) = rows(empty_database, "SELECT extversion FROM pg_extension WHERE extname = 'timescaledb'")
    assert outcome.edition["timescaledb"] == installed
    ledger = rows(empty_database, "SELECT number, name, checksum FROM catalog.migration ORDER BY number")
    assert ledger == [(file.number, file.name, file.checksum) for file in files]


def test_a_second_run_changes_nothing(empty_database: str) -> None:
    """It applies no file, and every object is the same one as before."""
    migrate(empty_database)
    before = sorted(rows(empty_database, OBJECTS))
    ledger = rows(empty_database, "TABLE catalog.migration")
    outcome = migrate(empty_database)
    assert outcome.applied == ()
    assert outcome.version == len(migrations())
    assert sorted(rows(empty_database, OBJECTS)) == before
    assert rows(empty_database, "TABLE catalog.migration") == ledger


def test_several_at_once(empty_database: str, commands: Commands) -> None:
    """Of several processes that migrate at the same time each succeeds, and each file is applied by one of them."""
    commands.environment["DATABASE_URL"] = empty_database
    started = [commands.start("sql", "migrate") for _ in range(4)]
    assert [running.process.wait(DEADLINE_SECONDS) for running in started] == [0, 0, 0, 0]
    printed = "".join(running.text() for running in started)
    for file in migrations():
        assert printed.count(f"applied {file.name}") == 1
    assert rows(empty_database, "SELECT count(*) FROM catalog.migration") == [(len(migrations()),)]


def test_a_changed_file_is_refused(empty_database: str) -> None:
    """A file that differs from what was applied is named, and nothing is done."""
    migrate(empty_database)
    rows(empty_database, "UPDATE catalog.migration SET checksum = 'another' WHERE number = 2 RETURNING 1")
    with pytest.raises(MigrationError, match=r"^0002_create_roles\.sql has changed since it was applied"):
        migrate(empty_database)


def test_a_failing_file_is_undone(empty_database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of a file that fails stays, the files before it do, and a mended one is applied later."""
    files = migrations()
    number = len(files) + 1
    broken = Migration(number, f"{number:04}_break.sql", "CREATE TABLE catalog.half (); SELECT 1 / 0;")
    monkeypatch.setattr(module, "migrations", lambda: [*files, broken])
    with pytest.raises(MigrationError, match=rf"^{broken.name} failed and was undone: division by zero$"):
        migrate(empty_database)
    assert rows(empty_database, "SELECT to_regclass('catalog.half'), max(number) FROM catalog.migration") == [
        (None, len(files))
    ]
    mended = Migration(number, broken.name, "CREATE TABLE catalog.half ();")
    monkeypatch.setattr(module, "migrations", lambda: [*files, mended])
    assert migrate(empty_database).applied == (mended.name,)


def test_a_right_that_is_missing_is_told_with_a_remedy(empty_database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of an account that may make no roles."""
    refused = Migration(1, "0001_make.sql", "CREATE ROLE made_by_nobody; SET ROLE made_by_nobody; CREATE ROLE another;")
    monkeypatch.setattr(module, "migrations", lambda: [refused])
    with pytest.raises(MigrationError, match="permission denied to create role: the account needs CREATEROLE, or"):
        migrate(empty_database)
    assert rows(empty_database, "SELECT FROM pg_roles WHERE rolname = 'made_by_nobody'") == []


def test_a_database_that_is_ahead_is_left_alone(empty_database: str) -> None:
    """Older code runs beside a newer schema: a migration works while the old code still runs."""
    migrate(empty_database)
    rows(empty_database, "INSERT INTO catalog.migration VALUES (9999, '9999_from_later.sql', 'x') RETURNING 1")
    outcome = migrate(empty_database)
    assert outcome.applied == ()
    assert outcome.version == 9999


def test_a_schema_with_data_is_brought_up_to_date(empty_database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """From each version that can hold points to the newest: what is stored stays, and code of that version goes on."""
    files = migrations()
    monkeypatch.setattr(module, "migrations", lambda: files[:3])
    migrate(empty_database)
    grow = """
        SELECT catalog.ensure_fields('m', '{f}', 10, 10);
        SELECT catalog.ensure_series('m', ARRAY['{"host": "a"}', '{"host": "b"}']::jsonb[], '{host}', 1000000);
        INSERT INTO points.m (time, series_id, f) SELECT now(), id, id FROM catalog.series
        ON CONFLICT DO NOTHING RETURNING f
    """
    with psycopg.connect(empty_database) as connection:
        connection.execute(grow.encode())
    for number in range(4, len(files) + 1):
        monkeypatch.setattr(module, "migrations", lambda number=number: files[:number])
        assert migrate(empty_database).applied == (files[number - 1].name,)
        with psycopg.connect(empty_database) as connection:
            connection.execute(grow.encode())
    assert rows(empty_database, "SELECT host, min(f), max(f), count(*) FROM metrics.m GROUP BY host ORDER BY host") == [
        ("a", 1.0, 1.0, len(files) - 2),
        ("b", 2.0, 2.0, len(files) - 2),
    ]


def test_without_the_right_to_make_timescaledb(template: str, empty_database: str) -> None:
    """A role that may not create the extension is told who may."""
    with pytest.raises(MigrationError, match="run CREATE EXTENSION timescaledb as a superuser once"):
        migrate(as_role(empty_database, "query"))


def test_the_command_tells_what_it_did(empty_database: str, commands: Commands) -> None:
    """The files applied, the version, and what the server is; then that there was nothing to do."""
    commands.environment["DATABASE_URL"] = empty_database
    first, second = (commands.run("sql", "migrate") for _ in range(2))
    applied = [f"applied {file.name}" for file in migrations()]
    assert first.returncode == second.returncode == 0
    assert first.stdout.splitlines()[:-1] == [*applied, f"the schema is at version {len(applied)}"]
    assert first.stdout.splitlines()[-1].startswith("TimescaleDB ")
    assert second.stdout.splitlines()[0] == f"the schema is at version {len(applied)}"


def test_the_command_without_a_database(commands: Commands, free_port: int) -> None:
    """No database, none that answers, and an address that is none: one line each, and never the password."""
    unknown = commands.run("sql", "migrate")
    assert unknown.returncode == 1
    assert unknown.stderr.startswith("python -m sql: no database is known here: start one with `make up`")
    for address, status, reason in (
        (f"postgresql://me:secret@127.0.0.1:{free_port}/db", 1, "the database does not answer: "),
        ("postgresql://me:secret@127.0.0.1:port/db", 2, "DATABASE_URL: "),
        ("mysql://me:secret@127.0.0.1/db", 2, "DATABASE_URL: "),
    ):
        done = commands.run("sql", "migrate", env={**commands.environment, "DATABASE_URL": address})
        assert done.returncode == status, done.stderr
        (line,) = done.stderr.splitlines()
        assert line.startswith(f"python -m sql: {reason}")
        assert "secret" not in line


def test_a_server_without_pg_trgm_is_migrated_with_a_warning(
    empty_database: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where the extension may not be created the schema is complete all the same, and what is lost is told once."""
    with psycopg.connect(empty_database) as connection:
        connection.execute("CREATE EXTENSION timescaledb")
        connection.execute(
            """
            CREATE FUNCTION public.refuse() RETURNS event_trigger LANGUAGE plpgsql AS $$
            BEGIN
                IF current_query() LIKE '%pg_trgm%' THEN
                    RAISE insufficient_privilege USING MESSAGE = 'not here';
                END IF;
            END $$;
            CREATE EVENT TRIGGER refuse ON ddl_command_start WHEN TAG IN ('CREATE EXTENSION')
            EXECUTE FUNCTION public.refuse();
            """
        )
    assert migrate(empty_database).version == len(migrations())
    printed = capsys.readouterr()
    (warning,) = [line for line in (printed.out + printed.err).splitlines() if "pg_trgm" in line]
    assert "not here" in warning
    assert "CREATE EXTENSION pg_trgm" in warning
