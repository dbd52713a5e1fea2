"""Settings: typed fields read from the environment and the command line, one line of help each.

A process declares a subclass of `Settings`; every field is at once an environment variable (prefix and
name), a command-line flag and a line of `--help`. A field whose value must stay secret is a `SecretStr`.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, NoReturn, TypeVar, get_args

from pydantic import AfterValidator, BeforeValidator, ValidationError
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict, SettingsError

SettingsT = TypeVar("SettingsT", bound="Settings")

USER_OF_URL = re.compile(r"//[^/\s]*@")
"""Where a URL has a user's name and password: a value is told without them."""

KIBIBYTES = 1024
MEBIBYTES = 1024 * KIBIBYTES


def _split(value: Any) -> Any:
    return [word.strip() for word in value.split(",") if word.strip()] if isinstance(value, str) else value


Words = Annotated[list[str], NoDecode, BeforeValidator(_split)]
"""A setting that is a list, written `one,two,three`."""


def _a_host(value: str) -> str:
    try:
        value.encode("idna")
    except UnicodeError:
        raise ValueError("is neither an address nor the name of a host") from None
    return value


Host = Annotated[str, AfterValidator(_a_host)]
"""A setting that says where to listen: what no resolver could be asked about is refused."""


class Settings(BaseSettings):
    """The base of every process's settings."""

    model_config = SettingsConfigDict(
        cli_kebab_case=True,
        cli_hide_none_type=True,
        cli_implicit_flags=True,
        cli_ignore_unknown_args=False,
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
    )


def home() -> Path:
    """The folder that holds the embedded engine, its data and its addresses.

    `TIDEMARK_HOME` when set; else `/var/lib/tidemark` for root, because an unprivileged account must be able
    to reach it; else `$XDG_DATA_HOME/tidemark`, which is `~/.local/share/tidemark` unless changed.
    """
    if named := os.environ.get("TIDEMARK_HOME"):
        return Path(named).expanduser().resolve()
    if os.geteuid() == 0:
        return Path("/var/lib/tidemark")
    if base := os.environ.get("XDG_DATA_HOME"):
        return Path(base) / "tidemark"
    try:
        return Path.home() / ".local" / "share" / "tidemark"
    except RuntimeError:
        raise SystemExit("this account has no home folder: set TIDEMARK_HOME") from None


def addresses_file() -> Path:
    """Where the embedded engine leaves its addresses (`NAME=value` lines) for processes started beside it."""
    return home() / "database.env"


def addresses_in_use() -> Path | None:
    """That file, or None where the environment names a database."""
    named = any(name.endswith("DATABASE_URL") and value for name, value in os.environ.items())
    return None if named else addresses_file()


def read(cls: type[SettingsT], prog: str, argv: Sequence[str] | None = None) -> SettingsT:
    """Build `cls` from the command line, then the environment, then the embedded engine's addresses.

    The engine's addresses count only when the environment names no database at all, so that a
    `DATABASE_URL` of the user's is never mixed with the role addresses of an embedded engine.
    A value that does not fit ends the process with status 2 and one line for each fault.
    """
    options: dict[str, Any] = {
        "_cli_parse_args": list(sys.argv[1:] if argv is None else argv),
        "_cli_prog_name": prog,
        "_env_file": addresses_in_use(),
    }
    try:
        return cls(**options)
    except (ValidationError, SettingsError) as error:
        refuse(cls, prog, error)


def refuse(cls: type[Settings], prog: str, error: ValidationError | SettingsError) -> NoReturn:
    """Print what is wrong with which setting, and exit with status 2."""
    for line in faults(cls, error):
        sys.stderr.write(f"{prog}: {line}\n")
    raise SystemExit(2)


def faults(cls: type[Settings], error: ValidationError | SettingsError) -> list[str]:
    """One line for each setting that did not fit; values of secret settings are left out."""
    if isinstance(error, SettingsError):
        return [str(error)]
    lines = []
    for fault in error.errors():
        place = [str(part) for part in fault["loc"]]
        owner = cls
        while len(place) > 1 and (inner := _settings_within(owner, place[0])):
            owner, place = inner, place[1:]
        name = place[0] if place else "settings"
        variable = variable_of(owner, name)
        if fault["type"] == "missing":
            lines.append(f"{variable} is not set")
        elif is_secret(owner, name):
            lines.append(f"{variable}: {fault['msg']}")
        else:
            value = USER_OF_URL.sub("//...@", " ".join(str(fault["input"]).split()))
            lines.append(f"{variable}={value[:100]}: {fault['msg']}")
    return lines


def _settings_within(cls: type[Settings], name: str) -> type[Settings] | None:
    """The settings that the subcommand `name` of `cls` has; None when it is no subcommand."""
    field = cls.model_fields.get(name)
    choices = (field.annotation, *get_args(field.annotation)) if field else ()
    return next((choice for choice in choices if isinstance(choice, type) and issubclass(choice, Settings)), None)


def variable_of(cls: type[Settings], name: str) -> str:
    """The environment variable of the field `name` (or of the field that has that alias), or several."""
    prefix = cls.model_config.get("env_prefix", "")
    for field_name, field in cls.model_fields.items():
        alias = field.validation_alias
        aliases = [str(choice) for choice in getattr(alias, "choices", [alias])] if alias else []
        if aliases and name in (field_name, *aliases):
            return " or ".join(alias for alias in aliases if alias.isupper())
    return name if name.isupper() else f"{prefix}{name}".upper()


def is_secret(cls: type[Settings], name: str) -> bool:
    """Whether the field's value must not be printed."""
    field = cls.model_fields.get(name)
    return field is None or "SecretStr" in str(field.annotation)
