"""Panels asked of query that keeps what it computes, beside query that does not."""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from tests.conftest import DEADLINE_SECONDS
from tests.integration.query.reference import Point

if TYPE_CHECKING:  # the conftest makes fixtures of what is here
    from tests.integration.conftest import Ingest
    from tests.integration.query.conftest import Database, Query

HOSTS = [f"web-{n}" for n in range(5)]


def at(ago: timedelta) -> datetime:
    """So long ago, in whole seconds."""
    return (datetime.now(UTC) - ago).replace(microsecond=0)


def points(since: timedelta, until: timedelta, every: timedelta) -> list[Point]:
    """Points of all hosts in a range, without some; in whichever order their values are added, the sum is the same."""
    chance = random.Random(0)
    moment, last = at(since), at(until)
    found = []
    while moment < last:
        found += [
            Point((("host", host),), moment, {"usage": chance.randrange(800) / 8, "idle": float(chance.randrange(5))})
            for host in HOSTS
            if chance.random() < 0.8
        ]
        moment += every
    return found


@dataclass(frozen=True)
class Asked:
    """What a client hears."""

    status: int
    answer: Any
    headers: Mapping[str, str]

    @property
    def reuse(self) -> str:
        """How much was there already."""
        return self.headers["Tidemark-Cache"]


async def ask(
    query: Query, accept: str = "*/*", known: str = "", path: str = "/api/v1/aggregate", **parameters: Any
) -> Asked:
    """An answer in a format, unless it is `known` by its tag, with what its headers say."""
    headers = {"Accept": accept, **({"If-None-Match": known} if known else {})}
    async with query.client.get(f"{query.url}{path}", params=parameters, headers=headers) as response:
        told = await response.json() if response.content_type == "application/json" and response.status != 304 else None
        return Asked(response.status, told, response.headers)


def is_same(one: Any, other: Any) -> bool:
    """Whether two answers are the same but for the last digits of sums, whose order the server chooses each time."""
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=1e-12)
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(is_same(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(is_same, one, other))
    return bool(one == other)


@dataclass(frozen=True)
class Both:
    """Query that keeps what it computes, and query that does not, on the same points."""

    keeping: Query
    plain: Query
    ingest: Ingest
    stored: Database

    async def same(self, **parameters: Any) -> Asked:
        """What the one that keeps answers, which is what the other does; ranges are of fixed moments."""
        asked = await ask(self.keeping, **parameters)
        assert asked.status == 200, asked
        assert is_same(asked.answer, (await ask(self.plain, **parameters)).answer)
        return asked

    async def same_points(self, **parameters: Any) -> Asked:
        """The same of points themselves."""
        return await self.same(path="/api/v1/points", **parameters)

    async def until_kept(self, **parameters: Any) -> Asked:
        """The same, asked until it is kept.

        What was written late counts as changed while any transaction on the server, also another database's, is older.
        """
        async with asyncio.timeout(DEADLINE_SECONDS):
            while (asked := await self.same(**parameters)).reuse != "hit":
                pass
        return asked

    async def write(self, *lines: str) -> None:
        """Commit points through ingest."""
        reply = await self.ingest.send("/write?precision=s", "\n".join(lines))
        assert reply.status == 204, reply

    async def reused(self, outcome: str = "reused") -> float:
        """How many windows had this outcome so far."""
        return await self.keeping.counted("query_cache_windows_total", outcome=outcome)


def window(length: timedelta, end: datetime | None = None) -> dict[str, Any]:
    """The parameters of a range that ends now, or at `end`."""
    last = end or datetime.now(UTC)
    return {"start": (last - length).isoformat(), "end": last.isoformat()}
