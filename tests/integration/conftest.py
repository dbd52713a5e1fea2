"""Ingest as it is served: the real application on a free loopback port, writing into the test's database."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import aiohttp
import psycopg
import pytest
from aiohttp import web
from pydantic import SecretStr

from ingest.app import create_app
from ingest.settings import IngestSettings
from tests.conftest import DEADLINE_SECONDS, sum_of
from tests.small_disk import small_disk


@dataclass(frozen=True)
class Heard:
    """What a client hears."""

    status: int
    body: Any
    """Of JSON; None when there is none."""
    headers: dict[str, str]

    @property
    def message(self) -> str:
        """What is told to people."""
        return str(self.body["message"])


@dataclass(frozen=True)
class Ingest:
    """One served application."""

    url: str
    """`http://127.0.0.1:<port>`, without a slash at the end."""
    port: int
    client: aiohttp.ClientSession
    database_url: str
    """The database it writes into, with its owner's rights."""

    def rows(self, statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """What `statement` finds in the database."""
        with psycopg.connect(self.database_url, options="-c search_path=metrics,public") as connection:
            return connection.execute(statement.encode(), parameters or None).fetchall()

    async def send(self, path: str, body: Any, **headers: str) -> Heard:
        """POST `body`; of a header's name, underscores stand for hyphens."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        async with self.client.post(f"{self.url}{path}", data=body, headers=named) as response:
            told = await response.json() if response.content_type == "application/json" else None
            return Heard(response.status, told, dict(response.headers))

    async def counted(self, instrument: str, **labels: str) -> float:
        """The sum of an instrument's samples that have these labels, as /metrics tells it."""
        async with self.client.get(f"{self.url}/metrics") as response:
            return sum_of(await response.text(), instrument, labels)


class ServeIngest(Protocol):
    """Serves ingest with settings of the test's own."""

    async def __call__(self, **settings: Any) -> Ingest:
        """`await serve_ingest(max_body_bytes=1000)`; what is not named has its default."""


@pytest.fixture
def disk(folder: Path) -> Iterator[Path]:
    """A small disk."""
    with small_disk(folder / "small") as place:
        if place is None:
            pytest.skip("nothing may be mounted here")
        yield place


@pytest.fixture
async def serve_ingest(database: str) -> AsyncIterator[ServeIngest]:
    """Serve ingest on a free port until the test ends; several may be served at once."""
    runners: list[web.AppRunner] = []

    async with aiohttp.ClientSession(auto_decompress=False) as client:

        async def serve(**settings: Any) -> Ingest:
            chosen = IngestSettings(**{"database_url": SecretStr(database), "spool": "off", **settings})
            runner = web.AppRunner(
                create_app(chosen), access_log=None, auto_decompress=False, shutdown_timeout=chosen.shutdown_seconds
            )
            runners.append(runner)
            await runner.setup()
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            port = runner.addresses[0][1]
            served = Ingest(f"http://127.0.0.1:{port}", port, client, database)
            await _until_ready(served)
            return served

        yield serve
        for runner in runners:
            await runner.cleanup()


@pytest.fixture
async def ingest(serve_ingest: ServeIngest) -> Ingest:
    """Ingest with the default settings."""
    return await serve_ingest()


async def _until_ready(served: Ingest) -> None:
    async with asyncio.timeout(DEADLINE_SECONDS):
        while True:
            async with served.client.get(f"{served.url}/readyz") as response:
                if response.status == 200:
                    return
            await asyncio.sleep(0.02)
