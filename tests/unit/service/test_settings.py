"""Settings: where they come from, and what is said of those that do not fit."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from pydantic import AliasChoices, Field, SecretStr
from pydantic_settings import SettingsConfigDict

from service.settings import Host, Settings, Words, home, read, variable_of


class Example(Settings):
    """An example."""

    model_config = SettingsConfigDict(env_prefix="EXAMPLE_")

    database_url: SecretStr = Field(
        description="the database",
        validation_alias=AliasChoices("EXAMPLE_DATABASE_URL", "DATABASE_URL", "database_url"),
    )
    port: int = Field(8086, ge=0, le=65535, description="a port")
    token: SecretStr = Field(SecretStr(""), max_length=5, description="a secret")
    hosts: Words = Field(["a"], description="a list")
    host: Host = Field("127.0.0.1", description="a place to listen")


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No settings but the test's own, and no embedded engine."""
    for name in os.environ:
        if name.upper().endswith("DATABASE_URL") or name.startswith("EXAMPLE_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("TIDEMARK_HOME", str(tmp_path))


def embedded(home: Path, text: str) -> None:
    """Leave addresses as the embedded engine does."""
    (home / "database.env").write_text(text, encoding="utf-8")


def refusals(capsys: pytest.CaptureFixture[str], *argv: str) -> list[str]:
    """The lines printed when the settings do not fit."""
    with pytest.raises(SystemExit) as ended:
        read(Example, "example", argv)
    assert ended.value.code == 2
    return capsys.readouterr().err.splitlines()


def url_of(settings: Example) -> str:
    """The database's address."""
    return settings.database_url.get_secret_value()


def test_the_command_line_comes_before_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """A flag wins over a variable, and a variable over the default."""
    monkeypatch.setenv("DATABASE_URL", "postgresql://a")
    monkeypatch.setenv("EXAMPLE_PORT", "1")
    assert read(Example, "example", []).port == 1
    assert read(Example, "example", ["--port", "2"]).port == 2
    monkeypatch.delenv("EXAMPLE_PORT")
    assert read(Example, "example", []).port == 8086


def test_the_process_own_database_comes_before_the_common_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """The variable with the prefix is the more precise."""
    monkeypatch.setenv("DATABASE_URL", "postgresql://common")
    assert url_of(read(Example, "example", [])) == "postgresql://common"
    monkeypatch.setenv("EXAMPLE_DATABASE_URL", "postgresql://own")
    assert url_of(read(Example, "example", [])) == "postgresql://own"


def test_the_embedded_engine_counts_when_no_database_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Its addresses are used as a whole or not at all; an empty variable names nothing."""
    embedded(tmp_path, "DATABASE_URL=postgresql://engine\nEXAMPLE_DATABASE_URL=postgresql://role@engine\nOTHER=1\n")
    assert url_of(read(Example, "example", [])) == "postgresql://role@engine"
    monkeypatch.setenv("DATABASE_URL", "")
    assert url_of(read(Example, "example", [])) == "postgresql://role@engine"
    monkeypatch.setenv("DATABASE_URL", "postgresql://mine")
    assert url_of(read(Example, "example", [])) == "postgresql://mine"


def test_a_missing_setting_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    """With every variable that could give it."""
    assert refusals(capsys) == ["example: EXAMPLE_DATABASE_URL or DATABASE_URL is not set"]


@pytest.mark.parametrize(
    ("variable", "value", "line"),
    [
        ("EXAMPLE_PORT", "abc", "EXAMPLE_PORT=abc: Input should be a valid integer"),
        ("EXAMPLE_PORT", "70000", "EXAMPLE_PORT=70000: Input should be less than or equal to 65535"),
        ("EXAMPLE_PORT", "a\nb", "EXAMPLE_PORT=a b: Input should be a valid integer"),
        ("EXAMPLE_PORT", "9" * 10_000, "EXAMPLE_PORT=999"),
        ("EXAMPLE_PORT", "http://me:secret!@host/x", "EXAMPLE_PORT=http://...@host/x: Input should be a valid integer"),
        ("EXAMPLE_HOST", "127..0.1", "EXAMPLE_HOST=127..0.1: Value error, is neither an address nor"),
        ("EXAMPLE_TOKEN", "secret!", "EXAMPLE_TOKEN: Value should have at most 5 items"),
    ],
)
def test_a_bad_value_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], variable: str, value: str, line: str
) -> None:
    """The line names the variable and what is wrong, and never shows a secret."""
    monkeypatch.setenv("DATABASE_URL", "postgresql://u:password@host/")
    monkeypatch.setenv(variable, value)
    (told,) = refusals(capsys)
    assert told.startswith(f"example: {line}")
    assert len(told) < 300
    assert not any(secret in told for secret in ("password", "secret!"))


def test_every_bad_value_is_told(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A line for each fault, so that one try tells them all; a flag is told by its variable."""
    monkeypatch.setenv("EXAMPLE_TOKEN", "secret!")
    assert [line.split(":")[1].split("=")[0] for line in refusals(capsys, "--port", "x")] == [
        " EXAMPLE_DATABASE_URL or DATABASE_URL is not set",
        " EXAMPLE_PORT",
        " EXAMPLE_TOKEN",
    ]


@pytest.mark.parametrize("written", ["a,b", " a , b ,", "a,,b"])
def test_a_list_is_written_with_commas(monkeypatch: pytest.MonkeyPatch, written: str) -> None:
    """In the environment and as a flag."""
    monkeypatch.setenv("DATABASE_URL", "postgresql://a")
    monkeypatch.setenv("EXAMPLE_HOSTS", written)
    assert read(Example, "example", []).hosts == ["a", "b"]
    assert read(Example, "example", ["--hosts", "c,d"]).hosts == ["c", "d"]


def test_help_shows_every_setting(capsys: pytest.CaptureFixture[str]) -> None:
    """Each field is a flag with its line of help."""
    with pytest.raises(SystemExit) as ended:
        read(Example, "example", ["--help"])
    shown = capsys.readouterr().out
    assert ended.value.code == 0
    assert all(text in shown for text in ("--database-url", "--port", "a port", "8086", "--hosts"))


def test_an_unknown_flag_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """A flag that is not known may be one misspelt."""
    assert refusals(capsys, "--prot", "1")[-1].endswith("error: unrecognized arguments: --prot 1")


def test_secrets_are_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever prints the settings prints no secret."""
    monkeypatch.setenv("DATABASE_URL", "postgresql://u:password@host/")
    assert "password" not in repr(read(Example, "example", []))


def test_variables_are_told_by_field() -> None:
    """The variable of a field, or of one of its aliases."""
    assert variable_of(Example, "port") == "EXAMPLE_PORT"
    assert variable_of(Example, "database_url") == variable_of(Example, "DATABASE_URL")
    assert variable_of(Example, "database_url") == "EXAMPLE_DATABASE_URL or DATABASE_URL"


def test_home_is_where_it_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """TIDEMARK_HOME first; else a place that suits the account."""
    assert home() == tmp_path
    monkeypatch.delenv("TIDEMARK_HOME")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert home() == Path("/var/lib/tidemark")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setenv("XDG_DATA_HOME", "/data")
    assert home() == Path("/data/tidemark")
    monkeypatch.delenv("XDG_DATA_HOME")
    monkeypatch.setenv("HOME", "/home/somebody")
    assert home() == Path("/home/somebody/.local/share/tidemark")
