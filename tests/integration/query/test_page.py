"""The page's files over HTTP; the page itself is tested in a browser, in tests/acceptance."""

from __future__ import annotations

import re
from dataclasses import dataclass

import pytest
from multidict import CIMultiDictProxy

from tests.integration.query.conftest import Query, ServeQuery

NOWHERE = "postgresql://127.0.0.1:1/x"


@dataclass
class Answer:
    """What came back for a file."""

    status: int
    headers: CIMultiDictProxy[str]
    body: bytes
    """Decompressed."""


@pytest.fixture
async def query(serve_query: ServeQuery) -> Query:
    """Query without a database: the page needs none, to say that there is none."""
    return await serve_query(NOWHERE)


async def ask(query: Query, path: str, **headers: str) -> Answer:
    """GET a file; `If_None_Match` stands for `If-None-Match`."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    async with query.client.get(f"{query.url}{path}", headers=named) as response:
        return Answer(response.status, response.headers, await response.read())


async def script(query: Query) -> str:
    """The address of the page's first module."""
    found = re.search(r'src="(assets/\w+/app.js)"', (await ask(query, "/")).body.decode())
    assert found is not None
    return f"/{found[1]}"


async def test_the_index_is_asked_for_again(query: Query) -> None:
    """It is HTML, and a browser that has it is told so: 304, without a body."""
    first = await ask(query, "/")
    assert (first.status, first.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert first.headers["Cache-Control"] == "no-cache"
    again = await ask(query, "/", If_None_Match=first.headers["ETag"])
    assert (again.status, again.body) == (304, b"")
    assert again.headers["ETag"] == first.headers["ETag"]
    assert (await ask(query, "/", If_None_Match='"another"')).status == 200


async def test_other_files_are_kept(query: Query) -> None:
    """Their addresses have their version, so they hold for good; there is nothing under another version or name."""
    path = await script(query)
    answer = await ask(query, path)
    assert (answer.status, answer.headers["Content-Type"]) == (200, "text/javascript; charset=utf-8")
    assert "immutable" in answer.headers["Cache-Control"]
    assert (await ask(query, path, If_None_Match=answer.headers["ETag"])).status == 304
    others = (path.replace("app.js", "none.js"), re.sub(r"assets/\w+", "assets/0", path), "/assets/x/..%2findex.html")
    for other in others:
        missing = await ask(query, other)
        assert missing.status == 404
        assert b"load the page again" in missing.body
        assert missing.headers["Cache-Control"] == "no-store", "it may be there in a moment, after an upgrade"


@pytest.mark.parametrize(
    ("accepted", "encoding"),
    [("gzip", "gzip"), ("br, GZIP;q=0.5", "gzip"), ("gzip;q=0", None), ("br", None), ("", None)],
)
async def test_each_gets_the_encoding_that_it_takes(query: Query, accepted: str, encoding: str | None) -> None:
    """Compressed or plain, the content is the same; caches are told, and the tags differ."""
    path = await script(query)
    plain = await ask(query, path, Accept_Encoding="identity")
    answer = await ask(query, path, Accept_Encoding=accepted)
    assert answer.headers.get("Content-Encoding") == encoding
    assert answer.headers["Vary"] == "Accept-Encoding"
    assert answer.body == plain.body
    assert (answer.headers["ETag"] == plain.headers["ETag"]) == (encoding is None)


async def test_every_answer_is_guarded(query: Query) -> None:
    """Index, files and 304s have the policy and the other headers; the policy allows nothing but what is ours."""
    path = await script(query)
    tag = (await ask(query, "/")).headers["ETag"]
    nothing = {"frame-ancestors 'none'", "base-uri 'none'", "form-action 'none'", "trusted-types 'none'"}
    for answer in (await ask(query, "/"), await ask(query, path), await ask(query, "/", If_None_Match=tag)):
        directives = answer.headers["Content-Security-Policy"].split("; ")
        assert directives[0] == "default-src 'none'"
        assert nothing < set(directives)
        assert not re.search(r"unsafe|https?:|\*|data:", answer.headers["Content-Security-Policy"])
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Referrer-Policy"] == "no-referrer"
        assert answer.headers["X-Frame-Options"] == "DENY"
