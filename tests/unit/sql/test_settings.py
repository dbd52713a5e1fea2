from __future__ import annotations

from pathlib import Path

import pytest

from service.settings import read
from sql import addresses
from sql.settings import Embedded, Server, Services, Stack, UnknownDatabaseError


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("DATABASE_URL", "INGEST_DATABASE_URL", "QUERY_DATABASE_URL", "TIDEMARK_ENGINE", "TIDEMARK_ACCOUNT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TIDEMARK_HOME", str(tmp_path))


def test_a_setting_is_a_variable_and_an_option(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The option wins; what is empty counts as not set; a folder is made absolute."""
    monkeypatch.setenv("TIDEMARK_DATABASE_PORT", "6000")
    monkeypatch.setenv("TIDEMARK_ENGINE", "")
    monkeypatch.chdir(tmp_path)
    settings = read(Embedded, "prog", ["--home", "here"])
    assert settings.database_port == 6000
    assert settings.engine is None
    assert settings.home == tmp_path / "here"
    assert read(Embedded, "prog", ["--database-port", "6001"]).database_port == 6001


def test_everything_has_a_description() -> None:
    """--help says of every setting what it is."""
    for cls in (Embedded, Server, Services, Stack):
        for name, field in cls.model_fields.items():
            assert field.description, name


def test_the_users_server_comes_first(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A role's own address, else the server's with the role taken on, else the embedded database's."""
    embedded = addresses.create(5000)
    addresses.save(embedded, tmp_path / addresses.FILE)
    assert read(Server, "prog", []).url("query") == embedded.url("query")

    monkeypatch.setenv("DATABASE_URL", "postgresql://me@db/metrics")
    named = read(Server, "prog", [])
    assert named.url("owner") == "postgresql://me@db/metrics"
    assert named.url("query") == addresses.as_role("postgresql://me@db/metrics", "query")

    monkeypatch.setenv("QUERY_DATABASE_URL", "postgresql://reader@db/metrics")
    assert read(Server, "prog", []).url("query") == "postgresql://reader@db/metrics"
    assert read(Server, "prog", []).named_urls().keys() == {"DATABASE_URL", "QUERY_DATABASE_URL"}


def test_without_any_server(tmp_path: Path) -> None:
    """The error says what to do."""
    with pytest.raises(UnknownDatabaseError, match=r"`make up` or `python -m sql serve`, or set DATABASE_URL"):
        read(Server, "prog", []).url("owner")


@pytest.mark.parametrize(
    "address",
    [
        "mysql://me:secret@db/x",
        "host=db password=secret",
        "postgresql://me:secret@db:port/x",
        "postgresql://me:secret@[db/x",
        "postgresql://me:oh@secret@db/x",
        "postgresql://me:oh/secret@db/x",
    ],
)
def test_what_is_no_address_is_refused_unseen(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], address: str
) -> None:
    """The line names the setting and the form that is wanted, and does not repeat what may be a password."""
    monkeypatch.setenv("DATABASE_URL", address)
    with pytest.raises(SystemExit):
        read(Server, "prog", [])
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("prog: DATABASE_URL: ")
    assert "is not of the form postgresql://user:password@host:port/database, with signs such as @ / ? # %" in line
    assert "secret" not in line


def test_an_unknown_parameter_of_an_address_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As one that is misspelt would be; several hosts may be named."""
    monkeypatch.setenv("DATABASE_URL", "postgresql://me:secret@one:5432,two:5432/x?target_session_attrs=read-write")
    assert read(Server, "prog", []).url("owner").startswith("postgresql://me:secret@one:5432,two")
    monkeypatch.setenv("DATABASE_URL", "postgresql://me:secret@db/x?sslmod=disable")
    with pytest.raises(SystemExit):
        read(Server, "prog", [])
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith("has a parameter that PostgreSQL's client library does not know")
    assert "secret" not in line


@pytest.mark.parametrize("port", ["0", "65536", "http", "-1"])
def test_a_port_is_a_port(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], port: str) -> None:
    """The line names the setting and its value."""
    monkeypatch.setenv("TIDEMARK_DATABASE_PORT", port)
    with pytest.raises(SystemExit):
        read(Embedded, "prog", [])
    assert capsys.readouterr().err.startswith(f"prog: TIDEMARK_DATABASE_PORT={port}: ")
