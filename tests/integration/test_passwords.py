"""The passwords that migrate gives: they work, they are never shown, and their lack of right is one clear line."""

from __future__ import annotations

from urllib.parse import urlsplit

import psycopg
import pytest

from sql.addresses import as_role
from sql.passwords import PasswordError, give
from tests.conftest import Commands

WORD = "a word of Jos\u00e9's, 100 %"


def test_a_role_logs_in_with_what_it_was_given(commands: Commands) -> None:
    """The password is taken as it is, and neither the server's log nor its table of roles has it."""
    serving = commands.start("sql", "serve")
    serving.until("the database answers")
    owner = commands.run("sql", "url").stdout.strip()
    assert commands.run("sql", "migrate").returncode == 0
    with psycopg.connect(owner, autocommit=True) as connection:
        connection.execute("ALTER SYSTEM SET log_statement = 'all'")
        connection.execute("SELECT pg_reload_conf()")
    migrated = commands.run("sql", "migrate", env={**commands.environment, "TIDEMARK_QUERY_PASSWORD": WORD})
    assert migrated.returncode == 0, migrated.stderr
    address = urlsplit(owner)
    with psycopg.connect(
        host=address.hostname, port=address.port, user="tidemark_query", password=WORD, dbname="tidemark"
    ) as connection:
        assert connection.execute("SELECT current_user").fetchone() == ("tidemark_query",)
    assert "ALTER ROLE" in serving.text()
    assert WORD not in serving.text() + migrated.stdout + migrated.stderr


def test_an_owner_who_may_not(database: str) -> None:
    """It is told so, and what to do."""
    with pytest.raises(PasswordError, match="may not give the role tidemark_ingest a password: have a superuser"):
        give(as_role(database, "query"), {"tidemark_ingest": WORD})


def test_a_role_that_could_not_be_made(database: str) -> None:
    """Its password is refused with the statement that makes it."""
    with pytest.raises(PasswordError, match="CREATE ROLE grafana_lost LOGIN IN ROLE tidemark_query"):
        give(database, {"grafana_lost": WORD})
