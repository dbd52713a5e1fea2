"""Late points and corrections in compressed chunks: what the callers hear, what is counted, what is stored, and that
the chunks are compressed again.

TimescaleDB decompresses no more than 100,000 rows for a statement; most tests lower that for their database, so that
few rows are too much.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql
from pydantic import SecretStr

from tests.integration.conftest import Ingest, ServeIngest
from tests.integration.ingest.conftest import Blocked, Eventually, Together, Write
from tests.relay import Relay

pytestmark = pytest.mark.community

DAY = 86_400
T = int(time.time()) // DAY * DAY - 10 * DAY
"""At the beginning of a chunk; long ago, but kept."""
ELSEWHERE = T + 5 * DAY
"""In a chunk that is not compressed."""
STEP = 10
ROWS = 100
"""Of each series, compressed in one batch."""

JOB = "SELECT job_id FROM timescaledb_information.jobs WHERE hypertable_name = 'm' AND proc_name = 'policy_compression'"
FILL = """
    INSERT INTO points.m (time, series_id, f, g)
    SELECT to_timestamp(%s + n * %s), id, n, host::int
    FROM catalog.series CROSS JOIN generate_series(0, %s - 1) AS n WHERE host ~ '^\\d+$'
"""
SERIES = """
    SELECT catalog.ensure_series('m', array_agg(jsonb_build_object('host', n::text) ORDER BY n))
    FROM generate_series(1, %s) AS n
"""
STATUS = """
    SELECT count(*) FILTER (WHERE status & 1 = 1), count(*) FILTER (WHERE status & 8 = 8)
    FROM show_chunks('points.m') AS chunk, _timescaledb_functions.chunk_status(chunk) AS status
"""


def line(host: int, place: int, fields: str) -> str:
    """A line of measurement m at the time of a compressed row."""
    return f"m,host={host} {fields} {T + place * STEP}"


class Chunk:
    """A chunk of measurement m: rows f=place, g=host of each series, at T + place * STEP, compressed."""

    def __init__(self, owner: psycopg.Connection) -> None:
        self.owner = owner

    def fill(self, hosts: int, rows: int = ROWS, step: int = STEP) -> None:
        """Store as many rows for each host, and compress them; m has the fields f and g."""
        self.owner.execute("SELECT FROM catalog.ensure_fields('m', '{f,g}')")
        self.owner.execute(SERIES, (hosts,))
        self.owner.execute(FILL, (T, step, rows))
        self.compress()

    def compress(self) -> None:
        """Compress what is not compressed: run the policy's job, which does not run by itself here."""
        self.owner.execute("CALL run_job(%s)", self.owner.execute(JOB).fetchone())

    def status(self) -> tuple[int, int]:
        """How many chunks are compressed, and of how many of these some rows are not."""
        row = self.owner.execute(STATUS).fetchone()
        assert row is not None
        return row[0], row[1]

    def limit(self, rows: int) -> None:
        """Let new connections decompress no more than this for a statement."""
        self.owner.execute(
            sql.SQL("ALTER DATABASE {} SET timescaledb.max_tuples_decompressed_per_dml_transaction = {}").format(
                sql.Identifier(self.owner.info.dbname), sql.Literal(rows)
            )
        )

    def rows(self, what: str, where: str = "true") -> list[tuple[Any, ...]]:
        """What the rows from T on have, by host and time."""
        statement = f"SELECT {what} FROM metrics.m WHERE time >= to_timestamp({T}) AND {where} ORDER BY host::int, time"
        return self.owner.execute(statement.encode()).fetchall()


@pytest.fixture
def chunk(owner: psycopg.Connection) -> Chunk:
    """A chunk to be filled."""
    return Chunk(owner)


@pytest.fixture
def split_chunk(chunk: Chunk) -> Chunk:
    """A chunk of 300 hosts of which a statement may change 20."""
    chunk.fill(hosts=300)
    assert chunk.status() == (1, 0)
    chunk.limit(20 * ROWS)
    return chunk


