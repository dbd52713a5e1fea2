from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from pydantic import SecretStr

from query.instruments import Instruments
from query.settings import QuerySettings
from query.shares import Shares
from service.errors import TooManyRequests, Unavailable

WAITING = "query_waiting_for_share"


class Line:
    """Shares with settings of the test's own, and requests that last until they are told to end."""

    def __init__(self, **settings: Any) -> None:
        self.registry = CollectorRegistry()
        chosen = QuerySettings(**{"database_url": SecretStr("postgresql:///x"), "wait_seconds": 60, **settings})
        self.shares = Shares(chosen, Instruments(self.registry))
        self.under_way: list[str] = []

    async def ask(self, client: str, end: asyncio.Event) -> None:
        """A request that is under way until `end`."""
        with await self.shares.one(client):
            self.under_way.append(client)
            await end.wait()

    def waiting(self) -> float | None:
        """How many wait for others of their client."""
        return self.registry.get_sample_value(WAITING)


@asynccontextmanager
async def asked(line: Line, *clients: str) -> AsyncIterator[None]:
    """Requests of these clients, in that order, until the block's end; they then are answered, all of them."""
    end = asyncio.Event()
    tasks = []
    for client in clients:
        tasks.append(asyncio.create_task(line.ask(client, end)))
        await asyncio.sleep(0)
    try:
        yield
    finally:
        end.set()
        await asyncio.gather(*tasks)


async def test_a_client_waits_for_itself_alone() -> None:
    """Each client has its share under way whatever the others ask, and the rest of its requests wait."""
    line = Line(connections=4, client_share=0.5, max_waiting=20)
    async with asked(line, *"aaaaabbc"):
        assert line.under_way == list("aabbc")
        assert line.waiting() == 3
    assert line.under_way == list("aabbcaaa")
    assert line.waiting() == 0


async def test_a_line_has_an_end() -> None:
    """Past its places to wait a client is refused, and others are not; when it was answered it may ask again."""
    line = Line(connections=2, client_share=0.5, max_waiting=4)
    async with asked(line, *"aaa"):
        with pytest.raises(TooManyRequests, match="3 requests of this client are under way or waiting"):
            await line.ask("a", asyncio.Event())
        async with asked(line, "b"):
            assert line.under_way == ["a", "b"]
    async with asked(line, "a"):
        assert line.under_way[-1] == "a"


async def test_all_that_wait_are_bounded() -> None:
    """However many the clients, no more of their requests wait than may; who need not wait is not refused."""
    line = Line(connections=4, client_share=0.5, max_waiting=2)
    async with asked(line, *"aaabbbcc"):
        assert line.waiting() == 2
        with pytest.raises(Unavailable, match="QUERY_MAX_WAITING allows 2"):
            await line.ask("c", asyncio.Event())
        async with asked(line, "d"):
            assert line.under_way[-1] == "d"


async def test_who_leaves_the_line_makes_room() -> None:
    """A request that is cancelled while it waits takes no turn and no place any more."""
    line = Line(connections=2, client_share=0.5, max_waiting=2)
    end = asyncio.Event()
    first, leaver, patient = (asyncio.create_task(line.ask("a", end)) for _ in range(3))
    await asyncio.sleep(0)
    assert line.waiting() == 1  # there is no room for the third
    with pytest.raises(TooManyRequests):
        await patient
    leaver.cancel()
    await asyncio.wait([leaver])
    assert line.waiting() == 0
    patient = asyncio.create_task(line.ask("a", end))
    await asyncio.sleep(0)
    assert line.waiting() == 1
    end.set()
    await asyncio.gather(first, patient)


async def test_a_wait_is_bounded() -> None:
    """A request whose client's others take too long is refused."""
    line = Line(connections=2, client_share=0.5, wait_seconds=0.01)
    async with asked(line, "a"):
        with pytest.raises(TooManyRequests, match="QUERY_WAIT_SECONDS"):
            await line.ask("a", asyncio.Event())
