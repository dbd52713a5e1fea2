"""Answers kept in a real Redis: shared by processes, and never waited for."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import SecretStr
from redis import Redis

from tests.integration.conftest import ServeIngest
from tests.integration.query.conftest import DEADLINE_SECONDS, Database, Query, ServeQuery
from tests.integration.query.panels import Asked, ask, is_same, points, window
from tests.redis_server import RedisServer, redis_server


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    """A server of the test's own."""
    with redis_server() as server:
        yield server


@pytest.fixture
async def query(database: str, stored: Database, serve_query: ServeQuery, redis: RedisServer) -> Query:
    """Query that keeps everything in Redis, on an hour of points."""
    stored.store("cpu", points(timedelta(hours=1), timedelta(0), timedelta(seconds=10)))
    return await keeping(database, serve_query, redis)


async def keeping(database: str, serve_query: ServeQuery, redis: RedisServer) -> Query:
    """One more query on the same points and the same Redis."""
    query = await serve_query(database, cache_url=SecretStr(redis.url), cache_min_seconds=0, cache_timeout_seconds=0.5)
    await query.until_ready()
    await query.until_keeping()
    return query


@pytest.fixture
def long_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    """After an error nothing is tried for so long that what a test asks meanwhile is asked in time."""
    monkeypatch.setattr("query.remote.FIRST_PAUSE_SECONDS", 5.0)


def panel() -> dict[str, Any]:
    """A curve over a range that is over."""
    settled = window(timedelta(minutes=45), datetime.now(UTC) - timedelta(minutes=5))
    return {"metric": "cpu.usage", "fn": "avg,count", "by": "host", "step": "1m", **settled}


async def until_reused(query: Query, asked: dict[str, Any], outcome: str) -> None:
    """Wait until an answer is as far from the cache as that: what is kept is written in the background."""
    async with asyncio.timeout(DEADLINE_SECONDS):
        while (await ask(query, **asked)).reuse != outcome:  # noqa: ASYNC110 - it happens behind HTTP
            await asyncio.sleep(0.02)


async def kept(query: Query, client: Redis, asked: dict[str, Any]) -> tuple[Asked, list[bytes | str]]:
    """An answer whose windows are in Redis by now, and all keys that are there."""
    first = await ask(query, **asked)
    await until_reused(query, asked, "hit")
    keys = client.keys("*")
    assert isinstance(keys, list)
    return first, keys


async def test_processes_share_what_they_keep(
    database: str, query: Query, serve_query: ServeQuery, serve_ingest: ServeIngest, redis: RedisServer
) -> None:
    """What one has computed the other has, and a late point is in the answers of both."""
    other = await keeping(database, serve_query, redis)
    asked = panel()
    first = await ask(query, **asked)
    assert first.reuse == "miss"
    await until_reused(query, asked, "hit")
    again = await ask(other, **asked)
    assert (again.reuse, again.answer, again.headers["ETag"]) == ("hit", first.answer, first.headers["ETag"])
    late = int((datetime.now(UTC) - timedelta(minutes=20)).timestamp())
    ingest = await serve_ingest()
    assert (await ingest.send("/write?precision=s", f"cpu,host=web-1 usage=4321 {late}")).status == 204
    for one in (query, other):
        changed = await ask(one, **asked)
        assert changed.answer != first.answer
    await until_reused(other, asked, "hit")


async def test_a_frozen_redis_slows_nothing(query: Query, redis: RedisServer, long_pause: None) -> None:
    """One wait no longer than the setting allows, then nothing is asked of it until it answers again."""
    asked = panel()
    first = await ask(query, **asked)
    await until_reused(query, asked, "hit")
    redis.freeze()
    for _ in range(5):
        again = await ask(query, **asked)
        assert (again.status, again.reuse) == (200, "miss")
        assert is_same(again.answer["series"][0]["points"][0], first.answer["series"][0]["points"][0])
    assert await query.counted("query_cache_errors_total", kind="timeout") == 1
    assert await query.counted("query_cache_broken") == 1
    redis.thaw()
    await until_reused(query, asked, "hit")
    assert await query.counted("query_cache_broken") == 0


async def test_a_dead_redis_breaks_nothing(query: Query, redis: RedisServer) -> None:
    """It is left alone, and used again when it is back, empty."""
    asked = panel()
    await ask(query, **asked)
    await until_reused(query, asked, "hit")
    redis.stop()
    for _ in range(5):
        again = await ask(query, **asked)
        assert (again.status, again.reuse) == (200, "miss")
    assert await query.counted("query_cache_errors_total", kind="broken") >= 1
    redis.start()
    await until_reused(query, asked, "hit")


