"""What can be changed about the agent, by environment (`AGENT_...`) or command line."""

from __future__ import annotations

import socket
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, HttpUrl, ValidationError
from pydantic_settings import NoDecode, SettingsConfigDict
from yarl import URL

from service.logs import LogFormat
from service.settings import KIBIBYTES, MEBIBYTES, Settings, Words


def _pairs(value: Any) -> Any:
    """`key=value,key=value` as a mapping; anything else is left to the type's own check."""
    if not isinstance(value, str):
        return value
    pairs = [part.partition("=") for part in value.split(",") if part.strip()]
    if any(not (key.strip() and equals and text.strip()) for key, equals, text in pairs):
        raise ValueError("expected key=value,key=value with no key and no value empty")
    return {key.strip(): text.strip() for key, _, text in pairs}


def _web_addresses(words: list[str]) -> list[str]:
    for word in words:
        try:
            understood = HttpUrl(word).username is None
        except ValidationError:
            understood = False
        if not understood:
            raise ValueError("an address is not of the form http://host:port/path")
    return words


class AgentSettings(Settings):
    """Push this host's metrics to ingest."""

    model_config = SettingsConfigDict(env_prefix="AGENT_")

    url: HttpUrl = Field(HttpUrl("http://127.0.0.1:8086"), description="where ingest listens")
    interval_seconds: float = Field(
        5.0, ge=0.1, le=3600, description="time between readings, taken at whole multiples of it by the clock"
    )
    hostname: str = Field(default_factory=socket.gethostname, min_length=1, description="the tag host of every point")
    tags: Annotated[dict[str, str], NoDecode, BeforeValidator(_pairs)] = Field(
        default_factory=dict, description="more tags for every point: key=value,key=value"
    )
    timeout_seconds: float = Field(10.0, gt=0, le=86_400, description="time for a request; it is tried again")
    buffer_bytes: int = Field(
        32 * MEBIBYTES,
        ge=64 * KIBIBYTES,
        description="bytes of readings kept while ingest is away; past them the oldest are dropped",
    )
    retry_max_seconds: float = Field(
        30.0, gt=0, description="longest wait between two tries, also when Retry-After asks for more"
    )
    stop_seconds: float = Field(3.0, ge=0, description="time to deliver what is held after SIGTERM; then it is lost")
    instruments_urls: Annotated[Words, AfterValidator(_web_addresses)] = Field(
        default_factory=list,
        description="services of Tidemark's whose instruments are read as well: http://127.0.0.1:8086/metrics,...",
    )
    instruments_max_bytes: int = Field(
        4 * MEBIBYTES, ge=KIBIBYTES, description="largest answer of one of these; a larger one is left out"
    )
    instruments_timeout_seconds: float = Field(
        1.0,
        gt=0,
        le=86_400,
        description="time for each of these to answer; the agent waits for half an interval in all",
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="least level logged")
    log_format: LogFormat = Field("text", description="form of the log's lines")

    @property
    def shown_url(self) -> str:
        """The URL for the log: without a user's name and password."""
        return str(URL(str(self.url)).with_user(None))
