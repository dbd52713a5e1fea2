"""What the catalog tells of fields, and how metrics name them. Pure.

A metric is written `measurement.field`, and both names may contain dots: every split is looked up.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple


@dataclass(frozen=True, slots=True)
class Measurement:
    """One row of `catalog.measurement`; `points.<name>` has its points."""

    id: int
    name: str


class FieldFact(NamedTuple):
    """One row of `catalog.field`: a field that exists, and where it is kept."""

    measurement_id: int
    measurement: str
    field: str
    column: str
    id: int

    @property
    def metric(self) -> str:
        """The name that a request uses."""
        return f"{self.measurement}.{self.field}"


def splits(metric: str) -> list[tuple[str, str]]:
    """Every (measurement, field) that `metric` may mean."""
    return [(metric[:place], metric[place + 1 :]) for place in range(1, len(metric) - 1) if metric[place] == "."]


def missing(metrics: Iterable[str], facts: Iterable[FieldFact]) -> list[str]:
    """Those of `metrics` that no fact is about."""
    known = {fact.metric for fact in facts}
    return [metric for metric in metrics if metric not in known]


def most_like(name: str, known: Sequence[str], most: int) -> list[str]:
    """At most so many of the known names, the most like `name` first: those that share most pairs of letters with it.

    That is the Sørensen-Dice coefficient. It takes tens of milliseconds for a thousand of the longest names, where
    finding the longest matching blocks (difflib) takes seconds, in which nobody else is answered.
    """
    wanted = _pairs(name)

    def likeness(other: str) -> float:
        pairs = _pairs(other)
        return len(wanted & pairs) / (len(wanted) + len(pairs))

    return sorted(known, key=likeness, reverse=True)[:most]


def _pairs(name: str) -> set[str]:
    edged = f" {name.casefold()} "
    return {edged[place : place + 2] for place in range(len(edged) - 1)}
