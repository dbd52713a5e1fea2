from __future__ import annotations

from datetime import UTC, datetime

import pytest

from query.facts import FieldFact
from query.parameters import parse
from query.planner import Value, plan
from query.window import AggregateRequest
from service.errors import BadRequest

NOW = datetime(2026, 11, 22, tzinfo=UTC)


def request(*metrics: str, fn: str = "avg") -> AggregateRequest:
    """A request for these metrics."""
    return parse(AggregateRequest, {"metric": list(metrics), "fn": fn}, NOW)


def test_a_plan_has_each_pair_of_metric_and_function() -> None:
    """The values are by metric, then by function, and name the columns of the hypertable."""
    facts = [FieldFact(7, "cpu", "time", "time_"), FieldFact(7, "cpu", "user", "user")]
    planned = plan(request("cpu.user", "cpu.time", fn="max,avg"), facts)
    assert (planned.measurement_id, planned.measurement, planned.source) == (7, "cpu", ("raw",))
    assert planned.values == (
        Value("cpu.user", "max", "user"),
        Value("cpu.user", "avg", "user"),
        Value("cpu.time", "max", "time_"),
        Value("cpu.time", "avg", "time_"),
    )


def test_the_longest_measurement_is_meant() -> None:
    """Where two splits exist, the one with the longer measurement is taken."""
    facts = [FieldFact(1, "a", "b.c", "b.c"), FieldFact(2, "a.b", "c", "c")]
    assert plan(request("a.b.c"), facts).measurement == "a.b"


def test_a_measurement_that_has_all_metrics_is_preferred() -> None:
    """Of several splits, those count that give all metrics one measurement."""
    facts = [FieldFact(1, "a", "b.c", "b.c"), FieldFact(2, "a.b", "c", "c"), FieldFact(1, "a", "d", "d")]
    assert plan(request("a.b.c", "a.d"), facts).measurement == "a"


def test_metrics_of_several_measurements_are_refused() -> None:
    """One request scans one measurement."""
    facts = [FieldFact(1, "cpu", "user", "user"), FieldFact(2, "mem", "used", "used")]
    with pytest.raises(BadRequest, match=r"metric: .*several measurements \(cpu, mem\); allowed: .*one measurement"):
        plan(request("cpu.user", "mem.used"), facts)
