"""Ingest on a primary, and query on the primary and a replica of it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import psycopg
from pydantic import SecretStr

from query.position import HEADER
from tests.conftest import with_database
from tests.integration.conftest import Heard, Ingest, ServeIngest
from tests.integration.query.conftest import DEADLINE_SECONDS, Database, Query, ServeQuery
from tests.replica import Node


@dataclass
class Pair:
    """Ingest on the primary, and query on the primary and its replica."""

    ingest: Ingest
    query: Query
    primary: Database
    replica: Database
    oldest: int = field(default_factory=lambda: int(time.time()) - 60)

    async def write(self) -> str:
        """Commit one more point of minutes ago; its position."""
        self.oldest -= 1
        reply: Heard = await self.ingest.send("/write?precision=s", f"cpu usage=1 {self.oldest}")
        assert reply.status == 204, reply
        return reply.headers["Tidemark-Position"]

    async def ask(self, header: str = "", **parameters: Any) -> tuple[str, int]:
        """Which server answers, and how many points it has; `header` is that of positions."""
        headers = {HEADER: header} if header else {}
        asked = {"metric": "cpu.usage", "fn": "count", "start": "-1h", **parameters}
        async with self.query.client.get(
            f"{self.query.url}/api/v1/aggregate", params=asked, headers=headers
        ) as response:
            answer = await response.json()
            assert response.status == 200, answer
            return response.headers["Tidemark-Server"], sum(series["value"] for series in answer["series"])

    async def refused(self, **parameters: Any) -> tuple[int, Any]:
        """The status and the body of a request."""
        return await self.query.get("/api/v1/aggregate", {"metric": "cpu.usage", **parameters})

    async def until_from(self, server: str) -> None:
        """Wait until reads that ask for nothing special are answered by this server."""
        async with asyncio.timeout(DEADLINE_SECONDS):
            while (await self.ask())[0] != server:  # noqa: ASYNC110 - it happens behind HTTP
                await asyncio.sleep(0.02)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """The replica receives, and replays nothing."""
        self.replica.execute("SELECT pg_wal_replay_pause()")
        try:
            yield
        finally:
            self.replica.execute("SELECT pg_wal_replay_resume()")


async def make_pair(
    serve_ingest: ServeIngest, serve_query: ServeQuery, url: str, replica_url: str, **settings: Any
) -> Pair:
    """Both, with one point; `settings` are those of query."""
    ingest = await serve_ingest()
    await _until_there(replica_url)
    query = await serve_query(url, replica_url=SecretStr(replica_url), connect_timeout_seconds=2, **settings)
    pair = Pair(ingest, query, Database(url), Database(replica_url))
    await query.until_ready()
    await pair.write()
    return pair


async def _until_there(url: str) -> None:
    """Wait until a database that was made on the primary is on its replica."""
    async with asyncio.timeout(DEADLINE_SECONDS):
        while True:
            try:
                await (await psycopg.AsyncConnection.connect(url)).close()
                return
            except psycopg.OperationalError:
                await asyncio.sleep(0.02)


def beside(url: str, node: Node) -> str:
    """The address of the same database on another server of the same accounts."""
    return with_database(node.url(), url.rpartition("/")[2])
