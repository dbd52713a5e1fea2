"""The rungs of the ladder, each provoked on the real database: what the callers hear, what is counted, what is
stored, and that the writer goes on."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import psycopg
import pytest
from psycopg import sql
from pydantic import SecretStr

from tests.integration.conftest import Ingest, ServeIngest
from tests.integration.ingest.conftest import Blocked, Eventually, Together, Write, disconnect
from tests.relay import Relay

T = 1_700_000_000


async def goes_on(ingest: Ingest, write: Write) -> bool:
    """Whether ingest commits what comes next."""
    place = T + 1_000_000
    reply = await write(ingest, f"m,host=afterwards f=1 {place}")
    return reply.status == 204 and (1.0,) in ingest.rows("SELECT f FROM m WHERE host = 'afterwards'")


async def test_new_points_are_copied(known: Ingest, write: Write) -> None:
    """A request of several measurements and shapes is one transaction of plain COPY."""
    before = await known.counted("ingest_ladder_total", rung="copy")
    reply = await write(known, f"m,host=a f=1 {T}", f"m,host=b f=1,g=2 {T}", f"n,host=a f=3 {T}")
    assert reply.status == 204
    assert reply.headers["Tidemark-Durability"] == "committed"
    assert await known.counted("ingest_ladder_total", rung="copy") == before + 1
    assert await known.counted("ingest_ladder_total", rung="merge") == 0
    assert known.rows("SELECT host, f, g FROM m WHERE time > '2023-01-01' ORDER BY host") == [
        ("a", 1.0, None),
        ("b", 1.0, 2.0),
    ]


async def test_a_repeated_point_merges_its_fields(known: Ingest, write: Write) -> None:
    """Fields of one series and time come together in one row, the last value wins, what is not given stays."""
    assert (await write(known, f"m,host=a f=1,g=1 {T}")).status == 204
    assert (await write(known, f"m,host=a g=2,h=2 {T}", f"m,host=a h=3 {T}", f"m,host=a i=4 {T}")).status == 204
    assert known.rows("SELECT f, g, h, i FROM m WHERE time > '2023-01-01'") == [(1.0, 2.0, 3.0, 4.0)]
    assert await known.counted("ingest_ladder_total", rung="merge") == 1
    assert await known.counted("ingest_database_errors_total", sqlstate="23505") == 1
    assert await known.counted("ingest_points_accepted_total") == 5


async def test_a_point_twice_in_one_request_is_one_row(known: Ingest, write: Write) -> None:
    """Of two values in one request the later wins, in one shape and across shapes."""
    reply = await write(known, f"m f=1 {T}", f"m f=2 {T}", f"m f=4,g=1 {T + 1}", f"m f=3 {T + 1}")
    assert reply.status == 204
    assert known.rows("SELECT f, g FROM m WHERE host IS NULL ORDER BY time") == [(2.0, None), (3.0, 1.0)]


async def test_shapes_that_are_merged_together_leave_each_other_alone(known: Ingest, write: Write) -> None:
    """Points that are there already keep the fields that only other points of the same request have."""
    assert (await write(known, f"m,host=a f=1,g=1 {T}", f"m,host=b f=1,g=1 {T}")).status == 204
    assert (await write(known, f"m,host=a f=2 {T}", f"m,host=b g=2 {T}")).status == 204
    assert known.rows("SELECT host, f, g FROM m WHERE time > '2023-01-01' ORDER BY host") == [
        ("a", 2.0, 1.0),
        ("b", 1.0, 2.0),
    ]


async def test_requests_of_one_group_merge_in_their_order(known: Ingest, write: Write, together: Together) -> None:
    """Requests with the same point that are committed together leave the last one's value."""
    assert (await write(known, "m f=0,g=0 1600000000")).status == 204
    replies = await together(known, f"m f=1,g=1 {T}", f"m f=2 {T}", f"m g=3,f=3 {T}", f"m f=4 {T}")
    assert [reply.status for reply in replies] == [204] * 4
    assert known.rows("SELECT f, g FROM m WHERE time > '2023-01-01'") == [(4.0, 3.0)]


