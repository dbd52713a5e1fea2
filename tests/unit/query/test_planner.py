from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from query.planner import FieldFact, Value, missing, plan, splits
from query.window import AggregateRequest, parse
from service.errors import BadRequest

NOW = datetime(2026, 11, 22, tzinfo=UTC)


def request(*metrics: str, fn: str = "avg") -> AggregateRequest:
    """A request for these metrics."""
    return parse(AggregateRequest, {"metric": list(metrics), "fn": fn}, NOW)


def test_a_metric_is_split_at_every_dot() -> None:
    """Measurements and fields may have dots: each dot but one at an end may be the one between them."""
    assert splits("a.b") == [("a", "b")]
    assert splits("a.b.c") == [("a", "b.c"), ("a.b", "c")]
    assert splits(".a.b.") == [(".a", "b.")]
    assert splits("ab") == splits(".ab") == splits("ab.") == []


@given(st.text(min_size=1), st.text(min_size=1))
def test_the_split_of_a_measurement_and_a_field_is_among_them(measurement: str, field: str) -> None:
    """Whatever the names, the pair that made the metric is found."""
    assert (measurement, field) in splits(f"{measurement}.{field}")


def test_missing_metrics_are_found() -> None:
    """A metric that no fact is about is missing."""
    facts = [FieldFact(1, "a", "b.c", "b.c")]
    assert missing(["a.b.c", "a.b"], facts) == ["a.b"]


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
