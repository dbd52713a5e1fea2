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
from tests.integration.query.fleet import START, at
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


async def test_the_server_that_was_asked_is_named_where_described(query: Query, stored: Database) -> None:
    """Answers and refusals name it from where it is settled on, and what is refused before does not."""
    await query.until_keeping()
    stored.store("cpu", [Point((("host", "web-1"),), START, {"usage_user": 1.0})])
    asked = {"metric": "cpu.usage_user", "start": START.isoformat(), "end": at(60).isoformat()}
    named: dict[bool, set[int]] = {True: set(), False: set()}

    async def ask(known: str = "", **parameters: str) -> str | None:
        url, headers = f"{query.url}/api/v1/aggregate", {"If-None-Match": known} if known else {}
        async with query.client.get(url, params=asked | parameters, headers=headers) as response:
            named[response.headers.get("Tidemark-Server") == "primary"].add(response.status)
            return response.headers.get("ETag")

    tag = await ask()
    assert tag is not None
    await ask(tag)
    for refused in ({"fill": "much"}, {"format": "xml"}, {"match": "host=~("}, {"metric": "cpu.other"}):
        await ask(**refused)
    stored.execute("REVOKE SELECT ON points.cpu FROM tidemark_query")
    await ask(fn="max")
    assert named == {True: {200, 304, 400, 404, 503}, False: {400, 406}}
    for path, operations in document()["paths"].items():
        for operation in operations.values():
            answers = operation["responses"]
            described = {int(status) for status, one in answers.items() if "Tidemark-Server" in one.get("headers", {})}
            assert described == ({int(status) for status in answers} & named[True] if "406" in answers else set()), path


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
