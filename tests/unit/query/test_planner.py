from __future__ import annotations

from datetime import UTC, datetime

import pytest

from query.facts import FieldFact
from query.parameters import parse
from query.planner import State, choose, plan
from query.window import AggregateRequest, Measure
from service.errors import BadRequest

NOW = datetime(2026, 11, 22, tzinfo=UTC)


def request(*metrics: str, fn: str = "avg") -> AggregateRequest:
    """A request for these metrics."""
    return parse(AggregateRequest, {"metric": list(metrics), "fn": fn}, NOW)


def test_a_plan_has_each_pair_of_metric_and_function() -> None:
    """The values are by metric, then by function, and the fields by metric."""
    user, time = FieldFact(7, "cpu", "user", "user", 2), FieldFact(7, "cpu", "time", "time_", 1)
    wanted = request("cpu.user", "cpu.time", fn="max,avg")
    planned = plan(wanted, choose(wanted, [time, user]), State())
    assert (planned.measurement_id, planned.measurement, planned.source) == (7, "cpu", ("raw",))
    assert planned.fields == (user, time)
    assert planned.values == (
        Measure("cpu.user", "max"),
        Measure("cpu.user", "avg"),
        Measure("cpu.time", "max"),
        Measure("cpu.time", "avg"),
    )


def test_the_longest_measurement_is_meant() -> None:
    """Where two splits exist, the one with the longer measurement is taken."""
    facts = [FieldFact(1, "a", "b.c", "b.c", 3), FieldFact(2, "a.b", "c", "c", 4)]
    assert choose(request("a.b.c"), facts)[0].measurement == "a.b"


def test_a_measurement_that_has_all_metrics_is_preferred() -> None:
    """Of several splits, those count that give all metrics one measurement."""
    facts = [FieldFact(1, "a", "b.c", "b.c", 3), FieldFact(2, "a.b", "c", "c", 4), FieldFact(1, "a", "d", "d", 5)]
    assert choose(request("a.b.c", "a.d"), facts)[0].measurement == "a"


def test_metrics_of_several_measurements_are_refused() -> None:
    """One request scans one measurement."""
    facts = [FieldFact(1, "cpu", "user", "user", 2), FieldFact(2, "mem", "used", "used", 6)]
    with pytest.raises(BadRequest, match=r"metric: .*several measurements \(cpu, mem\); allowed: .*one measurement"):
        choose(request("cpu.user", "mem.used"), facts)
