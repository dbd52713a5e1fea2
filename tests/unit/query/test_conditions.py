from __future__ import annotations

import re

import pytest

from query.conditions import anchored, values_of
from query.parameters import Matcher


@pytest.mark.parametrize(
    ("pattern", "value", "matches"),
    [
        ("web", "web", True),
        ("web", "web-1", False),
        ("a|b", "b", True),
        ("a|b", "ab", False),
        ("", "", True),
        ("(?i)web", "WEB", True),
    ],
)
def test_an_anchored_pattern_matches_whole_values(pattern: str, value: str, matches: bool) -> None:
    """As in Prometheus, a matcher's expression is about the whole value. (Python's dialect agrees on these.)"""
    assert bool(re.search(anchored(pattern), value)) is matches


@pytest.mark.parametrize(
    ("pattern", "values"),
    [
        ("web-1", ["web-1"]),
        ("web-1|web-2", ["web-1", "web-2"]),
        ("|a", ["", "a"]),
        ("", [""]),
        ("a.b", None),
        ("a*", None),
        ("(a|b)", None),
        ("(?i)a", None),
        ("a\\|b", None),
        ("ä|b", None),
    ],
)
def test_a_list_of_values_is_compared_as_one(pattern: str, values: list[str] | None) -> None:
    """An expression without a sign of its own but | is not run for every series, and means the same."""
    for operator in ("=~", "!~"):
        found = values_of([Matcher("host", operator, pattern)])["match_0"]
        assert found == (values if values is not None else anchored(pattern))
