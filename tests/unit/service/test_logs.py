"""One line an event, whoever logs it."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator

import pytest
import structlog
from aiohttp.http_exceptions import LineTooLong
from aiohttp.log import server_logger

from service import logs, web


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    """Give pytest its logging back."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = handlers, level
    structlog.reset_defaults()


def test_both_kinds_of_loggers_write_the_same_form(capsys: pytest.CaptureFixture[str]) -> None:
    """Events of ours and records of a library's are lines with level, logger and time."""
    logs.configure("info", "json")
    logs.get("ours").info("written", points=5)
    logging.getLogger("theirs").warning("beware of %s", "this")
    logs.get("ours").debug("not shown")
    ours, theirs = map(json.loads, capsys.readouterr().err.splitlines())
    assert (ours["event"], ours["level"], ours["logger"], ours["points"]) == ("written", "info", "ours", 5)
    assert (theirs["event"], theirs["level"], theirs["logger"]) == ("beware of this", "warning", "theirs")
    assert ours["timestamp"].endswith("Z")


def test_text_is_one_line_an_event(capsys: pytest.CaptureFixture[str]) -> None:
    """Values follow the message as key=value, and a line end in one does not start another line."""
    logs.configure("debug", "text")
    logs.get("ours").debug("written", points=5, name="a\nb")
    (line,) = capsys.readouterr().err.splitlines()
    assert "written" in line
    assert "points=5" in line
    assert "name='a\\nb'" in line


def test_an_unexpected_error_has_its_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    """What we did not foresee is logged with where it came from."""
    logs.configure("info", "json")
    try:
        raise ValueError("surprise")
    except ValueError:
        logs.get("ours").exception("failed")
    (line,) = capsys.readouterr().err.splitlines()
    assert "ValueError: surprise" in json.loads(line)["exception"]


def test_what_is_no_http_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """aiohttp's record of a malformed request loses its traceback, and what it quotes of the client."""
    assert web.CODES
    logs.configure("info", "json")
    try:
        raise LineTooLong("Authorization: Token secret", "8190")
    except LineTooLong:
        server_logger.exception("Error handling request from %s", "127.0.0.1")
    (line,) = capsys.readouterr().err.splitlines()
    told = json.loads(line)
    assert (told["level"], "exception" in told) == ("warning", False)
    assert told["event"] == "Error handling request from 127.0.0.1: LineTooLong"
    assert "secret" not in line