async def test_a_point_that_another_writer_has_not_committed_yet_is_merged_with(
    known: Ingest, write: Write, owner: psycopg.Connection, blocked: Blocked
) -> None:
    """A COPY waits only for a moment for another's transaction; then it waits in the merge, and succeeds."""
    assert (await write(known, "m,host=a f=0,g=0 1600000000")).status == 204
    with owner.transaction():
        owner.execute(
            "INSERT INTO points.m (time, series_id, f) SELECT to_timestamp(%s), id, 7 FROM catalog.series", (T,)
        )
        reply = asyncio.create_task(write(known, f"m,host=a g=8 {T}"))
        await blocked("INSERT INTO")
    assert (await reply).status == 204
    assert known.rows("SELECT f, g FROM m WHERE time > '2023-01-01'") == [(7.0, 8.0)]
    assert await known.counted("ingest_database_errors_total", sqlstate="55P03") == 1


async def test_a_refused_value_fails_its_own_request_alone(
    known: Ingest, write: Write, together: Together, owner: psycopg.Connection
) -> None:
    """The request with a value that only the database refuses hears so; others of its group are committed."""
    owner.execute("ALTER TABLE points.m ADD CONSTRAINT below_hundred CHECK (f < 100)")
    replies = await together(known, f"m,host=a f=1 {T}", f"m,host=a f=666 {T + 1}", f"m,host=a f=2 {T + 2}")
    assert [reply.status for reply in replies] == [204, 400, 204]
    assert "below_hundred" in replies[1].body["message"]
    assert replies[1].body["sqlstate"] == "23514"
    assert known.rows("SELECT f FROM m WHERE time > '2023-01-01' ORDER BY f") == [(1.0,), (2.0,)]
    assert await known.counted("ingest_ladder_total", rung="isolate") == 1
    assert await known.counted("ingest_ladder_total", rung="reject") == 1
    assert await known.counted("ingest_points_rejected_total", reason="database") == 1
    assert await goes_on(known, write)


async def test_a_duplicate_that_cannot_be_merged_is_refused(
    known: Ingest, write: Write, owner: psycopg.Connection
) -> None:
    """A unique index that somebody added does not keep the writer going in circles."""
    owner.execute("CREATE UNIQUE INDEX ON points.m (f, time)")
    assert (await write(known, f"m,host=a f=1 {T}")).status == 204
    reply = await write(known, f"m,host=b f=1 {T}")
    assert (reply.status, reply.body["sqlstate"]) == (400, "23505")
    assert await goes_on(known, write)


FAILURES = """
    CREATE TABLE IF NOT EXISTS public.failure (value float8, code text, times int, tries text);
    GRANT SELECT ON public.failure TO tidemark_ingest;
    CREATE OR REPLACE FUNCTION public.fail() RETURNS trigger LANGUAGE plpgsql AS $$
    DECLARE planned public.failure;
    BEGIN
        SELECT * INTO planned FROM public.failure WHERE value = NEW.f;
        IF FOUND AND nextval(planned.tries) <= planned.times THEN
            RAISE EXCEPTION 'as the test wants' USING ERRCODE = planned.code;
        END IF;
        RETURN NEW;
    END $$;
    CREATE OR REPLACE TRIGGER fail BEFORE INSERT ON points.m FOR EACH ROW EXECUTE FUNCTION public.fail();
    CREATE SEQUENCE public.tries_{0};
    GRANT USAGE ON public.tries_{0} TO tidemark_ingest;
    INSERT INTO public.failure VALUES ({0}, '{1}', {2}, 'public.tries_{0}');
"""


def let_fail(owner: psycopg.Connection, value: int, code: str, times: int = 1_000_000) -> None:
    """Have a trigger raise an SQLSTATE for points of measurement m with this value, as often as said."""
    owner.execute(FAILURES.format(value, code, times).encode())


@pytest.mark.parametrize("code", ["40001", "53100"])
async def test_what_may_work_in_a_moment_is_tried_again(
    known: Ingest, together: Together, owner: psycopg.Connection, code: str
) -> None:
    """After an error that is the server's, the whole group is tried again and committed (raised by a trigger)."""
    let_fail(owner, 666, code, times=2)
    replies = await together(known, f"m,host=a f=1 {T}", f"m,host=a f=666 {T + 1}")
    assert [reply.status for reply in replies] == [204, 204]
    assert known.rows("SELECT f FROM m WHERE time > '2023-01-01' ORDER BY f") == [(1.0,), (666.0,)]
    assert await known.counted("ingest_database_errors_total", sqlstate=code) == 2
    assert await known.counted("ingest_ladder_total", rung="isolate") == 0


