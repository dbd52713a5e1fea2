"""What the server does to everybody, provoked for real: what the callers hear, what is counted, what is stored, and
that the writer goes on."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import psycopg
import pytest
from psycopg import sql
from pydantic import SecretStr

from tests.integration.conftest import Ingest, ServeIngest
from tests.integration.ingest.conftest import (
    DEADLINE_SECONDS,
    Blocked,
    Eventually,
    T,
    Together,
    Write,
    disconnect,
    goes_on,
)
from tests.relay import Relay


async def test_a_deadlock_is_tried_again(
    known: Ingest, write: Write, owner: psycopg.Connection, blocked: Blocked, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ingest, made the victim of a deadlock with another writer, tries again and merges."""
    monkeypatch.setattr("ingest.ladder.LONG_WAIT_SECONDS", DEADLINE_SECONDS)
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
    assert await goes_on(known, write)


LOOPBACK = """
    CREATE EXTENSION IF NOT EXISTS postgres_fdw;
    CREATE TABLE public.counter (n int);
    INSERT INTO public.counter VALUES (0);
    CREATE SERVER loopback FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host {host}, port {port}, dbname {database});
    CREATE USER MAPPING FOR CURRENT_USER SERVER loopback OPTIONS (user {user}, password {password});
    CREATE FOREIGN TABLE public.counted (n int) SERVER loopback OPTIONS (schema_name 'public', table_name 'counter');
    CREATE FUNCTION public.count() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
    BEGIN
        IF NEW.f = 666 THEN UPDATE public.counted SET n = n + 1; END IF;
        RETURN NEW;
    END $$;
    CREATE TRIGGER count BEFORE INSERT ON points.m FOR EACH ROW EXECUTE FUNCTION public.count();
"""
"""A trigger that counts over a connection of postgres_fdw, whose transactions are repeatable read."""


@pytest.fixture
def loopback(owner: psycopg.Connection) -> None:
    """Count the points of measurement m with the value 666; another's update of the counter is in their way."""
    if not owner.execute("SELECT FROM pg_available_extensions WHERE name = 'postgres_fdw'").rowcount:
        pytest.skip("the server has no postgres_fdw")
    at = owner.info
    names = {"host": at.host, "port": at.port, "database": at.dbname, "user": at.user, "password": at.password}
    owner.execute(sql.SQL(LOOPBACK).format(**{name: sql.Literal(str(value)) for name, value in names.items()}))


async def test_a_serialization_failure_is_tried_again(
    known: Ingest, write: Write, together: Together, owner: psycopg.Connection, loopback: None, eventually: Eventually
) -> None:
    """A transaction that another one's update makes impossible is tried again as a whole, and committed."""
    waits = "SELECT FROM pg_stat_activity WHERE application_name = 'postgres_fdw' AND wait_event_type = 'Lock'"
    with psycopg.connect(known.database_url) as other:
        other.execute("UPDATE public.counter SET n = 10")
        replies = asyncio.create_task(together(known, f"m,host=a f=1 {T}", f"m,host=a f=666 {T + 1}"))
        await eventually(lambda: owner.execute(waits).rowcount == 1)
        other.commit()
        assert [reply.status for reply in await replies] == [204, 204]
    assert known.rows("SELECT f FROM m WHERE time > '2023-01-01' ORDER BY f") == [(1.0,), (666.0,)]
    assert known.rows("SELECT n FROM public.counter") == [(11,)]
    assert await known.counted("ingest_database_errors_total", sqlstate="40001") == 1
    assert await known.counted("ingest_ladder_total", rung="retry") == 1
    assert await known.counted("ingest_ladder_total", rung="isolate") == 0
    assert await goes_on(known, write)


async def test_a_statement_that_takes_too_long_holds_up_nobody_else(
    serve_ingest: ServeIngest, write: Write, made: None, owner: psycopg.Connection
) -> None:
    """Past the statement timeout a request is refused, and the others of its group are committed."""
    ingest = await serve_ingest(copiers=1, retry_seconds=4, statement_timeout_seconds=1)
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
    known: Ingest, write: Write, owner: psycopg.Connection, blocked: Blocked, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The administrator ends the session: the points are written on another one."""
    monkeypatch.setattr("ingest.ladder.SHORT_WAIT_SECONDS", DEADLINE_SECONDS)
    with owner.transaction():
        owner.execute("LOCK TABLE points.m IN ACCESS EXCLUSIVE MODE")
        reply = asyncio.create_task(write(known, f"m,host=a f=1 {T}"))
        await blocked("COPY")
        assert disconnect(owner) >= 1
    assert (await reply).status == 204
    assert known.rows("SELECT f FROM m WHERE time > '2023-01-01'") == [(1.0,)]
    assert await known.counted("ingest_database_errors_total") == 1
    assert await known.counted("ingest_database_errors_total", sqlstate="57P01") == 1
    assert await known.counted("ingest_ladder_total", rung="retry") == 1
    assert await goes_on(known, write)


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
    assert await ingest.counted("ingest_database_errors_total", sqlstate="08003") == 1
    assert ingest.rows("SELECT f FROM m UNION ALL SELECT f FROM n ORDER BY f") == [(0.0,), (1.0,), (2.0,)]
    assert await goes_on(ingest, write)


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
    made: None,
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
    assert await ingest.counted("ingest_points_refused_total") == 1
    assert await goes_on(ingest, write)


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
    assert await goes_on(hasty, write)
