"""What tests of lists ask, and of which hosts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from tests.integration.query.conftest import Database, Query
from tests.integration.query.reference import Point

NOW = datetime.now(UTC).replace(microsecond=0)
"""When the tests were collected: a slow machine may come to them an hour later."""
HOUR = timedelta(hours=1)
PATHS = ("last", "measurements", "fields", "tags", "tags/host/values", "series", "hosts")


def member(path: str) -> str:
    """What the list is called in its answer."""
    return "series" if path == "last" else path.rsplit("/", 1)[-1]


def point(ago: timedelta, **tags: str) -> Point:
    """A point with these tags, some time ago."""
    return Point(tuple(sorted(tags.items())), NOW - ago, {"v": 1.0})


def iso(moment: datetime) -> str:
    """A moment as answers write it."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


async def listed(query: Query, path: str, **parameters: Any) -> Any:
    """The entries of a list that succeeds."""
    status, answer = await query.get(f"/api/v1/{path}", parameters)
    assert status == 200, answer
    return answer[member(path)]


async def names(query: Query, path: str, name: str, **parameters: Any) -> list[Any]:
    """One member of each entry."""
    return [entry[name] for entry in await listed(query, path, **parameters)]


def store_fleet(stored: Database) -> None:
    """Three hosts in two measurements: `a` seen lately, `b` two hours ago, `c` three days ago."""
    stored.store(
        "cpu",
        [
            point(HOUR / 60, host="a", region="eu", core="0"),
            point(2 * HOUR, host="b", region="us", core="0"),
            point(72 * HOUR, host="c", region="eu", core="1"),
        ],
    )
    stored.store("mem", [point(HOUR, host="a", region="eu"), point(72 * HOUR, hostname="c")])
