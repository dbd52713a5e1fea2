"""The settings of the database's commands: where the embedded one lives, and which one to use."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Annotated

import psycopg
from psycopg.conninfo import conninfo_to_dict
from pydantic import AfterValidator, Field, SecretStr
from pydantic_settings import SettingsConfigDict

from service import settings
from service.database_url import DatabaseUrl
from service.errors import TidemarkError
from service.settings import Host, Settings
from sql.addresses import ACCOUNTS, FILE, GRAFANA, VARIABLES, Role, as_role, kept
from sql.durations import KINDS


def _absolute(path: Path) -> Path:
    return path.expanduser().resolve()


def _with_known_parameters(value: SecretStr) -> SecretStr:
    try:
        conninfo_to_dict(value.get_secret_value())
    except psycopg.ProgrammingError:
        raise ValueError("has a parameter that PostgreSQL's client library does not know") from None
    return value


def _a_duration(name: str, value: str) -> str:
    if fault := KINDS[name].fault(value):
        raise ValueError(fault)
    return value


def _duration(name: str) -> AfterValidator:
    return AfterValidator(functools.partial(_a_duration, name))


class UnknownDatabaseError(TidemarkError):
    """Neither is a server named nor is there an embedded one; the message says what to do."""


Folder = Annotated[Path, AfterValidator(_absolute)]
Port = Annotated[int, Field(ge=1, le=65535)]
ServerUrl = Annotated[DatabaseUrl, AfterValidator(_with_known_parameters)]


class Home(Settings):
    """Where things are kept."""

    model_config = SettingsConfigDict(env_prefix="TIDEMARK_", env_ignore_empty=True)

    home: Folder = Field(
        default_factory=settings.home,
        description="folder of the embedded database: its data, its addresses, its engine",
    )


class Embedded(Home):
    """The embedded database."""

    engine: Folder | None = Field(
        None, description="folder of the private PostgreSQL; `engine` in the home folder unless set"
    )
    account: str | None = Field(
        None, description="account of the embedded database under root; `postgres` or `nobody` unless set"
    )
    database_port: Port = Field(55432, description="port of the embedded database")


class Server(Home):
    """The server in use: the user's own, else the embedded one."""

    database_url: ServerUrl | None = Field(
        None,
        validation_alias="DATABASE_URL",
        description="a server with TimescaleDB to use in place of the embedded one",
    )
    ingest_database_url: ServerUrl | None = Field(
        None, validation_alias="INGEST_DATABASE_URL", description="the same server with the rights of ingest"
    )
    query_database_url: ServerUrl | None = Field(
        None, validation_alias="QUERY_DATABASE_URL", description="the same server with the rights of query"
    )

    def named_urls(self) -> dict[str, str]:
        """The addresses that the user names, by their variables."""
        named: dict[Role, SecretStr | None] = {
            "owner": self.database_url,
            "ingest": self.ingest_database_url,
            "query": self.query_database_url,
        }
        return {VARIABLES[role]: url.get_secret_value() for role, url in named.items() if url is not None}

    def url(self, role: Role) -> str:
        """The address for `role`: its own, else the server's with that role taken on, else the embedded one's.

        Raises `UnknownDatabaseError` when there is none.
        """
        named = self.named_urls()
        if VARIABLES[role] in named:
            return named[VARIABLES[role]]
        if self.database_url is not None:
            return as_role(self.database_url.get_secret_value(), role)
        try:
            return kept(self.home / FILE)[VARIABLES[role]]
        except KeyError:
            raise UnknownDatabaseError(
                "no database is known here: start one with `make up` or `python -m sql serve`, or set DATABASE_URL"
            ) from None


class Defaults(Settings):
    """The policy of measurements for which nothing else is set."""

    model_config = SettingsConfigDict(env_prefix="TIDEMARK_", env_ignore_empty=True)

    chunk_interval: Annotated[str, _duration("chunk_interval")] = Field(
        "6h", description="length of a chunk, the unit that is compressed and dropped, unless a policy says otherwise"
    )
    compress_after: Annotated[str, _duration("compress_after")] = Field(
        "1h", description="age of a chunk at which it is compressed, or off"
    )
    retain_raw: Annotated[str, _duration("retain_raw")] = Field(
        "90d", description="how long points are kept, or forever"
    )
    rollup_10m: Annotated[str, _duration("rollup_10m")] = Field(
        "1y", description="how long the rollup of 10 minutes is kept, or forever, or off"
    )
    rollup_1h: Annotated[str, _duration("rollup_1h")] = Field(
        "5y", description="how long the rollup of an hour is kept, or forever, or off; off with that of 10 minutes"
    )

    def policy(self) -> dict[str, str]:
        """The values by name."""
        return {name: getattr(self, name) for name in KINDS}


class Maintenance(Defaults):
    """How the database is maintained."""

    maintain_seconds: float = Field(
        300.0, ge=1, le=86_400, description="time between two rounds that apply policies and drop what has expired"
    )


class Passwords(Settings):
    """What the services' roles and Grafana log in with, on a server of the user's."""

    model_config = SettingsConfigDict(env_prefix="TIDEMARK_", env_ignore_empty=True)

    ingest_password: SecretStr | None = Field(
        None, description="password to give the role tidemark_ingest; as it is unless set"
    )
    query_password: SecretStr | None = Field(
        None, description="password to give the role tidemark_query; as it is unless set"
    )

    grafana_password: SecretStr | None = Field(
        None, description="password to give the role grafana_reader; as it is unless set"
    )

    def passwords(self) -> dict[str, str]:
        """Those that are set, by account."""
        given = {
            ACCOUNTS["ingest"]: self.ingest_password,
            ACCOUNTS["query"]: self.query_password,
            GRAFANA: self.grafana_password,
        }
        return {account: password.get_secret_value() for account, password in given.items() if password is not None}


class Services(Server):
    """The processes beside the database, and how long they may take."""

    ingest_host: Host = Field("127.0.0.1", validation_alias="INGEST_HOST", description="address that ingest listens on")
    ingest_port: Port = Field(8086, validation_alias="INGEST_PORT", description="port of ingest")
    query_host: Host = Field("127.0.0.1", validation_alias="QUERY_HOST", description="address that query listens on")
    query_port: Port = Field(8080, validation_alias="QUERY_PORT", description="port of query")
    ready_seconds: float = Field(
        120.0, gt=0, description="time for the database and the services to become ready; then everything stops"
    )


class Stack(Maintenance, Embedded, Services):
    """All that `make up` runs."""
