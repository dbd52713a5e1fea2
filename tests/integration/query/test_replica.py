"""Reads from a replica that streams from the primary, and what they are sure to see."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from pydantic import SecretStr

from query.position import Position, parse_position
from sql.migrate import migrate
from tests.conftest import copied
from tests.integration.conftest import ServeIngest
from tests.integration.query.conftest import DEADLINE_SECONDS, Database, ServeQuery
from tests.integration.query.pair import Pair, beside, make_pair
from tests.replica import Node, primary, replica_of


@pytest.fixture(scope="module")
def primary_node() -> Iterator[Node]:
    """A primary, with a migrated database to copy."""
    with primary() as node:
        with psycopg.connect(node.url(), autocommit=True) as server:
            server.execute("CREATE DATABASE template")
            migrate(node.url(database="template"))
            server.execute("ALTER DATABASE template ALLOW_CONNECTIONS false")
        yield node


@pytest.fixture(scope="module")
def replica_node(primary_node: Node) -> Iterator[Node]:
    """Its replica."""
    with replica_of(primary_node) as node:
        yield node


@pytest.fixture
def database(primary_node: Node) -> Iterator[str]:
    """A database of the test's own on the primary."""
    with copied(primary_node.url(), "template") as url:
        yield url


@pytest.fixture
async def pair(database: str, replica_node: Node, serve_ingest: ServeIngest, serve_query: ServeQuery) -> Pair:
    """Both, with one point that the replica has; it may be behind for as long as the test likes."""
    made = await make_pair(
        serve_ingest, serve_query, database, beside(database, replica_node), replica_max_lag_seconds=DEADLINE_SECONDS
    )
    await made.until_from("replica")
    return made


async def test_reads_go_to_the_replica(pair: Pair) -> None:
    """While it is fresh enough the replica answers, and the answer, an instrument and the status say so."""
    assert await pair.ask() == ("replica", 1)
    assert await pair.query.counted("query_reads_total", server="replica", reason="fresh") >= 1
    assert await pair.query.counted("query_database_up", server="replica") == 1
    status, answer = await pair.query.get("/api/v1/status")
    assert status == 200
    assert answer["replica"]["in_use"] is True
    assert answer["replica"]["fault"] is None
    assert 0 <= answer["replica"]["behind_seconds"] < DEADLINE_SECONDS


async def test_strong_reads_go_to_the_primary(pair: Pair) -> None:
    """Whatever was committed is seen, however far the replica is behind."""
    with pair.paused():
        await pair.write()
        assert await pair.ask() == ("replica", 1)
        assert await pair.ask(consistency="strong") == ("primary", 2)
    assert await pair.query.counted("query_reads_total", server="primary", reason="strong") == 1


async def test_a_position_is_seen(pair: Pair) -> None:
    """The primary answers for a replica that has not come to the position; one that has answers itself."""
    with pair.paused():
        position = await pair.write()
        assert await pair.ask() == ("replica", 1)
        assert await pair.ask(position) == ("primary", 2)
        assert await pair.ask(position=position) == ("primary", 2)
        assert await pair.query.counted("query_reads_total", server="primary", reason="not_reached") == 2
    async with asyncio.timeout(DEADLINE_SECONDS):
        while await pair.ask(position) != ("replica", 2):  # noqa: ASYNC110 - it happens behind HTTP
            await asyncio.sleep(0.02)
    assert await pair.query.counted("query_reads_total", server="replica", reason="reached") == 1


async def test_of_several_positions_all_are_seen(pair: Pair) -> None:
    """A client that has written several times names what it likes, in a header or in parameters."""
    first = await pair.write()
    with pair.paused():
        second = await pair.write()
        assert await pair.ask(f"{first}, {second}") == ("primary", 3)
        assert await pair.ask(first, position=second) == ("primary", 3)


