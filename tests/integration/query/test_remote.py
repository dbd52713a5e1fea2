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
from tests.integration.query.panels import ask, is_same, points, window
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


def panel() -> dict[str, Any]:
    """A curve over a range that is over."""
    settled = window(timedelta(minutes=45), datetime.now(UTC) - timedelta(minutes=5))
    return {"metric": "cpu.usage", "fn": "avg,count", "by": "host", "step": "1m", **settled}


async def until_reused(query: Query, asked: dict[str, Any], outcome: str) -> None:
    """Wait until an answer is as far from the cache as that: what is kept is written in the background."""
    async with asyncio.timeout(DEADLINE_SECONDS):
        while (await ask(query, **asked)).reuse != outcome:  # noqa: ASYNC110 - it happens behind HTTP
            await asyncio.sleep(0.02)


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


async def test_a_frozen_redis_slows_nothing(query: Query, redis: RedisServer) -> None:
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
    first = await ask(query, **asked)
    await until_reused(query, asked, "hit")
    with Redis.from_url(redis.url) as client:
        keys = client.keys("*")
        assert isinstance(keys, list)
        assert len(keys) >= 45
        for key, rubbish in zip(keys, [b"", b"\0", b"[]", b"{}\n[]", b'["",1]\n'] * 20, strict=False):
            client.set(key, rubbish)
    again = await ask(query, **asked)
    assert (again.status, again.reuse) == (200, "miss")
    assert is_same(again.answer["series"], first.answer["series"])
    assert await query.counted("query_cache_errors_total", kind="unreadable") >= 1


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
