"""What the catalog tells of fields, and how metrics name them. Pure.

A metric is written `measurement.field`, and both names may contain dots: every split is looked up.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Measurement:
    """One row of `catalog.measurement`; `points.<name>` has its points."""

    id: int
    name: str


@dataclass(frozen=True, slots=True)
class FieldFact:
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