def corrections(hosts: range, place: int = 7, fields: str = "f=-1") -> list[str]:
    """Other values for rows that are compressed."""
    return [line(host, place, fields) for host in hosts]


async def counts(ingest: Ingest) -> dict[str, float]:
    """How often each rung was taken, and points were accepted."""
    rungs = ("copy", "merge", "split", "isolate", "retry", "reject", "give_up")
    counted = {rung: await ingest.counted("ingest_ladder_total", rung=rung) for rung in rungs}
    return {rung: count for rung, count in counted.items() if count}


async def test_late_points_of_thousands_of_series(chunk: Chunk, serve_ingest: ServeIngest, write: Write) -> None:
    """They are copied beside what is compressed, and compressed with it when the policy's job runs."""
    chunk.fill(hosts=2000)
    ingest = await serve_ingest(copiers=1)
    reply = await write(ingest, *(f"m,host={host} f=-1 {T + 5}" for host in range(1, 2001)))
    assert reply.status == 204
    assert await counts(ingest) == {"copy": 1}
    assert chunk.status() == (1, 1)
    assert chunk.rows("f, g", f"time = to_timestamp({T + 5})") == [(-1.0, None)] * 2000
    chunk.compress()
    assert chunk.status() == (1, 0)
    assert chunk.rows("f, g", f"time = to_timestamp({T + 5})") == [(-1.0, None)] * 2000


async def test_corrections_of_thousands_of_series(chunk: Chunk, serve_ingest: ServeIngest, write: Write) -> None:
    """More than TimescaleDB decompresses for one statement is merged in portions, and compressed again."""
    chunk.fill(hosts=2000)
    ingest = await serve_ingest(copiers=1)
    reply = await write(ingest, *corrections(range(1, 2001)))
    assert (reply.status, reply.headers["Tidemark-Durability"]) == (204, "committed")
    assert await counts(ingest) == {"split": 1}
    assert await ingest.counted("ingest_points_accepted_total") == 2000
    for _ in range(2):
        assert chunk.rows("f, g", f"time = to_timestamp({T + 7 * STEP})") == [(-1.0, host) for host in range(1, 2001)]
        assert len(chunk.rows("f")) == 2000 * ROWS
        assert len(chunk.rows("f", "f = -1")) == 2000
        chunk.compress()
        assert chunk.status() == (1, 0)


async def test_few_corrections_are_one_merge(split_chunk: Chunk, serve_ingest: ServeIngest, write: Write) -> None:
    """What fits one statement is merged as elsewhere, also when it is again what it was."""
    ingest = await serve_ingest(copiers=1)
    for _ in range(2):
        assert (await write(ingest, *corrections(range(1, 21)))).status == 204
    assert await counts(ingest) == {"merge": 2}
    assert split_chunk.rows("host, f", "f = -1") == [(str(host), -1.0) for host in range(1, 21)]


async def test_a_long_time_of_one_series(chunk: Chunk, serve_ingest: ServeIngest, write: Write) -> None:
    """A request is split by time where it has few series: here a row of every hour of eight days, in many chunks."""
    chunk.fill(hosts=1, rows=200, step=3600)
    chunk.limit(20)
    ingest = await serve_ingest(copiers=1)
    assert (await write(ingest, *(f"m,host=1 f=-1 {T + 3600 * hour}" for hour in range(200)))).status == 204
    assert await counts(ingest) == {"split": 1}
    assert chunk.rows("f, g") == [(-1.0, 1.0)] * 200
    chunk.compress()
    compressed, partial = chunk.status()
    assert (compressed > 30, partial) == (True, 0)


