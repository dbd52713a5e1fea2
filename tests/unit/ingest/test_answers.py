"""What a client hears of its points."""

from __future__ import annotations

import json
from typing import Any

from aiohttp import web

from ingest.answers import answer
from ingest.names import Limits
from ingest.points import Batch, Series

LIMITS = Limits(max_fields=3, max_tags=2, max_tag_bytes=100, max_shapes=1000)


def batch_of(accepted: int, rejected: int) -> Batch:
    """So many points."""
    batch = Batch(LIMITS)
    for n in range(accepted):
        batch.add(Series("cpu", "{}"), n, {"x": 1.0}, n)
    for n in range(rejected):
        batch.reject(n + 7, "time", f"why {n}")
    return batch


def body_of(response: web.Response) -> Any:
    """The JSON body."""
    assert isinstance(response.body, bytes)
    assert response.content_type == "application/json"
    return json.loads(response.body)


def test_all_accepted() -> None:
    """204, committed, and no body."""
    response = answer(batch_of(2, 0))
    assert (response.status, response.headers["Tidemark-Durability"], response.body) == (204, "committed", None)


def test_some_accepted() -> None:
    """400 with both numbers, the list, and the words that InfluxDB's clients know; the good points are committed."""
    response = answer(batch_of(3, 2))
    body = body_of(response)
    assert (response.status, response.headers["Tidemark-Durability"]) == (400, "committed")
    assert body["error"] == body["message"] == "partial write: 2 of 5 points rejected: line 7: why 0"
    assert (body["code"], body["accepted"], body["rejected"]) == ("invalid", 3, 2)
    assert body["rejections"] == [
        {"line": 7, "reason": "time", "message": "why 0"},
        {"line": 8, "reason": "time", "message": "why 1"},
    ]


def test_none_accepted() -> None:
    """400 with the other words, and nothing is said to be committed."""
    response = answer(batch_of(0, 1))
    assert response.status == 400
    assert "Tidemark-Durability" not in response.headers
    assert body_of(response)["error"] == "unable to parse: no point could be taken: line 7: why 0"


def test_skipped_fields_are_named_safely() -> None:
    """Names of skipped fields stand in a header, encoded and short, whatever they hold."""
    batch = batch_of(1, 0)
    for name in ("a\r\nSet-Cookie: b", "é, =", *("😀" * 100 + str(n) for n in range(20))):
        batch.skip_field(name)
    header = answer(batch).headers["Tidemark-Skipped-Fields"]
    assert header.startswith("a%0D%0ASet-Cookie%3A%20b, %C3%A9%2C%20%3D, ")
    assert len(header) < 8190
    assert header.isascii()
