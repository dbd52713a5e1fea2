from __future__ import annotations

from string import Formatter

import pytest

from query.functions import NAMED, PARTS, PERCENTILES, ROLLED_UP, ROLLED_UP_PARTS, check, fraction, parts_of, recipe

NAMES = (*NAMED, "p0", "p7", "p50", "p99.9", "p100")


def fields_of(template: str) -> set[str]:
    """The names in braces."""
    return {name for _, name, _, _ in Formatter().parse(template) if name}


@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_merges_the_parts_that_it_asks_for(name: str) -> None:
    """No part is merged that was not computed, and none is computed in vain."""
    how = recipe(name)
    assert fields_of(how.merge) - {"place"} == set(how.parts)
    assert set(how.parts) <= set(PARTS)


@pytest.mark.parametrize("name", PARTS)
def test_a_part_is_computed_from_what_a_scan_has(name: str) -> None:
    """Of points a scan has a value, that before it and the percentiles; of a rollup its four columns."""
    part = PARTS[name]
    used = fields_of(part.of_points)
    assert used <= {"value", "before", "before_time", "fractions"}
    assert part.needs_before is bool(used & {"before", "before_time"})
    assert fields_of(part.of_rollup or "") <= set(ROLLED_UP_PARTS)


def test_rollups_have_five_functions() -> None:
    """What can be had from sums, counts, minima and maxima, and nothing else."""
    assert ROLLED_UP == ("avg", "min", "max", "sum", "count")


@pytest.mark.parametrize(
    ("name", "share"), [("median", 0.5), ("p0", 0.0), ("p95", 0.95), ("p99.9", 0.999), ("p100", 1.0), ("avg", None)]
)
def test_a_percentile_is_a_share_of_the_points(name: str, share: float | None) -> None:
    """`median` is p50; what is no percentile has no share."""
    assert fraction(name) == (share if share is None else pytest.approx(share, rel=1e-15))


@pytest.mark.parametrize("name", NAMES)
def test_known_functions(name: str) -> None:
    """Every named function, and every percentile, is one."""
    assert check(name) == name


@pytest.mark.parametrize(
    "name", ["", "mean", "AVG", "p", "p101", "p100.1", "p-1", "p1.", "p.5", "p1e1", "p٣", "p1.1234567"]
)
def test_unknown_functions_are_refused(name: str) -> None:
    """Whatever else is asked for is refused, with what is allowed."""
    with pytest.raises(ValueError, match=r"is not known; allowed: avg, .* p0 to p100"):
        check(name)


def test_parts_are_computed_once() -> None:
    """Functions that share a part do not make it twice."""
    assert parts_of(("avg", "sum", "count", "p5", "median", "rate", "increase")) == (
        "sum", "count", PERCENTILES, "increase", "elapsed"
    )  # fmt: skip