async def test_several_shapes_and_measurements(split_chunk: Chunk, serve_ingest: ServeIngest, write: Write) -> None:
    """A request with all kinds of points is merged as it would be at once: of a point twice the last value stays."""
    ingest = await serve_ingest(copiers=1)
    lines = corrections(range(1, 301), fields="f=-1") + [f"n,host={host} f=3 {T}" for host in range(1, 301)]
    lines += corrections(range(1, 301), fields="g=-2") + corrections(range(1, 301), fields="f=-3,h=4")
    assert (await write(ingest, *lines)).status == 204
    assert (await counts(ingest))["split"] == 1
    assert split_chunk.rows("f, g, h", f"time = to_timestamp({T + 7 * STEP})") == [(-3.0, -2.0, 4.0)] * 300
    assert ingest.rows("SELECT count(*), sum(f) FROM n") == [(300, 900.0)]


async def test_others_of_the_group_are_not_split(
    split_chunk: Chunk, serve_ingest: ServeIngest, write: Write, together: Together
) -> None:
    """Of requests that go together, those with new points are copied at once, and each hears its own outcome."""
    ingest = await serve_ingest(copiers=1)
    assert (await write(ingest, f"m,host=1 f=0 {ELSEWHERE}")).status == 204
    many = "\n".join(corrections(range(1, 301)))
    replies = await together(ingest, f"m,host=1 f=1 {ELSEWHERE + 1}", many, f"m,host=2 f=2 {ELSEWHERE + 2}")
    assert [reply.status for reply in replies] == [204] * 3
    # The point above and the two that keep the copier busy; then the two, each by itself.
    assert await counts(ingest) == {"copy": 3 + 2, "isolate": 1, "split": 1}
    assert len(split_chunk.rows("f", "f = -1")) == 300


async def test_nobody_waits_for_portions(
    split_chunk: Chunk, serve_ingest: ServeIngest, write: Write, blocked: Blocked, owner: psycopg.Connection
) -> None:
    """While a request is merged in portions, and waits for somebody's lock, the only copier serves others."""
    ingest = await serve_ingest(copiers=1, retry_seconds=60)
    assert (await write(ingest, line(300, 7, "g=300"))).status == 204
    with owner.transaction():
        owner.execute("UPDATE points.m SET g = -1 WHERE time = to_timestamp(%s) AND g = 300", (T + 7 * STEP,))
        slow = asyncio.create_task(write(ingest, *corrections(range(1, 301))))
        await blocked("INSERT INTO")
        assert (await write(ingest, f"m,host=1 f=1 {ELSEWHERE + 1}")).status == 204
        assert not slow.done()
    assert (await slow).status == 204
    assert len(split_chunk.rows("f", "f = -1")) == 300


async def test_a_request_that_fails_half_way_hears_so(
    split_chunk: Chunk, serve_ingest: ServeIngest, write: Write, owner: psycopg.Connection
) -> None:
    """It is told that it was not taken, and what is committed already; sent again it succeeds."""
    ingest = await serve_ingest(copiers=1, retry_seconds=2)
    assert (await write(ingest, line(300, 7, "g=300"))).status == 204
    with owner.transaction():
        owner.execute("UPDATE points.m SET g = -1 WHERE time = to_timestamp(%s) AND g = 300", (T + 7 * STEP,))
        reply = await write(ingest, *corrections(range(1, 301)))
        assert (reply.status, int(reply.headers["Retry-After"]) > 0) == (503, True)
        assert "lock timeout; " in reply.message
        assert "of its points are committed" in reply.message
    some = len(split_chunk.rows("f", "f = -1"))
    assert 0 < some < 300
    assert (await write(ingest, *corrections(range(1, 301)))).status == 204
    assert len(split_chunk.rows("f", "f = -1")) == 300
    assert len(split_chunk.rows("f")) == 300 * ROWS
    assert await ingest.counted("ingest_points_refused_total") == 300


