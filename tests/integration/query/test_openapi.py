from __future__ import annotations

import asyncio
import re
from datetime import UTC, datetime, timedelta

from pydantic import SecretStr

from query.app import create_app
from query.openapi import document
from query.settings import QuerySettings
from tests.fuzz import answered, described, examples_and_edges, fuzz
from tests.integration.query.conftest import Database, Query, ServeQuery
from tests.integration.query.reference import Point

TYPES = {"js": "text/javascript", "css": "text/css"}
KNOWN = {
    "metric": ["cpu.usage_user"],
    "measurement": "cpu",
    "fn": ["avg", "count"],
    "by": ["host"],
    "start": "-1h",
    "end": "now",
    "since": "-1h",
    "step": "5m",
    "tz": "Europe/Berlin",
    "order_by": "avg(cpu.usage_user)",
    "resolution": "auto",
    "limit": 5,
    "match": ["os=~lin.*"],
    "where": ["cpu.usage_user>0"],
    "after": None,
    "position": [],
}


async def test_every_answer_is_as_described(database: str, stored: Database, serve_query: ServeQuery) -> None:
    """Good requests and bad ones have no 5xx, and no status, type or shape of JSON that is not described."""
    # To connect takes a random number of the process, which strategies of the other thread must not see changed.
    query = await serve_query(database, connections=1)
    await query.until_ready()
    now = datetime.now(UTC) - timedelta(seconds=1)
    stored.store("cpu", [Point((("host", "web-1"), ("os", "linux")), now, {"usage_user": 1.0})])
    heard = await asyncio.to_thread(fuzz, query.url, KNOWN)
    assert {label for label, statuses in heard.items() if 200 not in statuses} == set()
    assert {400, 404, 406} <= set().union(*heard.values())


async def test_examples_and_edges_of_the_description(query: Query) -> None:
    """Every example and every bound is answered as described, and so is what is just past a bound, or left out."""
    assert await asyncio.to_thread(examples_and_edges, query.url) == ""


async def test_every_route_is_described(query: Query) -> None:
    """The description has each path and method that is answered, and no other; but for the files of its page."""
    app = create_app(QuerySettings(database_url=SecretStr("postgresql:///x")))
    assert described(document()) == answered(app)


def test_what_may_be_sent_again_is_described_to_say_when() -> None:
    """Refusals that pass by themselves are described with the header that they have, and no others."""
    for path in document()["paths"].values():
        for operation in path.values():
            said = {status for status, one in operation["responses"].items() if "Retry-After" in one.get("headers", {})}
            assert said == {"429", "503"} & set(operation["responses"])


async def test_the_page_loads_nothing_from_elsewhere(query: Query) -> None:
    """The page and all that it names come from the service itself, and the browser is told to take nothing else.

    An icon, which browsers look for of themselves, stands in the page.
    """
    async with query.client.get(f"{query.url}/docs") as response:
        assert (response.status, response.content_type) == (200, "text/html")
        assert "default-src 'none'; script-src 'self'; style-src 'self';" in response.headers["Content-Security-Policy"]
        page = await response.text()
    assert "//" not in page
    icon, *named = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert (icon, len(named)) == ("data:,", 3)
    assert f'<link rel="icon" href="{icon}">' in page
    for name in named:
        async with query.client.get(f"{query.url}/{name}") as response:
            assert (response.status, response.content_type) == (200, TYPES[name.rsplit(".", 1)[1]])
            assert len(await response.read()) > 100
    async with query.client.get(f"{query.url}/docs/other.js") as response:
        assert response.status == 404