async def test_an_error_nobody_foresaw_is_tried_again_alone(
    hasty: Ingest, write: Write, together: Together, owner: psycopg.Connection
) -> None:
    """The request it is due to is refused for now, not for good; the others are committed (raised by a trigger)."""
    let_fail(owner, 666, "XX000")
    replies = await together(hasty, f"m,host=a f=1 {T}", f"m,host=a f=666 {T + 1}", f"m,host=a f=2 {T + 2}")
    assert [reply.status for reply in replies] == [204, 503, 204]
    assert await hasty.counted("ingest_database_errors_total", sqlstate="XX000") >= 3
    assert await hasty.counted("ingest_ladder_total", rung="isolate") == 1
    assert await hasty.counted("ingest_points_refused_total") == 1
    owner.execute("TRUNCATE public.failure")
    assert (await write(hasty, f"m,host=a f=666 {T + 1}")).status == 204


async def test_an_outage_ends_the_trying_one_by_one(
    known: Ingest, together: Together, owner: psycopg.Connection
) -> None:
    """When the server fails while requests are tried alone, the rest wait and go together afterwards."""
    let_fail(owner, 666, "XX000", times=2)
    let_fail(owner, 777, "57P03", times=1)
    before = await known.counted("ingest_ladder_total", rung="copy")
    values = (666, 777, 1, 2, 3)
    replies = await together(known, *(f"m,host=a f={value} {T + place}" for place, value in enumerate(values)))
    assert [reply.status for reply in replies] == [204] * 5
    assert known.rows("SELECT f FROM m WHERE time > '2023-01-01' ORDER BY time") == [(value,) for value in values]
    # The busy points of the test, the four that waited, and the one that was tried again alone.
    assert await known.counted("ingest_ladder_total", rung="copy") == before + 2 + 1 + 1


async def test_points_under_way_are_waited_for(
    serve_ingest: ServeIngest, write: Write, owner: psycopg.Connection
) -> None:
    """A transaction that takes longer than a request may wait is not given up, and succeeds or fails as it does."""
    ingest = await serve_ingest(copiers=1, retry_seconds=0.5)
    assert (await write(ingest, "m,host=a f=0 1600000000")).status == 204
    owner.execute(
        "CREATE FUNCTION public.dawdle() RETURNS trigger LANGUAGE plpgsql "
        "AS $$ BEGIN PERFORM pg_sleep(1); RETURN NEW; END $$"
    )
    owner.execute("CREATE TRIGGER dawdle BEFORE INSERT ON points.m FOR EACH ROW EXECUTE FUNCTION public.dawdle()")
    let_fail(owner, 666, "40001")
    assert (await write(ingest, f"m,host=a f=1 {T}")).status == 204
    assert ingest.rows("SELECT f FROM m WHERE time > '2023-01-01'") == [(1.0,)]
    assert (await write(ingest, f"m,host=a f=666 {T + 1}")).status == 503
    assert await ingest.counted("ingest_database_errors_total", sqlstate="40001") == 1


async def test_a_deadlock_is_tried_again(
    known: Ingest, write: Write, owner: psycopg.Connection, blocked: Blocked
) -> None:
    """Ingest, made the victim of a deadlock with another writer, tries again and merges."""
    assert (await write(known, f"m,host=a f=1 {T}", f"m,host=a f=1 {T + 1}")).status == 204
    update = "UPDATE points.m SET g = 9 WHERE time = to_timestamp(%s)"
    owner.execute("ALTER TABLE points.m ADD COLUMN g double precision")
    owner.execute("SET deadlock_timeout = '1min'")
    with owner.transaction():
        owner.execute(update, (T + 1,))
        reply = asyncio.create_task(write(known, f"m,host=a f=2 {T}", f"m,host=a f=2 {T + 1}"))
        await blocked("INSERT INTO")
        await asyncio.to_thread(owner.execute, update, (T,))
    assert (await reply).status == 204
    assert known.rows("SELECT f FROM m WHERE time > '2023-01-01'") == [(2.0,), (2.0,)]
    assert await known.counted("ingest_database_errors_total", sqlstate="40P01") == 1
    assert await known.counted("ingest_ladder_total", rung="retry") == 1


async def test_a_locked_table_holds_up_nobody_else(
    hasty: Ingest, write: Write, together: Together, owner: psycopg.Connection, database: str
) -> None:
    """While somebody keeps a table locked, its requests are refused and those of other tables are committed."""
    assert (await write(hasty, "n f=0 1600000000")).status == 204
    with psycopg.connect(database) as other:
        other.execute("LOCK TABLE points.n IN ACCESS EXCLUSIVE MODE")
        replies = await together(hasty, f"m,host=a f=1 {T}", f"n f=1 {T}", f"m,host=a f=2 {T + 1}")
        assert [reply.status for reply in replies] == [204, 503, 204]
        assert "lock timeout" in replies[1].body["message"]
    assert (await write(hasty, f"n f=1 {T}")).status == 204