async def test_a_value_refused_half_way(
    chunk: Chunk, serve_ingest: ServeIngest, write: Write, owner: psycopg.Connection
) -> None:
    """The request hears that a value is refused for good, and what of it is committed all the same."""
    owner.execute("SELECT FROM catalog.ensure_fields('m', '{f,g}')")
    owner.execute("ALTER TABLE points.m ADD CONSTRAINT below_thousand CHECK (f < 1000)")
    chunk.fill(hosts=300)
    chunk.limit(20 * ROWS)
    ingest = await serve_ingest(copiers=1)
    reply = await write(ingest, *corrections(range(1, 300)), line(300, 7, "f=6666"))
    assert (reply.status, reply.body["sqlstate"]) == (400, "23514")
    assert "below_thousand" in reply.message
    assert "of its points are committed" in reply.message
    assert 0 < len(chunk.rows("f", "f = -1")) < 300
    assert await counts(ingest) == {"split": 1, "reject": 1}
    assert (await write(ingest, *corrections(range(1, 301)))).status == 204


async def test_portions_have_their_time(split_chunk: Chunk, serve_ingest: ServeIngest, write: Write) -> None:
    """Past it the request is refused with the setting's name, and what is committed stays."""
    hurried = await serve_ingest(copiers=1, split_seconds=1e-6)
    reply = await write(hurried, *corrections(range(1, 301)))
    assert reply.status == 503
    assert "INGEST_SPLIT_SECONDS" in reply.message
    assert await hurried.counted("ingest_ladder_total", rung="give_up") == 1
    patient = await serve_ingest(copiers=1)
    assert (await write(patient, *corrections(range(1, 301)))).status == 204
    assert len(split_chunk.rows("f", "f = -1")) == 300


async def test_a_server_that_opens_no_batch_at_all(
    chunk: Chunk, serve_ingest: ServeIngest, write: Write, together: Together
) -> None:
    """Where a batch is more than the server allows, a request is refused with the server's word, and no other is."""
    chunk.fill(hosts=10)
    chunk.limit(ROWS - 1)
    ingest = await serve_ingest(copiers=1, retry_seconds=2)
    replies = await together(ingest, line(1, 7, "f=-1"), f"m,host=2 f=-1 {T + 5}")
    assert [reply.status for reply in replies] == [503, 204]
    assert "tuple decompression limit exceeded" in replies[0].message


async def test_two_ingestors_that_correct_the_same_points(
    split_chunk: Chunk, serve_ingest: ServeIngest, write: Write
) -> None:
    """Both are merged in portions at once, everybody's last value is there, and nobody is made a victim."""
    ingestors = [await serve_ingest(copiers=2, retry_seconds=60), await serve_ingest(copiers=2, retry_seconds=60)]
    requests = [
        corrections(range(1, 301), place, f"f={-place}") + corrections(range(300, 0, -1), place, "g=-1")
        for place in range(6)
    ]
    replies = await asyncio.gather(*(write(ingest, *lines) for lines in requests for ingest in ingestors))
    assert {reply.status for reply in replies} == {204}
    for ingest in ingestors:
        assert await ingest.counted("ingest_database_errors_total", sqlstate="40P01") == 0
        assert await ingest.counted("ingest_points_accepted_total") == 6 * 600
    assert split_chunk.rows("f, g", f"time < to_timestamp({T + 6 * STEP})") == [
        (-place, -1.0) for _ in range(300) for place in range(6)
    ]
    assert len(split_chunk.rows("f")) == 300 * ROWS


async def test_a_chunk_that_is_compressed_again_meanwhile(
    split_chunk: Chunk, serve_ingest: ServeIngest, write: Write
) -> None:
    """While the policy's job runs over and over, late points and corrections are all stored."""
    ingest = await serve_ingest(copiers=2, retry_seconds=60)
    stop = asyncio.Event()

    async def compress() -> None:
        while not stop.is_set():
            with suppress(psycopg.errors.DataException):  # it gives way to those who write, and would run again
                await asyncio.to_thread(split_chunk.compress)

    compressing = asyncio.create_task(compress())
    for place in range(4):
        late = [f"m,host={host} f=-2 {T + place * STEP + 5}" for host in range(1, 301)]
        replies = await asyncio.gather(write(ingest, *corrections(range(1, 301), place)), write(ingest, *late))
        assert [reply.status for reply in replies] == [204, 204]
    stop.set()
    await compressing
    assert len(split_chunk.rows("f", "f = -1")) == len(split_chunk.rows("f", "f = -2")) == 1200
    assert len(split_chunk.rows("f")) == 300 * ROWS + 1200
    split_chunk.compress()
    assert split_chunk.status() == (1, 0)


