from __future__ import annotations

from collections.abc import Sequence

import pytest

from query import compression
from query.negotiation import by_quality, listed

TYPES = ("application/json", "text/csv", "application/x-ndjson")


@pytest.mark.parametrize(
    ("header", "liked"),
    [
        ("*/*", TYPES),
        ("text/csv", ["text/csv"]),
        ("TEXT/CSV;header=present", ["text/csv"]),
        ("text/*", ["text/csv"]),
        ("application/json;q=0.5, text/csv", ["text/csv", "application/json"]),
        ("application/*;q=0.2,application/json;q=0.1", ["application/x-ndjson", "application/json"]),
        ("*/*;q=0.1, application/json;q=0", ["text/csv", "application/x-ndjson"]),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", TYPES),
        ("text/html, image/gif, image/jpeg, *; q=.2, */*; q=.2", TYPES),
        ("application/json;q=.25, text/csv;q=0.3", ["text/csv", "application/json"]),
        ("text/html", []),
        ("text/csv;q=.", []),
        ("text/csv;q=0.", []),
        ("text/csv;q=0", []),
        ("text/csv;q=2", []),
        ("text/csv;q=x", []),
        ("text/csv;q=0.1234", []),
        (",,;q=1", []),
    ],
)
def test_what_is_liked(header: str, liked: Sequence[str]) -> None:
    """The most specific entry decides, the best liked comes first, and of equals the one offered first."""
    assert by_quality(header, TYPES) == tuple(liked)


@pytest.mark.parametrize(
    ("header", "coding"),
    [
        (None, None),
        ("", None),
        ("identity", None),
        ("gzip", "gzip"),
        ("gzip, deflate, br", "gzip"),
        ("gzip, deflate, br, zstd", "zstd"),
        ("gzip, zstd;q=0.5", "gzip"),
        ("gzip;q=0", None),
        ("gzip;q=0.5, identity", None),
        ("*", "zstd"),
        ("br", None),
    ],
)
def test_codings(header: str | None, coding: str | None) -> None:
    """The coding that the client likes best, and none unless it says that it takes one."""
    assert compression.choose(header) == coding


def test_a_list_in_several_lines() -> None:
    """A header that comes in several lines, as proxies may send it, is one list."""
    assert by_quality(listed(["text/html", "text/csv;q=0.5, */*;q=0.1"]) or "", TYPES)[0] == "text/csv"
    assert listed([]) is None