async def test_a_statement_that_takes_too_long_holds_up_nobody_else(
    serve_ingest: ServeIngest, write: Write, owner: psycopg.Connection
) -> None:
    """Past the statement timeout a request is refused, and the others of its group are committed."""
    ingest = await serve_ingest(copiers=1, retry_seconds=3, statement_timeout_seconds=0.5)
    assert (await write(ingest, "m,host=a f=0 1600000000")).status == 204
    owner.execute(
        "CREATE FUNCTION public.dawdle() RETURNS trigger LANGUAGE plpgsql "
        "AS $$ BEGIN IF NEW.f = 666 THEN PERFORM pg_sleep(30); END IF; RETURN NEW; END $$"
    )
    owner.execute("CREATE TRIGGER dawdle BEFORE INSERT ON points.m FOR EACH ROW EXECUTE FUNCTION public.dawdle()")
    requests = [f"m,host=a f=1 {T}", f"m,host=a f=666 {T + 1}", f"m,host=a f=2 {T + 2}"]
    replies = await asyncio.gather(*(write(ingest, request) for request in requests))
    assert [reply.status for reply in replies] == [204, 503, 204]
    assert "statement timeout" in replies[1].body["message"]
    assert await ingest.counted("ingest_database_errors_total", sqlstate="57014") >= 2
    assert await goes_on(ingest, write)


async def test_idle_connections_that_were_cut_are_replaced(
    known: Ingest, write: Write, owner: psycopg.Connection
) -> None:
    """Nobody notices that the server has closed connections that nobody used."""
    assert disconnect(owner) >= 1
    assert (await write(known, f"m,host=a f=1 {T}")).status == 204
    assert (await write(known, f"m,host=b f=1 {T}")).status == 204


async def test_a_connection_cut_in_the_middle_of_a_copy(
    known: Ingest, write: Write, owner: psycopg.Connection, blocked: Blocked
) -> None:
    """The administrator ends the session: the points are written on another one."""
    with owner.transaction():
        owner.execute("LOCK TABLE points.m IN ACCESS EXCLUSIVE MODE")
        reply = asyncio.create_task(write(known, f"m,host=a f=1 {T}"))
        await blocked("COPY")
        assert disconnect(owner) >= 1
    assert (await reply).status == 204
    assert known.rows("SELECT f FROM m WHERE time > '2023-01-01'") == [(1.0,)]
    assert await known.counted("ingest_database_errors_total") == 1
    assert await known.counted("ingest_ladder_total", rung="retry") == 1


async def test_an_answer_to_commit_that_is_lost(
    serve_ingest: ServeIngest, write: Write, relay: Relay, relayed_url: SecretStr
) -> None:
    """When nobody hears that points were committed they are written again, and merge with themselves."""
    ingest = await serve_ingest(copiers=1, database_url=relayed_url)
    assert (await write(ingest, "m,host=a f=0 1600000000")).status == 204
    relay.commits_to_lose = 1
    assert (await write(ingest, f"m,host=a f=1 {T}", f"n f=2 {T}")).status == 204
    assert relay.commits_to_lose == 0
    assert await ingest.counted("ingest_ladder_total", rung="retry") == 1
    assert await ingest.counted("ingest_ladder_total", rung="merge") == 1
    assert await ingest.counted("ingest_points_accepted_total") == 3
    assert ingest.rows("SELECT f FROM m UNION ALL SELECT f FROM n ORDER BY f") == [(0.0,), (1.0,), (2.0,)]


async def test_a_table_dropped_by_hand_is_made_again(
    known: Ingest, write: Write, together: Together, owner: psycopg.Connection
) -> None:
    """Its new points are committed under series of their own; others of the group do not suffer."""
    owner.execute("DROP TABLE points.m CASCADE")
    replies = await together(known, f"m,host=a f=1 {T}", f"busy f=2 {T}", f"m,host=b f=3 {T}")
    assert [reply.status for reply in replies] == [204, 204, 204]
    assert known.rows("SELECT host, f FROM m ORDER BY host") == [("a", 1.0), ("b", 3.0)]
    assert await known.counted("ingest_ladder_total", rung="relearn") >= 1


