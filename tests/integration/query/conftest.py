"""Query as it is served: the real application on a free loopback port, reading the test's database."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Protocol

import aiohttp
import psycopg
import pytest
from aiohttp import web
from psycopg import sql
from psycopg.types.json import Jsonb
from pydantic import SecretStr

from query.app import create_app, server_options
from query.settings import QuerySettings
from tests.conftest import sum_of
from tests.integration.conftest import ServeIngest
from tests.integration.query.panels import Both, points
from tests.integration.query.reference import Point

DEADLINE_SECONDS = 60.0
"""For conditions that come about in moments; only a fault takes this long."""

Parameters = dict[str, Any]


@dataclass(frozen=True)
class Query:
    """One served application."""

    url: str
    """`http://127.0.0.1:<port>`, without a slash at the end."""
    client: aiohttp.ClientSession

    async def get(self, path: str, parameters: Parameters | None = None) -> tuple[int, Any]:
        """The status and the JSON of a GET; a list is a repeated parameter."""
        pairs = [
            (name, str(one))
            for name, value in (parameters or {}).items()
            for one in (value if isinstance(value, list) else [value])
        ]
        async with self.client.get(f"{self.url}{path}", params=pairs) as response:
            return response.status, await response.json()

    async def aggregate(self, **parameters: Any) -> Any:
        """The answer of an aggregate that succeeds."""
        status, answer = await self.get("/api/v1/aggregate", parameters)
        assert status == 200, answer
        return answer

    async def refused(self, **parameters: Any) -> Any:
        """The body of an aggregate that is refused with 400."""
        status, answer = await self.get("/api/v1/aggregate", parameters)
        assert status == 400, answer
        return answer

    async def until_ready(self) -> None:
        """Wait for /readyz to say that the service is ready."""
        async with asyncio.timeout(DEADLINE_SECONDS):
            while (await self.get("/readyz"))[0] != 200:  # noqa: ASYNC110 - it happens behind HTTP
                await asyncio.sleep(0.02)

    async def until_not_ready(self, because: str) -> str:
        """Wait for /readyz to say that the service is not ready for a reason with these words; the reason."""
        async with asyncio.timeout(DEADLINE_SECONDS):
            while True:
                status, body = await self.get("/readyz")
                if status == 503 and because in body["message"]:
                    return str(body["message"])
                await asyncio.sleep(0.02)

    async def counted(self, instrument: str, **labels: str) -> float:
        """The sum of an instrument's samples that have these labels, as /metrics tells it."""
        async with self.client.get(f"{self.url}/metrics") as response:
            return sum_of(await response.text(), instrument, labels)

    async def until_keeping(self) -> None:
        """Wait until it can be known what is settled: on a server that is at work it takes a moment."""
        async with asyncio.timeout(DEADLINE_SECONDS):
            while await self.counted("query_cache_unsettled_seconds") == math.inf:  # noqa: ASYNC110 - it comes with time
                await asyncio.sleep(0.02)

    async def until_counted(self, instrument: str, value: float, **labels: str) -> None:
        """Wait for an instrument to have a value."""
        async with asyncio.timeout(DEADLINE_SECONDS):
            while await self.counted(instrument, **labels) != value:  # noqa: ASYNC110 - it happens behind HTTP
                await asyncio.sleep(0.02)


class ServeQuery(Protocol):
    """Serves query with settings of the test's own."""

    async def __call__(self, url: str, **settings: Any) -> Query:
        """`await serve_query(database, max_series=2)`; what is not named has its default."""


@pytest.fixture
async def serve_query() -> AsyncIterator[ServeQuery]:
    """Serve query on a free port until the test ends; it may not be ready yet."""
    runners: list[web.AppRunner] = []

    async with aiohttp.ClientSession() as client:

        async def serve(url: str, **settings: Any) -> Query:
            chosen = QuerySettings(**{"database_url": SecretStr(url), **settings})
            runner = web.AppRunner(create_app(chosen), access_log=None, **server_options(chosen))
            runners.append(runner)
            await runner.setup()
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            return Query(f"http://127.0.0.1:{runner.addresses[0][1]}", client)

        yield serve
        for runner in runners:
            await runner.cleanup()


@pytest.fixture
async def query(database: str, serve_query: ServeQuery) -> Query:
    """Query with the default settings, ready, on the test's database."""
    served = await serve_query(database)
    await served.until_ready()
    return served


