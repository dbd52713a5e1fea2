from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from query.composition import Rollup
from query.facts import FieldFact
from query.parameters import parse
from query.planner import Plan, State, choose, needs_state, plan
from query.window import AggregateRequest, Measure
from service.errors import BadRequest

NOW = datetime(2026, 11, 22, tzinfo=UTC)


def request(*metrics: str, **parameters: Any) -> AggregateRequest:
    """A request for these metrics."""
    return parse(AggregateRequest, {"metric": list(metrics), **parameters}, NOW)


def test_a_plan_has_each_pair_of_metric_and_function() -> None:
    """The values are by metric, then by function, and the fields by metric."""
    user, time = FieldFact(7, "cpu", "user", "user", 2), FieldFact(7, "cpu", "time", "time_", 1)
    wanted = request("cpu.user", "cpu.time", fn="max,avg")
    planned = plan(wanted, choose(wanted.metric, [time, user]), State())
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
    assert choose(["a.b.c"], facts)[0].measurement == "a.b"


def test_a_measurement_that_has_all_metrics_is_preferred() -> None:
    """Of several splits, those count that give all metrics one measurement."""
    facts = [FieldFact(1, "a", "b.c", "b.c", 3), FieldFact(2, "a.b", "c", "c", 4), FieldFact(1, "a", "d", "d", 5)]
    assert choose(["a.b.c", "a.d"], facts)[0].measurement == "a"


def test_metrics_of_several_measurements_are_refused() -> None:
    """One request scans one measurement."""
    facts = [FieldFact(1, "cpu", "user", "user", 2), FieldFact(2, "mem", "used", "used", 6)]
    with pytest.raises(BadRequest, match=r"metric: .*several measurements \(cpu, mem\); allowed: .*one measurement"):
        choose(["cpu.user", "mem.used"], facts)


HOUR = timedelta(hours=1)
USER, IDLE = FieldFact(7, "cpu", "user", "user", 2), FieldFact(7, "cpu", "idle", "idle", 3)


def rollups(*fields: FieldFact) -> tuple[Rollup, ...]:
    """Rollups of both widths, valid ever."""
    ids = frozenset(field.id for field in fields)
    ever = ((NOW - 10_000 * HOUR, NOW + 10_000 * HOUR),)
    return (
        Rollup("cpu", "10m", "m7_10m_1", HOUR / 6, ids, ever),
        Rollup("cpu", "1h", "m7_1h_1", HOUR, ids, ever),
    )


def planned(state: State, **parameters: Any) -> Plan:
    """The plan of a day's request for both fields."""
    wanted = request("cpu.user", "cpu.idle", **{"start": "-24h", **parameters})
    return plan(wanted, [USER, IDLE], state)


def scans(made: Plan) -> list[tuple[str, str]]:
    """From where each piece is read, and which parts of which fields."""
    return [
        (one.rollup.name if one.rollup else "raw", " ".join(f"{part}{field}" for field, part in one.parts))
        for one in made.pieces
    ]


def test_fields_with_the_same_sources_are_read_together() -> None:
    """One scan has the parts of all fields that are read from there."""
    assert scans(planned(State(rollups(USER, IDLE)))) == [("cpu_1h", "sum0 count0 sum1 count1")]
    assert scans(planned(State(rollups(IDLE)), fn="max")) == [("raw", "max0"), ("cpu_1h", "max1")]
    assert scans(planned(State(), fn="max,last")) == [("raw", "max0 last0 last_time0 max1 last1 last_time1")]
    assert planned(State(rollups(IDLE)), fn="max").source == ("cpu_1h", "raw")


def test_points_that_must_be_read_serve_every_function() -> None:
    """Only percentiles, which are read by groups and not by series, leave the rollups to the others."""
    state = State(rollups(USER, IDLE))
    assert scans(planned(state, fn="max,last")) == [("raw", "max0 last0 last_time0 max1 last1 last_time1")]
    assert scans(planned(state, fn="max,p50,p90")) == [("cpu_1h", "max0 max1"), ("raw", "percentiles0 percentiles1")]
    assert planned(state, fn="max,p50,median,p90").fractions == (0.5, 0.9)


def test_before_the_points_rollups_are_read() -> None:
    """And after them the points, for the functions that need them."""
    state = State(rollups(USER, IDLE), NOW - 10 * HOUR)
    made = planned(state, fn="max,last", match="host=a")
    assert scans(made) == [("cpu_1h", "max0 max1"), ("raw", "last0 last_time0 last1 last_time1")]
    assert [(piece.start, piece.end) for piece in made.pieces] == [(NOW - 24 * HOUR, NOW), (NOW - 10 * HOUR, NOW)]
    assert made.warnings == ("points before 2026-11-21T14:00:00Z are no longer kept: last cannot be had of them",)
    assert planned(state).warnings == ()


def test_of_points_alone_some_may_be_gone() -> None:
    """Rollups that stand for them do not matter to who asks for the points; one by its name has all that it has."""
    state = State(rollups(USER, IDLE), NOW - 10 * HOUR)
    made = planned(state, resolution="raw")
    assert scans(made) == [("raw", "sum0 count0 sum1 count1")]
    assert made.warnings == ("points before 2026-11-21T14:00:00Z are no longer kept, and some of them may be gone",)
    assert planned(state, resolution="raw", start="-10h").warnings == ()
    assert planned(state, resolution="1h").warnings == ()


def test_curves_have_a_plan_for_their_order() -> None:
    """Its sources are told too."""
    made = planned(State(rollups(USER, IDLE)), fn="max,min", step="1m", by="host", limit=3, order_by="min(cpu.idle)")
    assert made.ranking is not None
    assert scans(made) == [("raw", "max0 min0 max1 min1")]
    assert scans(made.ranking) == [("cpu_1h", "min0 min1")]
    assert made.source == ("cpu_1h", "raw")


@pytest.mark.parametrize(
    ("parameters", "is_needed"),
    [
        ({"start": "-1h", "step": "1m"}, False),
        ({"start": "-23h", "step": "15m"}, False),
        ({"start": "-23h", "fn": "last"}, False),
        ({"start": "-23h", "fn": "avg,last"}, False),
        ({"start": "-23h", "fn": "p95"}, False),
        ({"start": "-23h", "match": "host=a"}, False),
        ({"start": "-20m"}, False),
        ({"start": "-23h", "resolution": "raw"}, False),
        ({"start": "-23h"}, True),
        ({"start": "-23h", "fn": "avg,p95", "step": "1h"}, True),
        ({"start": "-23h", "match": "host="}, True),
        ({"start": "-23h", "match": "host!=a"}, True),
        ({"start": "-23h", "step": "1m", "by": "host", "limit": 5}, True),
        ({"start": "-25h", "fn": "last"}, True),
        ({"start": "-25h", "resolution": "raw"}, True),
        ({"start": "-25h", "step": "1m", "match": "host=a"}, True),
        ({"start": "-20m", "resolution": "10m"}, True),
        ({"start": "-119m", "by": "host"}, False),
        ({"start": "-2h", "by": "host"}, True),
        ({"start": "-119m", "end": "-1m", "by": "host", "order": "desc"}, False),
    ],
)
def test_rollups_are_looked_for_where_they_can_help(parameters: dict[str, Any], is_needed: bool) -> None:
    """Not for short ranges, short steps, few series, or functions that need points; but where points may be gone."""
    assert needs_state(request("cpu.user", **parameters), NOW) is is_needed
