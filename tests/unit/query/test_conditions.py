from __future__ import annotations

import re

import pytest

from query.conditions import anchored


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
