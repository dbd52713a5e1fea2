"""The functions of an aggregate: what each is computed from, and how. Pure.

A function is had in two steps. The points of each series become *parts* in each window (a sum, a count, ...), and the
parts of all series that belong together are merged: exactly, since a function is chosen with parts that allow it. An
average of many series is so the average of all their points, not of their averages.

    avg, sum, count, min, max     from parts that rollups keep too
    first, last                   the value of the earliest or latest point; at the same moment, that of the series made
                                  first: a repeated request must have the same answer
    stddev                        of a sample, as SQL's stddev: null for one point
    median, p0 to p100            exact, over all points of the group, with linear interpolation (percentile_cont)
    increase, delta               a series' growth from each point to the next, summed over the series of the group;
                                  increase takes a fall for a counter's reset, after which it counts from zero
    rate                          increase per second of the time between the points it is taken from, for each series;
                                  summed over the series of the group

What a point adds to increase, delta and rate belongs to the window of that point, also when the point before it does
not: windows so add up, and nothing is extrapolated.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import LiteralString

from query.times import shortened

NAMED = ("avg", "min", "max", "sum", "count", "first", "last", "stddev", "median", "rate", "increase", "delta")

PERCENTILE = re.compile(r"p(100|[0-9]{1,2}(?:\.[0-9]{1,6})?)")
NAME = re.compile(f"{'|'.join(NAMED)}|{PERCENTILE.pattern}")

ALLOWED_FUNCTIONS = f"{', '.join(NAMED)}, p0 to p100 (p99.9 too)"

ROLLED_UP_PARTS = ("sum", "count", "min", "max")
"""What rollups keep of every field; the column of the field 7 is sum_7."""

REACH = ("oldest", "lacks")
"""Parts that no function is had from: they tell which points before a window others are computed with (`reach`)."""

MOST_HELD = 256
"""Names of percentiles, and lists of functions, of which is remembered what they mean."""

PERCENTILES = "percentiles"
"""The part that no other parts can be merged to: it is computed from all points of a group at once."""


@dataclass(frozen=True, slots=True)
class Part:
    """What is kept of the points of a series in a window."""

    type: LiteralString
    of_points: LiteralString
    """From a column {value} of rows p; {before} and {before_time} are those of the series' point before."""
    of_rollup: LiteralString | None = None
    """From the columns {sum}, {count}, {min}, {max} of a rollup; None for what rollups do not keep."""
    needs_before: bool = False


PARTS: dict[str, Part] = {
    "sum": Part("float8", "sum({value})", "sum({sum})"),
    "count": Part("bigint", "count({value})", "sum({count})::bigint"),
    "min": Part("float8", "min({value})", "min({min})"),
    "max": Part("float8", "max({value})", "max({max})"),
    "first": Part("float8", "first({value}, p.time) FILTER (WHERE {value} IS NOT NULL)"),
    "first_time": Part("timestamptz", "min(p.time) FILTER (WHERE {value} IS NOT NULL)"),
    "last": Part("float8", "last({value}, p.time) FILTER (WHERE {value} IS NOT NULL)"),
    "last_time": Part("timestamptz", "max(p.time) FILTER (WHERE {value} IS NOT NULL)"),
    "moments": Part("float8[]", "catalog.moments({value})"),
    "increase": Part(
        "float8",
        "sum(CASE WHEN {value} < {before} THEN {value} ELSE {value} - {before} END)",
        needs_before=True,
    ),
    "delta": Part("float8", "sum({value} - {before})", needs_before=True),
    "elapsed": Part(
        "float8",
        "extract(epoch FROM sum(p.time - {before_time}) FILTER (WHERE {value} IS NOT NULL))::float8",
        needs_before=True,
    ),
    "oldest": Part("timestamptz", "min({before_time}) FILTER (WHERE {value} IS NOT NULL)", needs_before=True),
    "lacks": Part("boolean", "bool_or({before_time} IS NULL) FILTER (WHERE {value} IS NOT NULL)", needs_before=True),
    PERCENTILES: Part("float8[]", "percentile_cont({fractions}::float8[]) WITHIN GROUP (ORDER BY {value})"),
}


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a function is had from its parts."""

    parts: tuple[str, ...]
    merge: LiteralString
    """The parts are named in braces; {place} is a percentile's place in its part."""
    at_once: LiteralString | None = None
    """The same where the parts in braces are those of all points; None where parts of series are needed."""


_MEASURED: dict[str, Recipe] = {
    "avg": Recipe(
        ("sum", "count"), "sum({sum}) / nullif(sum({count}), 0)::float8", "{sum} / nullif({count}, 0)::float8"
    ),
    "sum": Recipe(("sum",), "sum({sum})", "{sum}"),
    "count": Recipe(("count",), "coalesce(sum({count}), 0)::bigint", "coalesce({count}, 0)::bigint"),
    "min": Recipe(("min",), "min({min})", "{min}"),
    "max": Recipe(("max",), "max({max})", "{max}"),
    "first": Recipe(("first", "first_time"), "(array_agg({first} ORDER BY {first_time} NULLS LAST, series_id))[1]"),
    "last": Recipe(("last", "last_time"), "(array_agg({last} ORDER BY {last_time} DESC NULLS LAST, series_id))[1]"),
    "stddev": Recipe(("moments",), "catalog.stddev_of_moments({moments})"),
    "increase": Recipe(("increase",), "sum({increase})"),
    "delta": Recipe(("delta",), "sum({delta})"),
    "rate": Recipe(("increase", "elapsed"), "sum({increase} / {elapsed})"),
}
# One row of a group has the percentiles, and the others null.
_PERCENTILE = Recipe((PERCENTILES,), "(max({percentiles}))[{place}]")


def check(name: str) -> str:
    """The name of a function. Raises `ValueError` when there is none of that name."""
    if name not in NAMED and PERCENTILE.fullmatch(name) is None:
        raise ValueError(f"{shortened(name)!r} is not known; allowed: {ALLOWED_FUNCTIONS}")
    return name


@lru_cache(MOST_HELD)
def fraction(name: str) -> float | None:
    """The share of points below a percentile, 0 to 1; None for other functions."""
    if name == "median":
        return 0.5
    match = PERCENTILE.fullmatch(name)
    return None if match is None else float(match[1]) / 100


def recipe(name: str) -> Recipe:
    """How a function is computed."""
    return _PERCENTILE if fraction(name) is not None else _MEASURED[name]


@lru_cache(MOST_HELD)
def parts_of(names: tuple[str, ...]) -> tuple[str, ...]:
    """The parts that some functions of one metric need, each once."""
    return tuple(dict.fromkeys(part for name in names for part in recipe(name).parts))


ROLLED_UP = tuple(name for name in NAMED if all(PARTS[part].of_rollup for part in recipe(name).parts))
"""The functions that can be had from rollups."""