async def test_fields_that_come_later(split_chunk: Chunk, serve_ingest: ServeIngest, write: Write) -> None:
    """A measurement that is compressed gains fields, in fresh points, in late ones and in those that are there."""
    ingest = await serve_ingest(copiers=1)
    assert (await write(ingest, f"m,host=1 f=1,h=2,i=3 {ELSEWHERE + 1}")).status == 204
    assert (await write(ingest, f"m,host=1 j=4 {T + 5}")).status == 204
    assert (await write(ingest, *corrections(range(1, 301), 7, "k=5,f=-1"))).status == 204
    expected = [(0, None, None), (-1.0, None, 5.0), (None, 4.0, None)]
    for _ in range(2):
        found = split_chunk.rows(
            "f, j, k", f"host = '1' AND time IN (to_timestamp({T}), to_timestamp({T + 5}), to_timestamp({T + 70}))"
        )
        assert sorted(found, key=str) == sorted(expected, key=str)
        assert len(split_chunk.rows("f", "k = 5")) == 300
        split_chunk.compress()
        assert split_chunk.status() == (2, 0)


async def test_corrections_that_were_spooled(
    split_chunk: Chunk,
    serve_ingest: ServeIngest,
    write: Write,
    eventually: Eventually,
    relay: Relay,
    relayed_url: SecretStr,
    tmp_path: Path,
) -> None:
    """What came while the database was away is merged in portions when it is back."""
    ingest = await serve_ingest(
        copiers=1, retry_seconds=0.5, database_url=relayed_url, spool="on", spool_directory=tmp_path / "spool"
    )
    assert (await write(ingest, f"m,host=1 f=1 {ELSEWHERE + 1}")).status == 204
    relay.pause()
    reply = await write(ingest, *corrections(range(1, 301)))
    assert (reply.status, reply.headers["Tidemark-Durability"]) == (204, "spooled")
    relay.resume()

    async def is_drained() -> bool:
        return await ingest.counted("ingest_spool_drained_points_total") == 300

    await eventually(is_drained)
    assert (await counts(ingest))["split"] == 1
    assert len(split_chunk.rows("f", "f = -1")) == 300
    assert await ingest.counted("ingest_spool_quarantined_total") == 0


async def test_corrections_that_take_too_long_are_spooled(
    split_chunk: Chunk,
    serve_ingest: ServeIngest,
    write: Write,
    eventually: Eventually,
    owner: psycopg.Connection,
    tmp_path: Path,
) -> None:
    """A client need not wait for portions: its request is spooled when its time is over, while others are committed."""
    ingest = await serve_ingest(copiers=1, retry_seconds=3, spool="on", spool_directory=tmp_path / "spool")
    assert (await write(ingest, line(300, 7, "g=300"))).status == 204
    with owner.transaction():
        owner.execute("UPDATE points.m SET g = -1 WHERE time = to_timestamp(%s) AND g = 300", (T + 7 * STEP,))
        reply = await write(ingest, *corrections(range(1, 301)))
        assert (reply.status, reply.headers["Tidemark-Durability"]) == (204, "spooled")
        fresh: list[str] = []

        async def others_are_committed() -> bool:
            reply = await write(ingest, f"m,host=1 f=1 {ELSEWHERE + len(fresh)}")
            assert reply.status == 204
            fresh.append(reply.headers["Tidemark-Durability"])
            return fresh[-1] == "committed"

        await eventually(others_are_committed)  # until the portion under way is over they are spooled behind it

    async def is_drained() -> bool:
        return await ingest.counted("ingest_spool_drained_points_total") == 300 + fresh.count("spooled")

    await eventually(is_drained)
    assert len(split_chunk.rows("f", "f = -1")) == 300
