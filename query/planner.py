"""The plan of an aggregate: which columns of which measurement to read, from which source. Pure.

A metric is written `measurement.field`, and both names may contain dots: every split is looked up in the
catalog. Where several exist, the measurement with the longest name is meant. Today the one source is `raw`,
the points themselves.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from query.window import AggregateRequest, Function
from service.errors import BadRequest


@dataclass(frozen=True, slots=True)
class FieldFact:
    """One row of `catalog.field`: a field that exists, and where it is kept."""

    measurement_id: int
    measurement: str
    field: str
    column: str

    @property
    def metric(self) -> str:
        """The name that a request uses."""
        return f"{self.measurement}.{self.field}"


@dataclass(frozen=True, slots=True)
class Value:
    """One number of every point of the answer: a function of a metric."""

    metric: str
    fn: Function
    column: str
    """The metric's column in the hypertable."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What to read for a request; the rest of what is wanted is in the request itself."""

    request: AggregateRequest
    measurement_id: int
    measurement: str
    values: tuple[Value, ...]
    """By metric, then by function, in the order of the request."""
    source: tuple[str, ...] = ("raw",)


def splits(metric: str) -> list[tuple[str, str]]:
    """Every (measurement, field) that `metric` may mean."""
    return [(metric[:place], metric[place + 1 :]) for place in range(1, len(metric) - 1) if metric[place] == "."]


def missing(metrics: Iterable[str], facts: Iterable[FieldFact]) -> list[str]:
    """Those of `metrics` that no fact is about."""
    known = {fact.metric for fact in facts}
    return [metric for metric in metrics if metric not in known]


def plan(request: AggregateRequest, facts: Sequence[FieldFact]) -> Plan:
    """The plan of a request all of whose metrics exist.

    Raises `BadRequest` when no one measurement has all of them: one request is one scan of one measurement.
    """
    by_measurement: dict[str, dict[str, FieldFact]] = {}
    for fact in facts:
        by_measurement.setdefault(fact.measurement, {})[fact.metric] = fact
    complete = [name for name, known in by_measurement.items() if all(one in known for one in request.metric)]
    if not complete:
        raise BadRequest(
            f"metric: {', '.join(request.metric)} belong to several measurements "
            f"({', '.join(sorted(by_measurement))}); allowed: metrics of one measurement in a request",
            parameter="metric",
        )
    chosen = by_measurement[max(complete, key=len)]
    values = tuple(Value(metric, fn, chosen[metric].column) for metric in request.metric for fn in request.fn)
    fact = chosen[request.metric[0]]
    return Plan(request, fact.measurement_id, fact.measurement, values)
