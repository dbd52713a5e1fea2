from __future__ import annotations

import re
from string import Formatter
from typing import get_args

import pytest

from query.statements import PARTS, RECIPES, anchored
from query.window import Function


def test_every_function_has_a_recipe() -> None:
    """A function that a request may name can be computed."""
    assert set(RECIPES) == set(get_args(Function))


@pytest.mark.parametrize("fn", get_args(Function))
def test_a_recipe_merges_the_parts_that_it_asks_for(fn: Function) -> None:
    """No part is merged that was not computed, and none is computed in vain."""
    recipe = RECIPES[fn]
    merged = {name for _, name, _, _ in Formatter().parse(recipe.merge) if name}
    assert merged == set(recipe.parts)
    assert merged <= set(PARTS)


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
