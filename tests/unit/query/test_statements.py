from __future__ import annotations

from string import Formatter
from typing import get_args

import pytest

from query.statements import PARTS, RECIPES
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
