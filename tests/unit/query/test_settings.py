from __future__ import annotations

import pytest
from psycopg.conninfo import conninfo_to_dict
from pydantic import SecretStr

from query.database import conninfo
from query.settings import QuerySettings
from service.settings import read

PROG = "python -m query"


@pytest.fixture(autouse=True)
def no_database(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    """An environment that names no database."""
    for name in ("QUERY_DATABASE_URL", "DATABASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TIDEMARK_HOME", str(tmp_path))


def test_the_own_variable_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """QUERY_DATABASE_URL is meant for this process alone, and wins over DATABASE_URL."""
    monkeypatch.setenv("DATABASE_URL", "postgresql:///both")
    assert read(QuerySettings, PROG, []).database_url.get_secret_value() == "postgresql:///both"
    monkeypatch.setenv("QUERY_DATABASE_URL", "postgresql:///query")
    assert read(QuerySettings, PROG, []).database_url.get_secret_value() == "postgresql:///query"


def test_no_database_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """Without a database the process ends with status 2 and one line that says what to set."""
    with pytest.raises(SystemExit) as stop:
        read(QuerySettings, PROG, [])
    assert stop.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"{PROG}: ")
    assert "DATABASE_URL" in line


def test_a_bad_address_is_refused_without_being_shown(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An address that cannot be read ends the process, and its password is not in the message."""
    monkeypatch.setenv("DATABASE_URL", "host=x password hunter2")
    with pytest.raises(SystemExit):
        read(QuerySettings, PROG, [])
    error = capsys.readouterr().err
    assert "is not of the form postgresql://" in error
    assert "hunter2" not in error


@pytest.mark.parametrize(
    ("variable", "value", "words"),
    [
        ("QUERY_REPLICA_URL", "host=x password hunter2", "is not of the form postgresql://"),
        ("QUERY_REPLICA_URL", "postgresql://me:oh@hunter2@x/y", "is not of the form postgresql://"),
        ("QUERY_REPLICA_URL", "postgresql://me:hunter2@x/y?hunter2=1", "is not of the form postgresql://"),
        ("QUERY_REPLICA_URL", " ", "is not of the form postgresql://"),
        ("QUERY_CACHE_URL", "http://:hunter2@x/0", "not of the form redis://"),
        ("QUERY_CACHE_URL", "redis://:hunter2@x:port/0", "not of the form redis://"),
    ],
)
def test_other_bad_addresses_are_refused_likewise(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], variable: str, value: str, words: str
) -> None:
    """Of the replica and of Redis: the variable is named, and nothing of the password."""
    monkeypatch.setenv("DATABASE_URL", "postgresql:///x")
    monkeypatch.setenv(variable, value)
    with pytest.raises(SystemExit):
        read(QuerySettings, PROG, [])
    error = capsys.readouterr().err
    assert f"{variable}: " in error
    assert words in error
    assert "hunter2" not in error


def test_every_setting_is_documented() -> None:
    """Each setting has a line that says what it bounds or names."""
    assert [name for name, field in QuerySettings.model_fields.items() if not field.description] == []


def test_a_connection_starts_with_the_role_and_the_bounds() -> None:
    """The address is kept, its own options too, and what query needs is added."""
    settings = QuerySettings(
        database_url=SecretStr("postgresql://me:secret@db:5433/metrics?options=-c%20work_mem%3D64MB&connect_timeout=9"),
        statement_timeout_seconds=1.5,
    )
    made = conninfo_to_dict(conninfo(settings.database_url, settings))
    assert (made["user"], made["password"], made["host"], made["dbname"]) == ("me", "secret", "db", "metrics")
    assert made["connect_timeout"] == "9"
    options = str(made["options"])
    assert options.startswith("-c work_mem=64MB -c role=tidemark_query ")
    for option in ("search_path=metrics,public", "statement_timeout=1500", "default_transaction_read_only=on"):
        assert f"-c {option}" in options


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("QUERY_CACHE_SETTLE_SECONDS", "inf"),
        ("QUERY_MAX_VALUES", "2147483648"),
        ("QUERY_MAX_SERIES", "2147483648"),
        ("QUERY_MAX_NAMES", "2147483648"),
        ("QUERY_MAX_MEASUREMENTS", "2147483648"),
        ("QUERY_CONNECT_TIMEOUT_SECONDS", "86401"),
        ("QUERY_MAX_URL_BYTES", "99999999999999999999"),
    ],
)
def test_what_no_statement_could_take_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], variable: str, value: str
) -> None:
    """Every question would fail, for a reason that is not its own."""
    monkeypatch.setenv("DATABASE_URL", "postgresql:///x")
    monkeypatch.setenv(variable, value)
    with pytest.raises(SystemExit):
        read(QuerySettings, PROG, [])
    assert f"{variable}={value}: Input should be less than or equal to " in capsys.readouterr().err