async def test_a_read_waits_for_its_position(
    database: str, replica_node: Node, serve_ingest: ServeIngest, serve_query: ServeQuery
) -> None:
    """A replica that is about to come to the position is waited for, as long as a setting says."""
    made = await make_pair(
        serve_ingest,
        serve_query,
        database,
        beside(database, replica_node),
        replica_max_lag_seconds=DEADLINE_SECONDS,
        replica_wait_seconds=DEADLINE_SECONDS,
    )
    await made.until_from("replica")
    with made.paused():
        position = await made.write()
        asked = asyncio.create_task(made.ask(position))
        done, _ = await asyncio.wait([asked], timeout=0.2)
        assert not done
    assert await asked == ("replica", 2)


async def test_every_position_that_ingest_gives_is_reached(pair: Pair) -> None:
    """Also one behind the header of a page of the log that nothing else is on: an idle primary stands there."""
    for _ in range(2000):
        ((at, place),) = pair.primary.execute("SELECT at - '0/0', '1-' || at FROM pg_current_wal_insert_lsn() at")
        room = 8192 - int(at) % 8192
        if room == 8192 - 24:
            break
        # A message of this size fills the page to its end, unless somebody else writes meanwhile.
        size = max(0, room - 55) if room < 4096 else room - 2000
        pair.primary.execute("SELECT pg_logical_emit_message(false, '', repeat('x', %s), true)", size)
    else:
        pytest.fail("the log never ended with a page")
    assert parse_position(place).lsn % 8192 == 24
    async with asyncio.timeout(DEADLINE_SECONDS):
        while (await pair.ask(place))[0] != "replica":  # noqa: ASYNC110 - it happens behind HTTP
            await asyncio.sleep(0.02)


