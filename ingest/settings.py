"""The settings of ingest."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import AliasChoices, Field
from pydantic_settings import SettingsConfigDict

from service.database_url import DatabaseUrl
from service.logs import LogFormat
from service.settings import MEBIBYTES, Host, Settings, Words, home


class SpoolFolder(Settings):
    """Where the spool is."""

    model_config = SettingsConfigDict(env_prefix="INGEST_")

    spool_directory: Path = Field(
        default_factory=lambda: home() / "spool",
        description="folder of the spool of one database, on a disk that keeps; `spool` in TIDEMARK_HOME unless set",
    )


class IngestSettings(SpoolFolder):
    """Take metrics over HTTP and write them into TimescaleDB. See also: python -m ingest spool --help."""

    database_url: DatabaseUrl = Field(
        description="the database, as a postgresql:// URL",
        validation_alias=AliasChoices("INGEST_DATABASE_URL", "DATABASE_URL", "database_url"),
    )
    host: Host = Field("127.0.0.1", description="address to listen on")
    port: int = Field(8086, ge=0, le=65535, description="port to listen on")
    workers: int = Field(
        1, ge=1, le=64, description="processes that share the port; bounds on memory and connections are for each"
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="least level logged")
    log_format: LogFormat = Field("text", description="form of the log's lines")

    max_client_connections: int = Field(
        10_000,
        ge=1,
        description="connections of clients at a time to each worker, idle ones included; one more gets 503",
    )
    idle_seconds: float = Field(
        300.0, gt=0, description="time for the next head of a request on a connection; then it is closed"
    )
    max_body_bytes: int = Field(32 * MEBIBYTES, gt=0, description="largest body, decompressed; a larger one gets 413")
    body_timeout_seconds: float = Field(30.0, gt=0, description="time for a body to arrive; then 408")
    send_timeout_seconds: float = Field(
        30.0,
        gt=0,
        le=86_400,
        description="time for a client to take anything of its answer; then the connection is cut",
    )
    decode_seconds: float = Field(10.0, gt=0, description="processor time for a body to be read; then 413")
    max_pending_bytes: int = Field(
        128 * MEBIBYTES,
        gt=0,
        description="bytes each worker holds for requests until they are answered, or drained; past them 503",
    )
    max_batch_bytes: int = Field(
        8 * MEBIBYTES, gt=0, description="bytes of rows that one transaction takes, one request at least"
    )
    copiers: int = Field(2, ge=1, le=64, description="database connections of each worker that write")
    retry_seconds: float = Field(
        4.0, gt=0, description="how long a write is tried again while the database is away; then spool, or 503"
    )
    learn_seconds: float = Field(
        30.0, gt=0, description="time for a request's new series to be made, while some are; then spool, or 503"
    )
    split_seconds: float = Field(
        30.0, gt=0, description="time to change compressed data in portions, for one request; then spool, or 503"
    )
    statement_timeout_seconds: float = Field(60.0, gt=0, le=86_400, description="longest statement; it is tried again")
    connect_timeout_seconds: float = Field(5.0, gt=0, description="longest wait for a connection to be made")
    shutdown_seconds: float = Field(
        5.0, gt=0, description="time for requests under way to be answered after SIGTERM; longer than all retries"
    )

    spool: Literal["on", "off"] = Field("on", description="keep points on disk while the database is away; off: 503")
    spool_max_bytes: int = Field(
        1024 * MEBIBYTES,
        gt=0,
        description="bytes on disk that each worker's spool may take, what is set aside included; then 503",
    )
    spool_max_age_seconds: float = Field(
        3 * 86_400, gt=0, description="age of the oldest entry at which the spool takes no more; then 503"
    )
    spool_patience_seconds: float = Field(
        3600, gt=0, description="how long a spooled request is tried that the database refuses while it takes others"
    )

    max_fields_per_measurement: int = Field(
        1000, ge=1, le=1000, description="fields of a measurement; a point with one more is rejected"
    )
    max_shapes_per_request: int = Field(
        2000,
        ge=1,
        description="different sets of fields in a request, each of one measurement; a point of one more is rejected",
    )
    max_measurements: int = Field(
        10_000, ge=1, le=2**31 - 1, description="measurements; a point of one more is rejected"
    )
    max_tags_per_point: int = Field(64, ge=0, description="tags of a point; one with more is rejected")
    max_tag_bytes: int = Field(8192, ge=0, description="bytes of a point's tags; one with more is rejected")
    max_series: int = Field(
        10_000_000, ge=1, le=2**31 - 1, description="series in total; a point of one more is rejected"
    )
    max_new_series_per_minute: int = Field(
        300_000,
        ge=1,
        le=2**31 - 1,
        description="series made in a minute of the clock, by all of ingest together; a point of one more is rejected",
    )
    max_cache_bytes: int = Field(
        1536 * MEBIBYTES,
        gt=0,
        description="memory of each worker for the series it knows; half should hold those in use, 750 bytes each",
    )
    max_age_seconds: int = Field(
        20 * 365 * 86_400, gt=0, description="oldest time taken, before now; an older point is rejected"
    )
    max_ahead_seconds: int = Field(
        2 * 86_400, ge=0, description="furthest time taken, after now; a later point is rejected"
    )
    host_tags: Words = Field(
        ["host", "hostname", "host.name", "instance"],
        description="tags that fill a series' host, the first that it has, which may have 2,048 bytes",
    )