async def test_a_column_dropped_by_hand_fails_nobody_else(
    hasty: Ingest, write: Write, together: Together, owner: psycopg.Connection
) -> None:
    """What the catalog has and the table lacks is told to those who send it, again and again, and to no others."""
    owner.execute("ALTER TABLE points.m DROP COLUMN f CASCADE")
    replies = await together(hasty, f"m,host=a f=1 {T}", f"busy f=2 {T}")
    assert [reply.status for reply in replies] == [503, 204]
    assert 'column "f"' in replies[0].body["message"]


async def test_a_fault_of_ingest_is_answered(
    known: Ingest, write: Write, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """When our own code fails the request hears so at once, the log has it once, and the writer goes on."""

    def broken(columns: object) -> bytes:
        raise ZeroDivisionError("as the test wants")

    with monkeypatch.context() as patch:
        patch.setattr("ingest.ladder.encode", broken)
        reply = await write(known, f"m,host=a f=1 {T}")
    assert (reply.status, reply.body["code"]) == (500, "internal error")
    assert capsys.readouterr().out.count("ZeroDivisionError: as the test wants") == 1
    assert await known.counted("ingest_points_refused_total") == 1
    assert await goes_on(known, write)


@pytest.fixture
def account(owner: psycopg.Connection) -> Iterator[sql.Identifier]:
    """A login that may take on the role of ingest, and may do nothing else."""
    name = f"{owner.info.dbname}_login"
    login = sql.Identifier(name)
    owner.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD 'secret' IN ROLE tidemark_ingest").format(login))
    yield login
    disconnect(owner)
    owner.execute(sql.SQL("DROP ROLE {}").format(login))


async def test_too_many_connections(
    serve_ingest: ServeIngest,
    write: Write,
    owner: psycopg.Connection,
    account: sql.Identifier,
    database: str,
    eventually: Eventually,
) -> None:
    """When the server accepts no more connections the points wait, and are refused when they waited too long."""
    url = database.replace(f"//{owner.info.user}", f"//{account.as_string()[1:-1]}")
    ingest = await serve_ingest(copiers=1, retry_seconds=2, database_url=SecretStr(with_password(url)))
    assert (await write(ingest, "m,host=a f=0 1600000000")).status == 204
    owner.execute(sql.SQL("ALTER ROLE {} CONNECTION LIMIT 0").format(account))
    disconnect(owner)
    reply = await write(ingest, f"m,host=a f=1 {T}")
    assert reply.status == 503
    assert "too many connections" in reply.body["message"]
    assert "secret" not in str(reply.body)
    assert await ingest.counted("ingest_database_errors_total", sqlstate="53300") >= 2
    waits = asyncio.create_task(write(ingest, f"m,host=a f=2 {T}"))
    owner.execute(sql.SQL("ALTER ROLE {} CONNECTION LIMIT 50").format(account))
    assert (await waits).status == 204


def with_password(url: str) -> str:
    """`url` with the password of `account`."""
    scheme, _, rest = url.partition("://")
    credentials, _, place = rest.partition("@")
    return f"{scheme}://{credentials.partition(':')[0]}:secret@{place}"


async def test_a_server_that_turns_read_only_and_back(
    hasty: Ingest, write: Write, owner: psycopg.Connection, eventually: Eventually
) -> None:
    """Points are refused and ingest is not ready while the database is read-only; afterwards all is as before."""
    name = sql.Identifier(owner.info.dbname)
    owner.execute(sql.SQL("ALTER DATABASE {} SET default_transaction_read_only = on").format(name))
    disconnect(owner)
    reply = await write(hasty, f"m,host=a f=1 {T}")
    assert reply.status == 503
    assert int(reply.headers["Retry-After"]) >= 1
    assert "read-only transaction" in reply.body["message"]
    assert await hasty.counted("ingest_points_refused_total") == 1
    assert await hasty.counted("ingest_ladder_total", rung="give_up") == 1
    assert await hasty.counted("ingest_database_errors_total", sqlstate="25006") >= 2

    async def says(wanted: str) -> bool:
        async with hasty.client.get(f"{hasty.url}/readyz") as response:
            return wanted in await response.text()

    await eventually(lambda: says("the database is read-only"))
    owner.execute(sql.SQL("ALTER DATABASE {} RESET default_transaction_read_only").format(name))
    await eventually(lambda: says('"ready"'))
    assert (await write(hasty, f"m,host=a f=1 {T}")).status == 204
