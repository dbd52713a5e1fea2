from __future__ import annotations

import socket

import pytest

from ingest.agent.settings import AgentSettings
from service.settings import read


def test_the_defaults_need_no_setting() -> None:
    """Without any setting the agent of this host pushes to this host's ingest."""
    settings = read(AgentSettings, "agent", [])
    assert str(settings.url) == "http://127.0.0.1:8086/"
    assert (settings.hostname, settings.interval_seconds, settings.tags) == (socket.gethostname(), 5.0, {})


def test_tags_are_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are read alike from the environment and the command line; a value may hold an equals sign."""
    monkeypatch.setenv("AGENT_TAGS", "region=eu, rack=r1=b ,")
    assert read(AgentSettings, "agent", []).tags == {"region": "eu", "rack": "r1=b"}
    assert read(AgentSettings, "agent", ["--tags", "zone=a,row=2"]).tags == {"zone": "a", "row": "2"}


@pytest.mark.parametrize("value", ["region", "=eu", "region=", "region=eu,=x"])
def test_tags_that_are_no_pairs_are_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], value: str
) -> None:
    """The message names the setting and the form."""
    monkeypatch.setenv("AGENT_TAGS", value)
    with pytest.raises(SystemExit) as ended:
        read(AgentSettings, "agent", [])
    assert ended.value.code == 2
    message = capsys.readouterr().err
    assert "AGENT_TAGS" in message
    assert "key=value" in message


def test_a_password_is_not_shown() -> None:
    """What the log says of the URL has no user and no password."""
    settings = read(AgentSettings, "agent", ["--url", "http://me:secret@metrics.example:8086/base"])
    assert settings.shown_url == "http://metrics.example:8086/base"


def test_services_are_named_by_their_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several, with commas; none unless set."""
    assert read(AgentSettings, "agent", []).instruments_urls == []
    monkeypatch.setenv("AGENT_INSTRUMENTS_URLS", "http://127.0.0.1:8086/metrics, https://[::1]:8080/metrics")
    urls = ["http://127.0.0.1:8086/metrics", "https://[::1]:8080/metrics"]
    assert read(AgentSettings, "agent", []).instruments_urls == urls


@pytest.mark.parametrize(
    "value", ["file:///etc/passwd", "127.0.0.1:8086", "http://", "http://a,ftp://b", "http://me:word@a/"]
)
def test_other_addresses_are_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], value: str
) -> None:
    """Only HTTP is read; the message names the setting and the form."""
    monkeypatch.setenv("AGENT_INSTRUMENTS_URLS", value)
    with pytest.raises(SystemExit):
        read(AgentSettings, "agent", [])
    message = capsys.readouterr().err
    assert "AGENT_INSTRUMENTS_URLS" in message
    assert "http://host:port/path" in message


@pytest.mark.parametrize("variable", ["AGENT_TIMEOUT_SECONDS", "AGENT_INSTRUMENTS_TIMEOUT_SECONDS"])
def test_a_time_without_end_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], variable: str
) -> None:
    """No clock could be set to it."""
    monkeypatch.setenv(variable, "inf")
    with pytest.raises(SystemExit):
        read(AgentSettings, "agent", [])
    assert f"{variable}=inf: Input should be less than or equal to " in capsys.readouterr().err
