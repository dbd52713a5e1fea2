"""The settings of query."""

from __future__ import annotations

from typing import Literal

from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict
from pydantic import AliasChoices, Field, SecretStr, field_validator
from pydantic_settings import SettingsConfigDict
from redis.asyncio.connection import parse_url

from service.database_url import FORM, is_database_url
from service.logs import LogFormat
from service.settings import KIBIBYTES, MEBIBYTES, Host, Settings


class QuerySettings(Settings):
    """Answer questions about metrics over HTTP, from TimescaleDB."""

    model_config = SettingsConfigDict(env_prefix="QUERY_")

    database_url: SecretStr = Field(
        description="the database, as a postgresql:// URL",
        validation_alias=AliasChoices("QUERY_DATABASE_URL", "DATABASE_URL", "database_url"),
    )
    replica_url: SecretStr | None = Field(
        None, description="a streaming replica of the database to read from, as a postgresql:// URL"
    )
    replica_max_lag_seconds: float = Field(
        5.0, ge=2, description="how far the replica may be behind; further behind, the primary is read"
    )
    replica_wait_seconds: float = Field(
        0.1, ge=0, description="longest wait for the replica to reach a position asked for; then the primary is read"
    )
    host: Host = Field("127.0.0.1", description="address to listen on")
    port: int = Field(8080, ge=0, le=65535, description="port to listen on")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="least level logged")
    log_format: LogFormat = Field("text", description="form of the log's lines")

    connections: int = Field(8, ge=1, le=1000, description="database connections: statements that run at the same time")
    prepared_statements: int = Field(
        25,
        ge=0,
        le=1000,
        description="statements about few hosts whose plans each connection keeps, up to 1 MB each, more with chunks "
        "shorter than 6h; 0: none, as for a pooler that lends connections by the statement",
    )
    max_client_connections: int = Field(
        10_000, ge=1, description="connections of clients at a time, idle ones included; one more gets 503"
    )
    idle_seconds: float = Field(
        120.0, gt=0, description="time for the next head of a request on a connection; then it is closed"
    )
    max_waiting: int = Field(
        100, ge=1, description="requests that may wait for a connection; one more gets 503 at once"
    )
    wait_seconds: float = Field(5.0, gt=0, description="longest wait of a request for a connection; then it gets 503")
    client_share: float = Field(
        0.75,
        gt=0,
        le=1,
        description="share of connections, of both kinds, and of places to wait that one client, an address, may have; "
        "1: all",
    )
    statement_timeout_seconds: float = Field(
        30.0, ge=0.01, le=86_400, description="longest statement; a request that needs longer is refused"
    )
    connect_timeout_seconds: int = Field(
        5, ge=2, le=86_400, description="longest wait for a connection to be made, in whole seconds"
    )
    shutdown_seconds: float = Field(
        4.0, gt=0, description="time for requests under way to be answered after SIGTERM; then they are cancelled"
    )

    storage_seconds: float = Field(
        60.0, ge=1, le=86_400, description="time between two looks at what is stored and how the database's jobs do"
    )
    send_timeout_seconds: float = Field(
        30.0,
        gt=0,
        le=86_400,
        description="time for a client to take the next 64 KiB of its answer, or anything of the last; then the "
        "connection is cut",
    )
    max_held_bytes: int = Field(
        16 * MEBIBYTES,
        ge=0,
        description="bytes of an answer made before any is sent: up to there an error has a status of its own",
    )
    max_all_held_bytes: int = Field(
        256 * MEBIBYTES,
        ge=0,
        description="the same of all answers that are made or being sent; past them, what is made is sent at once",
    )

    cache: Literal["on", "off"] = Field("on", description="keep what was computed of windows that are over")
    cache_url: SecretStr | None = Field(
        None, description="keep it in Redis, as a redis:// URL; in memory unless set, each process for itself"
    )
    cache_max_bytes: int = Field(
        64 * MEBIBYTES, gt=0, description="memory for what is kept; what was unused for longest leaves"
    )
    cache_max_age_seconds: float = Field(
        600.0,
        ge=1,
        le=43_200,
        description="how long it is used; points written around ingest, in SQL, are seen after that at the latest",
    )
    cache_settle_seconds: float = Field(
        60.0,
        ge=60,
        le=86_400,
        description="how long a window must be over to be kept; of points that come later notes are made",
    )
    cache_min_seconds: float = Field(
        0.001,
        ge=0,
        description="answers that take less to compute are not kept; of 50 windows twice as much, and so on",
    )
    cache_max_rows: int = Field(50_000, ge=1, description="rows of an answer; one with more is not kept")
    cache_max_windows: int = Field(5000, ge=1, description="windows of an answer; one with more is not kept")
    cache_timeout_seconds: float = Field(
        0.05, gt=0, description="longest wait for Redis; then it is left alone for a while"
    )

    body_timeout_seconds: float = Field(10.0, gt=0, description="time for a request's body to arrive; then 408")
    max_body_bytes: int = Field(256 * KIBIBYTES, gt=0, description="largest body, decompressed; a larger one gets 413")
    max_url_bytes: int = Field(
        32 * KIBIBYTES,
        ge=1024,
        le=16 * MEBIBYTES,
        description="longest URL; a longer one gets 400, and fits into the body of a POST",
    )
    lookback_seconds: float = Field(
        300.0,
        ge=0,
        le=86_400,
        description="how long before start the point before a series' first is looked for, by rate, increase and delta",
    )
    max_values: int = Field(
        250_000, ge=1, le=2**31 - 1, description="numbers in an answer: points times pairs of metric and fn"
    )
    max_series: int = Field(10_000, ge=1, le=2**31 - 1, description="series in an answer, or in a page of it")
    max_names: int = Field(
        10_000,
        ge=1,
        le=2**31 - 1,
        description="entries in a list, or in a page of it: of measurements, fields, tags, values or hosts",
    )
    max_measurements: int = Field(
        200, ge=1, le=2**31 - 1, description="measurements whose points a list may have to look for"
    )
    max_columns: int = Field(
        100, ge=1, le=200, description="pairs of metric and fn in a request, or metrics, or conditions"
    )
    max_tags: int = Field(20, ge=1, le=1000, description="tags in by, and matchers in match, each")
    max_tag_bytes: int = Field(
        4096, ge=1, description="length of one tag in by, one matcher, or a text to search, in UTF-8"
    )

    @field_validator("cache_url")
    @classmethod
    def _is_redis(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            try:
                parse_url(value.get_secret_value())
            except ValueError:
                raise ValueError(
                    "not of the form redis://user:password@host:port/0 (rediss:// and unix:// too)"
                ) from None
        return value

    @field_validator("database_url", "replica_url")
    @classmethod
    def _is_an_address(cls, value: SecretStr | None) -> SecretStr | None:
        """A URL, or key=value pairs, as PostgreSQL's client library takes them."""
        if value is None:
            return None
        text = value.get_secret_value()
        try:
            understood = bool(conninfo_to_dict(text))
        except ProgrammingError:
            # The driver's own message may repeat a part of the address, and so of its password.
            understood = False
        if not understood or ("://" in text and not is_database_url(text)):
            raise ValueError(f"is not of the form {FORM}")
        return value
