from __future__ import annotations

import asyncio
import itertools
import tomllib
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from prometheus_client import CollectorRegistry
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict
from pydantic import SecretStr

from query.conditions import Statement
from query.database import Database as Server
from query.database import conninfo
from query.instruments import Instruments
from query.settings import QuerySettings
from query.watch import NEEDED_MIGRATION
from sql.migrate import migrate
from tests.integration.query.conftest import Database, Query, ServeQuery
from tests.integration.query.reference import Point
from tests.relay import Relay, relay_to

ROOT = Path(__file__).parents[3]

COUNT = Statement("SELECT count(*) FROM points.cpu", {})
ONE = Statement("SELECT 1", {})
ASK: dict[str, Any] = {"metric": "cpu.user", "start": "-1h"}


def now_points(*hosts: str, **fields: float) -> list[Point]:
    """A point of each host, a minute ago."""
    return [Point((("host", host),), datetime.now(UTC) - timedelta(minutes=1), fields) for host in hosts]


@pytest.fixture(autouse=True)
def cpu(request: pytest.FixtureRequest) -> None:
    """Every test with a migrated database has one point of `cpu.user` to find."""
    if "stored" in request.fixturenames:
        request.getfixturevalue("stored").store("cpu", now_points("a", user=1.0))


async def test_the_connections_have_the_least_privilege(database: str) -> None:
    """Query's own connections act as tidemark_query, read only, in UTC, with a timeout; and cannot write."""
    settings = QuerySettings(database_url=SecretStr(database), statement_timeout_seconds=7)
    names = ("role", "search_path", "default_transaction_read_only", "statement_timeout", "TimeZone")
    with psycopg.connect(conninfo(settings.database_url, settings), autocommit=True) as connection:
        values = [connection.execute("SELECT current_setting(%s)", [name]).fetchall()[0][0] for name in names]
        assert values == ["tidemark_query", "metrics,public", "on", "7s", "UTC"]
        connection.execute("SET default_transaction_read_only = off")
        for statement in (
            "INSERT INTO catalog.measurement (name) VALUES ('x')",
            "SELECT catalog.ensure_fields('x', '{y}')",
            "CREATE TABLE metrics.x ()",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(statement.encode())


async def test_the_sql_of_the_readme_works_as_written(stored: Database) -> None:
    """People and Grafana read the views with the query role, as the design promises."""
    stored.store("metrics", now_points("web-1", "web-2", cpu_usage=12.5, memory_usage=71.0))
    settings = QuerySettings(database_url=SecretStr(stored.url))
    with psycopg.connect(conninfo(settings.database_url, settings)) as connection:
        rows = connection.execute(
            "SELECT host, AVG(cpu_usage) FROM metrics WHERE time > NOW() - INTERVAL '1 hour' GROUP BY host;"
        ).fetchall()
        assert sorted(rows) == [("web-1", 12.5), ("web-2", 12.5)]
        assert len(connection.execute("SELECT * FROM cpu ORDER BY time DESC LIMIT 5").fetchall()) == 1


async def test_status_says_what_the_server_is(query: Query, stored: Database) -> None:
    """The status and the instruments tell the edition that the database reports."""
    ((edition,),) = stored.execute("SELECT catalog.edition()")
    status, answer = await query.get("/api/v1/status")
    assert status == 200
    assert answer["ready"] is True
    assert answer["edition"] == edition
    assert answer["migration"] >= NEEDED_MIGRATION
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert answer["version"] == project["version"]
    assert await query.counted("query_database_info", **edition) == 1
    assert await query.counted("query_database_up") == 1


async def test_a_statement_is_counted(query: Query, stored: Database) -> None:
    """The instruments count statements and rows."""
    await query.aggregate(**ASK)
    assert await query.counted("query_statement_seconds_count", statement="aggregate") == 1
    assert await query.counted("query_rows_total", statement="aggregate") == 1
    assert await query.counted("query_http_requests_total", route="/api/v1/aggregate", status="200") == 1


async def test_a_database_without_a_schema(empty_database: str, serve_query: ServeQuery) -> None:
    """The service runs before the migration, says what to do, and is ready when it is done."""
    query = await serve_query(empty_database)
    await query.until_not_ready("run python -m sql migrate")
    status, answer = await query.get("/api/v1/measurements")
    assert (status, answer["code"]) == (503, "unavailable")
    await asyncio.to_thread(migrate, empty_database)
    await query.until_ready()
    assert (await query.get("/api/v1/measurements"))[0] == 200


async def test_lost_connections_are_not_the_clients_trouble(
    database: str, stored: Database, serve_query: ServeQuery
) -> None:
    """After the server has dropped every connection, the next requests are answered as if nothing had been."""
    query = await serve_query(database, client_share=1)
    await query.until_ready()
    for _ in range(2):
        with stored.locked("cpu"):
            all_connections = [asyncio.create_task(query.aggregate(**ASK)) for _ in range(8)]
            await stored.until_waiting_for_lock(8)
        await asyncio.gather(*all_connections)
        stored.disconnect_query()
        await asyncio.gather(*(query.aggregate(**ASK) for _ in range(8)))


async def test_a_connection_lost_in_a_statement(query: Query, stored: Database) -> None:
    """A statement that the server ends has a 503 that says when to come again, and coming again works."""
    with stored.locked("cpu"):
        asked = asyncio.create_task(query.get("/api/v1/aggregate", ASK))
        await stored.until_waiting_for_lock()
        stored.disconnect_query()
        status, answer = await asked
    assert (status, answer["code"]) == (503, "unavailable")
    assert answer["message"].startswith("the database failed: terminating connection")
    assert await query.counted("query_database_errors_total", sqlstate="57P01") == 1
    await query.until_ready()
    await query.aggregate(**ASK)


async def test_a_database_that_goes_away_and_comes_back(query: Query, stored: Database, server_url: str) -> None:
    """While no connection can be made, requests have a 503 at once; when one can again, they are answered."""
    name = str(conninfo_to_dict(stored.url)["dbname"])
    with psycopg.connect(server_url, autocommit=True) as server:
        server.execute(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS false").format(sql.Identifier(name)))
        server.execute(
            "SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity WHERE datname = %s",
            [name],
        )
        reason = await query.until_not_ready("the database does not answer: ")
        async with query.client.get(f"{query.url}/api/v1/aggregate", params=ASK) as response:
            assert response.status == 503
            assert int(response.headers["Retry-After"]) >= 1
            assert (await response.json())["code"] == "unavailable"
        assert (await query.get("/healthz"))[0] == 200
        assert (await query.get("/api/v1/status"))[1]["not_ready"] == reason
        assert await query.counted("query_database_up") == 0
        server.execute(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS true").format(sql.Identifier(name)))
    await query.until_ready()
    await query.aggregate(**ASK)


@pytest.fixture
async def way(database: str) -> AsyncIterator[Relay]:
    """A way to the test's database."""
    async with relay_to(database) as relay:
        yield relay


async def test_a_database_that_falls_silent_keeps_nobody_waiting(
    database: str, stored: Database, serve_query: ServeQuery, way: Relay
) -> None:
    """What it was asked, in one piece and in batches, is 503 when it should have ended by then."""
    url = way.through(database)
    query = await serve_query(url, statement_timeout_seconds=2, connect_timeout_seconds=2)
    await query.until_ready()
    await query.aggregate(**ASK)  # its field is known from now on, and another is looked for
    with stored.locked("cpu"), psycopg.connect(stored.url) as owner:
        owner.execute("LOCK TABLE catalog.field IN ACCESS EXCLUSIVE MODE")
        asked = [
            asyncio.create_task(query.get("/api/v1/aggregate", {**ASK, "metric": metric}))
            for metric in ("cpu.user", "cpu.other")
        ]
        await stored.until_waiting_for_lock(2)
        way.pause()
        for status, answer in await asyncio.gather(*asked):
            assert (status, answer["code"]) == (503, "unavailable")
            assert "nothing was heard" in answer["message"]
        await query.until_not_ready("the database does not answer")
    way.resume()
    await query.until_ready()
    await query.aggregate(**ASK)
    await query.until_counted("query_connections", len(stored.statements("true")) - 1)


async def test_a_client_that_leaves_cancels_its_statement(
    database: str, stored: Database, serve_query: ServeQuery
) -> None:
    """Nothing runs on in the database for a client that is gone, and the connection is good for the next."""
    query = await serve_query(database, statement_timeout_seconds=3600)
    await query.until_ready()
    with stored.locked("cpu"):
        asked = asyncio.create_task(query.get("/api/v1/aggregate", ASK))
        await stored.until_waiting_for_lock()
        asked.cancel()
        await stored.until(lambda: not stored.statements("wait_event_type = 'Lock'"))
    await query.until_counted("query_statements_abandoned_total", 1)
    await query.aggregate(**ASK)


async def test_a_client_that_leaves_while_its_connection_is_given_back(database: str, stored: Database) -> None:
    """The pool has the connection again, though it was at work for others when the client left."""
    settings = QuerySettings(database_url=SecretStr(database), connections=1, wait_seconds=1)
    server = Server("primary", settings.database_url, settings, Instruments(CollectorRegistry()), lambda: None)
    async with server.running():
        await stored.until(lambda: server.watch.not_ready is None)
        with stored.locked("cpu"):
            asked = asyncio.create_task(server.fetch("points", COUNT))
            await stored.until_waiting_for_lock()
            await server._pool._lock.acquire()
        await stored.until(lambda: "waiters:1" in repr(server._pool._lock))
        asked.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asked
        server._pool._lock.release()
        assert await server.fetch("points", COUNT) == [(1,)]


async def test_two_clients_leave_of_whom_one_would_have_the_others_connection(database: str, stored: Database) -> None:
    """Whichever of their steps they have come to: the pool has the connection again."""
    settings = QuerySettings(database_url=SecretStr(database), connections=1, wait_seconds=1)
    server = Server("primary", settings.database_url, settings, Instruments(CollectorRegistry()), lambda: None)

    async def steps(count: int) -> None:
        for _ in range(count):
            await asyncio.sleep(0)

    async with server.running():
        await stored.until(lambda: server.watch.not_ready is None)
        for before, after in itertools.product(range(6), range(1, 6)):
            connection = await server._pool.getconn()
            waiting = asyncio.create_task(server.fetch("points", ONE))
            await stored.until(lambda: server._pool.get_stats()["requests_waiting"] == 1)
            waiting.cancel()
            await steps(before)
            returning = asyncio.create_task(server._given_back(connection))
            await steps(after)
            returning.cancel()
            await asyncio.gather(waiting, returning, return_exceptions=True)
            assert await server.fetch("points", ONE) == [(1,)]


async def test_a_statement_that_takes_too_long(database: str, stored: Database, serve_query: ServeQuery) -> None:
    """The timeout is the client's to avoid: it is told which setting ended its statement, and how to ask for less."""
    query = await serve_query(database, statement_timeout_seconds=1)
    await query.until_ready()
    with stored.locked("cpu"):
        answer = await query.refused(**ASK)
    assert (answer["code"], answer["limit"]) == ("limit", "QUERY_STATEMENT_TIMEOUT_SECONDS")
    assert "shorter range" in answer["message"]
    await query.aggregate(**ASK)


async def test_a_statement_cancelled_in_the_server(query: Query, stored: Database) -> None:
    """A statement that an administrator cancels is no fault of the client's: it may come again."""
    with stored.locked("cpu"):
        asked = asyncio.create_task(query.get("/api/v1/aggregate", ASK))
        await stored.until_waiting_for_lock()
        for (pid,) in stored.statements("wait_event_type = 'Lock'"):
            stored.execute("SELECT pg_cancel_backend(%s)", pid)
        assert (await asked)[0] == 503


async def test_the_queue_for_a_connection_is_bounded(database: str, stored: Database, serve_query: ServeQuery) -> None:
    """With all connections busy a request waits its turn; past the queue's bound it has a 503 at once."""
    query = await serve_query(database, client_share=1, connections=1, max_waiting=1, wait_seconds=600)
    await query.until_ready()
    with stored.locked("cpu"):
        first = asyncio.create_task(query.get("/api/v1/aggregate", ASK))
        await stored.until_waiting_for_lock()
        second = asyncio.create_task(query.get("/api/v1/measurements"))
        await query.until_counted("query_waiting", 1)
        status, answer = await query.get("/api/v1/measurements")
        assert status == 503
        assert "QUERY_CONNECTIONS allows 1" in answer["message"]
    assert (await first)[0] == 200
    assert (await second)[0] == 200


async def test_the_wait_for_a_connection_is_bounded(database: str, stored: Database, serve_query: ServeQuery) -> None:
    """A request that has waited its time for a connection has a 503."""
    query = await serve_query(database, client_share=1, connections=1, wait_seconds=0.2)
    await query.until_ready()
    with stored.locked("cpu"):
        first = asyncio.create_task(query.get("/api/v1/aggregate", ASK))
        await stored.until_waiting_for_lock()
        status, answer = await query.get("/api/v1/measurements")
        assert status == 503
        assert "QUERY_WAIT_SECONDS" in answer["message"]
    assert (await first)[0] == 200