async def test_what_others_have_written_is_not_read(query: Query, redis: RedisServer) -> None:
    """Something else under one of our keys is computed anew, and counted."""
    asked = panel()
    with Redis.from_url(redis.url) as client:
        first, keys = await kept(query, client, asked)
        assert len(keys) >= 45
        for key, rubbish in zip(keys, [b"", b"\0", b"[]", b"{}\n[]", b'["",1]\n'] * 20, strict=False):
            client.set(key, rubbish)
    again = await ask(query, **asked)
    assert (again.status, again.reuse) == (200, "miss")
    assert is_same(again.answer["series"], first.answer["series"])
    assert await query.counted("query_cache_errors_total", kind="unreadable") >= 1


async def test_what_is_under_another_key_is_not_read(query: Query, redis: RedisServer) -> None:
    """Windows that have come to each other's places are computed anew: none is taken for another."""
    asked = panel()
    with Redis.from_url(redis.url) as client:
        first, keys = await kept(query, client, asked)
        values = [client.get(key) for key in keys]
        for key, value in zip(keys, [*values[1:], values[0]], strict=True):
            assert isinstance(value, bytes)
            client.set(key, value)
    again = await ask(query, **asked)
    assert (again.status, again.reuse) == (200, "miss")
    assert is_same(again.answer["series"], first.answer["series"])


async def test_a_full_redis_is_still_read(query: Query, redis: RedisServer, long_pause: None) -> None:
    """What it has is used; it is given nothing for a while, which is logged and counted once, and is no failure."""
    asked = panel()
    await ask(query, **asked)
    await until_reused(query, asked, "hit")
    with Redis.from_url(redis.url) as client:
        client.config_set("maxmemory", 1)
        other = {**asked, "fn": "max"}
        for _ in range(5):
            assert (await ask(query, **other)).reuse == "miss"
            await query.until_counted("query_cache_errors_total", 1, kind="refused")
            assert (await ask(query, **asked)).reuse == "hit"
        assert await query.counted("query_cache_broken") == 0
        client.config_set("maxmemory", 0)
    await until_reused(query, other, "hit")


NO_REPLIES = {
    "of another type": b":1\r\n",
    "too short": b"*0\r\n",
    "a map": b"%1\r\n$1\r\na\r\n$1\r\nb\r\n",
    "of numbers": b"*45\r\n" + 45 * b":1\r\n",
    "a length that is none": b"*x\r\n",
    "too deep": 5000 * b"*1\r\n" + b":1\r\n",
    "not Redis'": b"HTTP/1.1 400 Bad Request\r\n\r\n",
}


@pytest.mark.parametrize("reply", NO_REPLIES.values(), ids=NO_REPLIES)
async def test_a_server_that_is_no_redis_breaks_nothing(
    database: str, stored: Database, serve_query: ServeQuery, reply: bytes
) -> None:
    """Whatever it says, answers are computed, and that something is wrong is counted."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            if line.strip().upper() in (b"SETINFO", b"MGET", b"SET", b"HELLO", b"SELECT"):
                writer.write(reply if line.strip() == b"MGET" else b"+OK\r\n")
        writer.close()

    stored.store("cpu", points(timedelta(hours=1), timedelta(0), timedelta(seconds=10)))
    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        query = await serve_query(
            database, cache_url=SecretStr(f"redis://127.0.0.1:{port}/0"), cache_min_seconds=0, cache_timeout_seconds=1
        )
        await query.until_ready()
        await query.until_keeping()
        for _ in range(3):
            assert (await ask(query, **panel())).reuse == "miss"
        assert await query.counted("query_cache_errors_total") >= 1


async def test_query_starts_without_redis(
    database: str, stored: Database, serve_query: ServeQuery, capsys: pytest.CaptureFixture[str]
) -> None:
    """It need not be there: nothing is kept, everything is answered, and its password is in no line of the log."""
    stored.store("cpu", points(timedelta(hours=1), timedelta(0), timedelta(seconds=10)))
    query = await serve_query(database, cache_url=SecretStr("redis://:hunter2@127.0.0.1:1/0"), cache_min_seconds=0)
    await query.until_ready()
    await query.until_keeping()
    assert (await ask(query, **panel())).reuse == "miss"
    told = capsys.readouterr().out
    assert "the cache does not answer" in told
    assert "hunter2" not in told
