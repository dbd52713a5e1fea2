"""What an aggregate's statement is made of: its shape, on which its text depends, and the values that are put in. Pure.

The same is asked again and again, of other hosts and at other times. To compose a text costs more than many an answer,
so that it is composed once for a shape, which for that reason holds no value. Where a value stands in the text is known
by its name alone. But for the days and the step of a light one (`light`).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any, Literal, NamedTuple

import orjson

from query import light
from query.conditions import HOST, Form, forms
from query.facts import FieldFact
from query.functions import MOST_HELD, REACH, fraction, recipe
from query.planner import Plan, Source
from query.ranges import Range
from query.steps import FixedWindows

Windows = Literal["none", "fixed", "listed"]
"""One over the whole range; of one length; of several, whose starts are told."""


class Value(NamedTuple):
    """A number of every row."""

    fn: str
    field: int
    """By its place."""
    place: int | None
    """Of a percentile among those that are asked for, from 1 on."""


class Shape(NamedTuple):
    """All that the text of a plan depends on."""

    fields: tuple[FieldFact, ...]
    sources: tuple[Source, ...]
    values: tuple[Value, ...]
    by: tuple[bool, ...]
    """Of each tag to group by whether it is the host."""
    match: tuple[Form, ...]
    windows: Windows
    tells_reach: bool
    """Whether rows tell at their end which points before them they are computed with (`reach`)."""
    looks_far: bool
    """Whether they would, if they could, be computed with points further back."""
    days: Range | None
    """In which points are looked at, where the statement is light."""
    step: timedelta | None
    """Of windows of one length, where the statement is light."""
    prefix: str
    """Of the names of values, where another plan's are in the same statement."""

    @property
    def needed(self) -> tuple[tuple[int, str], ...]:
        """Of which field, by its place, the numbers need which part: no source has it where points are gone."""
        return tuple(dict.fromkeys((value.field, part) for value in self.values for part in recipe(value.fn).parts))

    @property
    def reached(self) -> tuple[int, ...]:
        """The places of the fields of which points before others matter, where the rows tell of that."""
        return tuple(dict.fromkeys(field for source in self.sources for field, part in source.parts if part in REACH))

    @property
    def is_at_once(self) -> bool:
        """Whether all points of a window can be taken together, whichever their series: then that is less work."""
        is_one = len(self.sources) == 1 and not self.by and not self.tells_reach
        has_all = is_one and set(self.needed) <= set(self.sources[0].parts)
        return has_all and all(recipe(value.fn).at_once is not None for value in self.values)

    def name(self, name: str, number: int | None = None) -> str:
        """What a value is called."""
        return self.prefix + (name if number is None else f"{name}_{number}")


def shape(plan: Plan, lookback: timedelta, prefix: str = "") -> Shape:
    """The shape of a plan that looks at points from `lookback` before its range on."""
    request, near = plan.request, _near(plan, lookback)
    windows: Windows = "none" if request.step is None else "listed"
    length = None
    if isinstance(request.windows, FixedWindows):
        windows, length = "fixed", request.windows.length
    match = forms(request.match)
    days = _days(plan, match, lookback)
    return Shape(
        fields=plan.fields,
        sources=tuple(piece.source for piece in plan.pieces),
        values=_values(request.fn, plan.fractions, len(plan.fields)),
        by=tuple(tag == HOST for tag in request.by),
        match=match,
        windows=windows,
        tells_reach=plan.reaches is not None,
        looks_far=plan.reaches is not None and near is not None and plan.reaches < near,
        days=days,
        step=None if days is None else length,
        prefix=prefix,
    )


@lru_cache(MOST_HELD)
def _values(names: tuple[str, ...], fractions: tuple[float, ...], fields: int) -> tuple[Value, ...]:
    """The numbers of every row, by field."""
    places = {fn: None if (share := fraction(fn)) is None else fractions.index(share) + 1 for fn in names}
    return tuple(Value(fn, field, places[fn]) for field in range(fields) for fn in names)


def _days(plan: Plan, match: Sequence[Form], lookback: timedelta) -> Range | None:
    if plan.reaches is not None or any(piece.rollup is not None for piece in plan.pieces):
        return None
    request = plan.request
    return light.days(match, request.start - lookback, request.end, len(plan.values))


def values(plan: Plan, lookback: timedelta, of: Shape) -> dict[str, Any]:
    """The values of a plan, by their names in its shape; but for those of matchers and tags, which plans share."""
    request, windows = plan.request, plan.request.windows
    found: dict[str, Any] = {of.name("lookback"): lookback, of.name("fractions"): list(plan.fractions)}
    if isinstance(windows, FixedWindows):
        if of.step is None:
            found[of.name("step")] = windows.length
    elif windows is not None:
        # As the text of an array, which takes a fraction of the time that the driver does with moments.
        starts = orjson.dumps(list(windows.starts(request.start, request.end))).decode()
        found[of.name("starts")] = f"{{{starts[1:-1]}}}"
    for number, piece in enumerate(plan.pieces):
        found |= {of.name("start", number): piece.start, of.name("end", number): piece.end}
    if of.looks_far:
        found |= {of.name("since"): plan.reaches, of.name("near"): _near(plan, lookback)}
    return found


def _near(plan: Plan, lookback: timedelta) -> datetime | None:
    """From when on points before others are looked at; None where none are."""
    starts = [piece.start for piece in plan.pieces if piece.source.needs_before]
    return min(starts) - lookback if starts else None