class Database:
    """The test's database, with its owner's rights."""

    def __init__(self, url: str) -> None:
        self.url = url

    def store(self, measurement: str, points: Iterable[Point]) -> None:
        """Write points as ingest does: fields and series by the catalog's functions, rows by COPY."""
        kept = list(points)
        fields = list(dict.fromkeys(name for point in kept for name in point.fields))
        all_tags = list(dict.fromkeys(point.tags for point in kept))
        with psycopg.connect(self.url) as connection:
            found = connection.execute("SELECT * FROM catalog.ensure_fields(%s, %s)", (measurement, fields))
            columns: dict[str, str] = dict(found.fetchall())
            # The tests' times are fixed, and were long ago: that is nothing to warn of.
            connection.execute("UPDATE catalog.retention SET retained = NULL")
            (ids,) = connection.execute(
                "SELECT catalog.ensure_series(%s, %s)", (measurement, [Jsonb(dict(tags)) for tags in all_tags])
            ).fetchall()[0]
            series = dict(zip(all_tags, ids, strict=True))
            copy = sql.SQL("COPY {} (time, series_id, {}) FROM STDIN").format(
                sql.Identifier("points", measurement),
                sql.SQL(", ").join([sql.Identifier(columns[name]) for name in fields]),
            )
            with connection.cursor().copy(copy) as rows:
                for point in kept:
                    rows.write_row([point.time, series[point.tags], *(point.fields.get(name) for name in fields)])

    def execute(self, statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """The rows of a statement run on a connection of its own."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            cursor = connection.execute(statement.encode(), parameters or None)
            return cursor.fetchall() if cursor.description else []

    def statements(self, condition: str) -> list[tuple[Any, ...]]:
        """The process ids of query's connections for which `condition` holds in pg_stat_activity."""
        return self.execute(
            "SELECT pid FROM pg_stat_activity WHERE application_name = 'tidemark query' "
            f"AND datname = current_database() AND {condition}"
        )

    async def until(self, condition: Callable[[], object]) -> None:
        """Wait for `condition` to hold."""
        async with asyncio.timeout(DEADLINE_SECONDS):
            while not condition():  # noqa: ASYNC110 - what is waited for happens in the server
                await asyncio.sleep(0.01)

    async def until_waiting_for_lock(self, number: int = 1) -> None:
        """Wait for as many of query's statements to stand before a lock."""
        await self.until(lambda: len(self.statements("wait_event_type = 'Lock'")) >= number)

    @contextmanager
    def locked(self, measurement: str) -> Any:
        """Hold a measurement's table, so that a statement that reads it waits for as long as the test likes."""
        with psycopg.connect(self.url) as connection:
            connection.execute(
                sql.SQL("LOCK TABLE {} IN ACCESS EXCLUSIVE MODE").format(sql.Identifier("points", measurement))
            )
            yield

    def disconnect_query(self) -> None:
        """End every connection of query's, as a restart of the server does."""
        self.execute(
            "SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity "
            "WHERE application_name = 'tidemark query' AND datname = current_database()"
        )


@pytest.fixture
def stored(database: str) -> Database:
    """The test's database, to put points in and to look into."""
    return Database(database)


class ServeBoth(Protocol):
    """Serves query that keeps what it computes, and query that does not, with settings of the test's own."""

    async def __call__(self, **settings: Any) -> Both:
        """`await serve_both(lookback_seconds=20)`; what is not named has its default."""


@pytest.fixture
async def serve_both(database: str, stored: Database, serve_query: ServeQuery, serve_ingest: ServeIngest) -> ServeBoth:
    """Serve both, and ingest, on the test's database."""

    async def serve(**settings: Any) -> Both:
        common = {name: value for name, value in settings.items() if not name.startswith("cache_")}
        keeping = await serve_query(database, **{"cache_min_seconds": 0, "client_share": 1, **settings})
        plain = await serve_query(database, cache="off", **common)
        for query in (keeping, plain):
            await query.until_ready()
        await keeping.until_keeping()
        return Both(keeping, plain, await serve_ingest(), stored)

    return serve


@pytest.fixture
async def both(stored: Database, serve_both: ServeBoth) -> Both:
    """Both, with three hours of points every ten seconds, the last of them now."""
    stored.store("cpu", points(timedelta(hours=3), timedelta(0), timedelta(seconds=10)))
    return await serve_both()
