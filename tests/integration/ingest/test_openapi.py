from __future__ import annotations

import asyncio
from pathlib import Path

from pydantic import SecretStr

from ingest.app import create_app
from ingest.openapi import document
from ingest.settings import IngestSettings
from tests.fuzz import answered, described, examples_and_edges, fuzz
from tests.integration.conftest import Ingest

KNOWN = {"precision": "s", "body": "weather,city=Bergen rain=3"}


async def test_every_answer_is_as_described(ingest: Ingest) -> None:
    """Good requests and bad ones have no 5xx, and no status, type or shape of JSON that is not described."""
    heard = await asyncio.to_thread(fuzz, ingest.url, KNOWN)
    assert {label for label, statuses in heard.items() if not {200, 204} & set(statuses)} == set(), heard
    assert {400, 415} <= set().union(*heard.values()), heard


async def test_examples_and_edges_of_the_description(ingest: Ingest) -> None:
    """Every example and every bound is answered as described, and so is what is just past a bound, or left out."""
    assert await asyncio.to_thread(examples_and_edges, ingest.url) == ""


async def test_every_route_is_described(tmp_path: Path) -> None:
    """The description has each path and method that is answered, and no other; but for the files of its page."""
    app = create_app(IngestSettings(database_url=SecretStr("postgresql:///x"), spool_directory=tmp_path))
    assert described(document()) == answered(app)
