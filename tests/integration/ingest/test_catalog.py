"""What ingest remembers of the catalog, when the database changes behind its back: no point may ever be stored
under a series that is not its own."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator

import psycopg
import pytest
from psycopg import sql

from tests.integration.conftest import Heard, Ingest, ServeIngest
from tests.integration.ingest.conftest import Eventually, Write

T = int(time.time()) // 86_400 * 86_400 - 10 * 86_400
"""Not so long ago that a policy would drop the points: the databases made here have jobs."""


async def owners_are_right(ingest: Ingest) -> bool:
    """Whether every value is stored under the host whose number it is; each test writes only such points."""
    return ingest.rows("SELECT count(*) FROM m WHERE host IS DISTINCT FROM 'h' || f::int") == [(0,)]


def lines(*hosts: int, time: int = T) -> list[str]:
    """A point of each host, whose value is its number."""
    return [f"m,host=h{host} f={host} {time}" for host in hosts]


async def retried(write: Write, ingest: Ingest, *request: str) -> Heard:
    """Send as a client does: again while the answer is 503."""
    while (reply := await write(ingest, *request)).status == 503:
        pass
    return reply


CHANGES = {
    "emptied": "TRUNCATE points.m; TRUNCATE catalog.series RESTART IDENTITY",
    "emptied, points last": "BEGIN; TRUNCATE catalog.series RESTART IDENTITY; TRUNCATE points.m; COMMIT",
    "series deleted": "TRUNCATE points.m; DELETE FROM catalog.series; ALTER TABLE catalog.series ALTER id RESTART",
    "measurement dropped": "SELECT catalog.drop_measurement('m'); ALTER TABLE catalog.series ALTER id RESTART",
    "all taken out by hand": (
        "SELECT catalog.drop_rollups(id, '10m') FROM catalog.measurement; DROP TABLE points.m CASCADE; "
        "DELETE FROM catalog.series; DELETE FROM catalog.field; DELETE FROM catalog.measurement; "
        "ALTER TABLE catalog.series ALTER id RESTART"
    ),
    "tags changed": "TRUNCATE points.m; UPDATE catalog.series SET tags = jsonb_build_object('host', 'x' || id)",
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
async def test_series_that_were_taken_out_are_made_anew(
    serve_ingest: ServeIngest, write: Write, owner: psycopg.Connection, change: str
) -> None:
    """Another ingestor gives the ids to other hosts first; the one that remembers them notices."""
    remembers, other = await serve_ingest(), await serve_ingest()
    assert (await write(remembers, *lines(1, 2, 3))).status == 204
    owner.execute(change.encode())
    assert (await retried(write, other, *lines(7, 8, 9))).status == 204
    assert (await retried(write, remembers, *lines(3, 2, 1), *lines(1, time=T + 1))).status == 204
    assert await owners_are_right(remembers)
    assert remembers.rows("SELECT count(*), count(DISTINCT host) FROM m") == [(7, 6)]
    assert remembers.rows("SELECT count(*) FROM points.m") == [(7,)]
    assert await remembers.counted("ingest_ladder_total", rung="relearn") >= 1


async def test_points_under_way_while_the_catalog_is_emptied(
    serve_ingest: ServeIngest, write: Write, owner: psycopg.Connection, eventually: Eventually
) -> None:
    """Requests that go on while everything is emptied, several times, end up under their own series."""
    ingestors = [await serve_ingest() for _ in range(2)]
    stop = asyncio.Event()

    async def client(number: int) -> None:
        time = T
        while not stop.is_set():
            time += 1
            reply = await write(ingestors[number % 2], *lines(*range(number, number + 5), time=time))
            assert reply.status in (204, 503)

    clients = [asyncio.create_task(client(number)) for number in range(6)]

    async def has_points() -> bool:
        return await asyncio.to_thread(ingestors[0].rows, "SELECT count(*) > 50 FROM points.m") == [(True,)]

    for _ in range(3):
        await eventually(lambda: ingestors[0].rows("SELECT to_regclass('points.m') IS NOT NULL") == [(True,)])
        await eventually(has_points)
        await asyncio.to_thread(
            owner.execute, b"BEGIN; TRUNCATE points.m; TRUNCATE catalog.series RESTART IDENTITY; COMMIT"
        )
    await eventually(has_points)
    stop.set()
    await asyncio.gather(*clients)
    assert await owners_are_right(ingestors[0])
    assert ingestors[0].rows("SELECT count(*) FROM points.m") == ingestors[0].rows("SELECT count(*) FROM m")


class Server:
    """The server, and the test's database on it, which may be copied and replaced."""

    def __init__(self, connection: psycopg.Connection, name: str) -> None:
        self._connection = connection
        self._name = name
        self.made = [f"{name}_copy", f"{name}_gone"]

    def run(self, statement: str) -> None:
        """Run a statement that names the databases `now`, `copy` and `gone`."""
        names = {"now": self._name, "copy": self.made[0], "gone": self.made[1]}
        self._connection.execute(
            sql.SQL(statement).format(**{place: sql.Identifier(name) for place, name in names.items()})
        )

    def cut(self) -> None:
        """Let nobody into the database, and send away who is there: it can be copied or renamed then."""
        self.run("ALTER DATABASE {now} ALLOW_CONNECTIONS false")
        self._connection.execute(
            "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = %s", (self._name,)
        )


@pytest.fixture
def server(server_url: str, database: str) -> Iterator[Server]:
    """The server, as its superuser."""
    with psycopg.connect(server_url, autocommit=True) as connection:
        server = Server(connection, database.rpartition("/")[2])
        yield server
        for name in server.made:
            connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))


async def test_a_database_replaced_by_an_older_copy(serve_ingest: ServeIngest, write: Write, server: Server) -> None:
    """A copy made before some series is put in the database's place, and another ingestor writes first."""
    remembers = await serve_ingest()
    assert (await write(remembers, *lines(1))).status == 204
    server.cut()
    server.run("CREATE DATABASE {copy} TEMPLATE {now} STRATEGY file_copy")
    server.run("ALTER DATABASE {now} ALLOW_CONNECTIONS true")
    assert (await retried(write, remembers, *lines(2, 3))).status == 204
    server.cut()
    server.run("ALTER DATABASE {now} RENAME TO {gone}")
    server.run("ALTER DATABASE {copy} RENAME TO {now}")
    other = await serve_ingest()
    assert (await write(other, *lines(7, 8))).status == 204
    assert (await retried(write, remembers, *lines(3, 2, time=T + 1))).status == 204
    assert await owners_are_right(remembers)
    assert remembers.rows("SELECT host FROM m ORDER BY host") == [("h1",), ("h2",), ("h3",), ("h7",), ("h8",)]


async def test_a_database_dropped_and_made_again(
    serve_ingest: ServeIngest, write: Write, server: Server, template: str
) -> None:
    """Ingest goes on with a database that is empty, once it is there."""
    patient, ingest = await serve_ingest(), await serve_ingest(retry_seconds=1)
    for each in (patient, ingest):  # to make what is new may take longer than the other one waits
        assert (await write(each, *lines(1, 2))).status == 204
    server.cut()
    server.run("DROP DATABASE {now}")
    assert (await write(ingest, *lines(1))).status == 503
    server.run(f"CREATE DATABASE {{now}} TEMPLATE {template} STRATEGY file_copy")
    assert (await retried(write, ingest, *lines(2, 3))).status == 204
    assert await owners_are_right(ingest)
    assert ingest.rows("SELECT host FROM m ORDER BY host") == [("h2",), ("h3",)]