async def test_a_lagging_replica_is_left_until_it_has_caught_up(
    database: str,
    replica_node: Node,
    serve_ingest: ServeIngest,
    serve_query: ServeQuery,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Further behind than the setting allows, it is not read; that is logged once, counted, and ends by itself."""
    made = await make_pair(
        serve_ingest, serve_query, database, beside(database, replica_node), replica_max_lag_seconds=2.0
    )
    await made.until_from("replica")
    with made.paused():
        await made.write()
        # Until then the primary may answer because it is not known how far the replica is, and a look at it ends that.
        surely_behind = time.monotonic() + 2
        async with asyncio.timeout(DEADLINE_SECONDS):
            while await made.ask() != ("primary", 2) or time.monotonic() < surely_behind:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        assert await made.query.counted("query_replica_behind_seconds") > 2
        assert "it is too far behind" in capsys.readouterr().out
        before = await made.query.counted("query_reads_total", server="primary", reason="lagging")
        for _ in range(5):
            assert await made.ask() == ("primary", 2)
        assert await made.query.counted("query_reads_total", server="primary", reason="lagging") == before + 5
        assert "it is too far behind" not in capsys.readouterr().out
        assert (await made.query.get("/readyz"))[0] == 200
    async with asyncio.timeout(DEADLINE_SECONDS):
        while await made.ask() != ("replica", 2):  # noqa: ASYNC110 - it happens behind HTTP
            await asyncio.sleep(0.02)


async def test_a_dead_replica_is_left_until_it_is_back(pair: Pair, replica_node: Node) -> None:
    """Reads go to the primary as if nothing had been, and to the replica again when it has been started."""
    replica_node.stop()
    for _ in range(20):
        assert (await pair.ask())[1] == 1
    await pair.until_from("primary")
    assert (await pair.query.get("/readyz"))[0] == 200
    assert await pair.query.counted("query_database_up", server="replica") == 0
    replica_node.start()
    await pair.until_from("replica")


async def test_a_frozen_replica_keeps_nobody_waiting(pair: Pair, replica_node: Node) -> None:
    """What it was asked is answered by the primary when it turns out not to answer, and nothing more is asked of it."""
    replica_node.freeze()
    try:
        assert await pair.ask() == ("primary", 1)
        assert await pair.query.counted("query_reads_total", server="primary", reason="failed") == 1
        await pair.until_from("primary")
    finally:
        replica_node.thaw()
    await pair.until_from("replica")


async def test_a_statement_that_the_replica_ends_is_run_on_the_primary(pair: Pair) -> None:
    """A conflict with what is replayed, or an end of the connection, is not the client's trouble."""
    with pair.primary.locked("cpu"):
        pair.primary.execute("SELECT pg_logical_emit_message(true, '', '')")  # its commit sends the lock along
        locks = "SELECT pid FROM pg_locks WHERE mode = 'AccessExclusiveLock'"
        await pair.replica.until(lambda: pair.replica.execute(locks))
        asked = asyncio.create_task(pair.ask())
        await pair.replica.until_waiting_for_lock()
        pair.replica.disconnect_query()
        await pair.primary.until_waiting_for_lock()
    assert await asked == ("primary", 1)
    assert await pair.query.counted("query_reads_total", server="primary", reason="failed") == 1


async def test_a_client_that_leaves_cancels_its_statement_on_the_replica(pair: Pair) -> None:
    """Nothing runs on there for a client that is gone, and the primary is not asked in its place."""
    with pair.primary.locked("cpu"):
        pair.primary.execute("SELECT pg_logical_emit_message(true, '', '')")  # its commit sends the lock along
        locks = "SELECT pid FROM pg_locks WHERE mode = 'AccessExclusiveLock'"
        await pair.replica.until(lambda: pair.replica.execute(locks))
        asked = asyncio.create_task(pair.ask())
        await pair.replica.until_waiting_for_lock()
        asked.cancel()
        await pair.replica.until(lambda: not pair.replica.statements("wait_event_type = 'Lock'"))
        assert not pair.primary.statements("wait_event_type = 'Lock'")
    await pair.query.until_counted("query_statements_abandoned_total", 1)
    assert await pair.query.counted("query_reads_total", server="primary", reason="failed") == 0


async def test_reads_go_on_while_the_primary_is_away(pair: Pair, primary_node: Node, replica_node: Node) -> None:
    """The replica answers for as long as it may be behind; what only the primary can promise is 503."""
    primary_node.freeze()
    try:
        await pair.query.until_counted("query_database_up", 0, server="primary")
        assert await pair.ask() == ("replica", 1)
        assert (await pair.query.get("/readyz"))[0] == 200
        status, answer = await pair.refused(consistency="strong")
        assert (status, answer["code"]) == (503, "unavailable")
    finally:
        primary_node.thaw()
    await pair.query.until_counted("query_database_up", 1, server="primary")


async def test_after_a_failover_no_replica_of_the_old_primary_is_read(
    database: str, primary_node: Node, replica_node: Node, serve_ingest: ServeIngest, serve_query: ServeQuery
) -> None:
    """A replica that is promoted is no replica any more, and one of another timeline has not reached anything."""
    with replica_of(primary_node) as new:
        made = await make_pair(
            serve_ingest, serve_query, database, beside(database, new), replica_max_lag_seconds=DEADLINE_SECONDS
        )
        await made.until_from("replica")
        new.execute("SELECT pg_promote()")
        await made.until_from("primary")
        assert await made.query.counted("query_reads_total", server="primary", reason="promoted") >= 1

        old_position = await made.write()  # after the promotion, on the old primary: the new one will never have it
        after = await serve_query(
            beside(database, new), replica_url=SecretStr(beside(database, replica_node)), connect_timeout_seconds=2
        )
        await after.until_ready()
        failed_over = Pair(made.ingest, after, Database(beside(database, new)), made.replica)
        assert await failed_over.ask() == ("primary", 1)
        await after.until_counted("query_database_up", 1, server="replica")
        assert await failed_over.ask() == ("primary", 1)
        assert await after.counted("query_reads_total", server="primary", reason="timeline") >= 1
        # Nobody can say whether what the old timeline had by then came along; the primary has all that did.
        assert (await failed_over.ask(old_position))[0] == "primary"

        ((place,),) = failed_over.primary.execute("SELECT '2-' || pg_current_wal_insert_lsn()")
        status, answer = await made.refused(position=place)
        assert (status, answer["parameter"]) == (400, "position")
        assert "has another server become the primary?" in answer["message"]


async def test_a_server_that_is_no_replica_of_ours_is_not_read(
    database: str, primary_node: Node, serve_ingest: ServeIngest, serve_query: ServeQuery
) -> None:
    """Neither another database of the primary's, nor another server's."""
    with copied(primary_node.url(), "template") as other:
        made = await make_pair(serve_ingest, serve_query, database, other)
        await made.query.until_counted("query_database_up", 1, server="replica")
        assert await made.ask() == ("primary", 1)
        assert await made.query.counted("query_reads_total", server="primary", reason="foreign") == 1
        answer = (await made.query.get("/api/v1/status"))[1]
        assert "another database" in answer["replica"]["fault"]


async def test_positions_that_cannot_be(pair: Pair) -> None:
    """What is no position, or one past all that was committed, is refused, and the refusal says what is allowed."""
    position = parse_position(await pair.write())
    for wrong in ("nonsense", str(Position(position.timeline, position.lsn + (1 << 40)))):
        status, answer = await pair.refused(position=wrong)
        assert (status, answer["parameter"]) == (400, "position")
        assert "allowed: what ingest answers as Tidemark-Position" in answer["message"]
    status, answer = await pair.refused(consistency="quick")
    assert (status, answer["parameter"]) == (400, "consistency")


async def test_positions_without_a_replica(database: str, serve_ingest: ServeIngest, serve_query: ServeQuery) -> None:
    """The primary has what it has committed; what it has not is refused just the same."""
    ingest = await serve_ingest()
    query = await serve_query(database)
    await query.until_ready()
    made = Pair(ingest, query, Database(database), Database(database))
    position = await made.write()
    assert await made.ask(position, consistency="strong") == ("primary", 1)
    assert await query.counted("query_reads_total", server="primary", reason="only") == 1
    assert (await made.refused(position="1-FFFFFFFF/0"))[0] == 400


async def test_a_replica_in_place_of_the_primary_promises_nothing(
    pair: Pair, replica_node: Node, database: str, serve_query: ServeQuery
) -> None:
    """Where QUERY_DATABASE_URL is a replica, ordinary reads are answered, and promises are not made."""
    query = await serve_query(beside(database, replica_node))
    await query.until_ready()
    assert (await query.aggregate(metric="cpu.usage"))["series"]
    status, answer = await query.get("/api/v1/aggregate", {"metric": "cpu.usage", "consistency": "strong"})
    assert (status, answer["code"]) == (503, "unavailable")
    assert "is a replica" in answer["message"]


async def test_what_is_kept_of_a_replica_lacks_nothing(
    database: str, replica_node: Node, serve_ingest: ServeIngest, serve_query: ServeQuery
) -> None:
    """A late point that the replica has not replayed is in the primary's answer, and in the replica's when it has."""
    made = await make_pair(
        serve_ingest,
        serve_query,
        database,
        beside(database, replica_node),
        replica_max_lag_seconds=DEADLINE_SECONDS,
        cache_min_seconds=0,
    )
    await made.until_from("replica")
    made.oldest -= 600
    now = datetime.now(UTC)
    asked = {"start": (now - timedelta(minutes=30)).isoformat(), "end": (now - timedelta(minutes=5)).isoformat()}
    position = await made.write()

    async def until(header: str, heard: tuple[str, int]) -> None:
        async with asyncio.timeout(DEADLINE_SECONDS):
            while await made.ask(header, **asked) != heard:  # noqa: ASYNC110 - it happens behind HTTP
                await asyncio.sleep(0.02)

    await until(position, ("replica", 1))
    for written in range(2, 5):
        reused = await made.query.counted("query_cache_windows_total", outcome="reused")
        assert await made.ask(**asked) == ("replica", written - 1)
        assert await made.query.counted("query_cache_windows_total", outcome="reused") == reused + 1
        with made.paused():
            position = await made.write()
            assert await made.ask(position, **asked) == ("primary", written)
            assert await made.ask(**asked) == ("replica", written - 1)
        await until(position, ("replica", written))
