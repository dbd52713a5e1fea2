"""The plan of an aggregate: which columns of which measurement to read, from which source. Pure.

Where a metric may mean fields of several measurements, the one with the longest name is meant. Today the one
source is `raw`, the points themselves.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from query.facts import FieldFact
from query.window import AggregateRequest, Function
from service.errors import BadRequest


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
