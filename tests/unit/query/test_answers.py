from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from query import answers
from query.facts import FieldFact
from query.parameters import parse
from query.planner import Plan, State, choose, plan
from query.window import AggregateRequest

NOW = datetime(2026, 11, 22, tzinfo=UTC)
AT = datetime(2026, 11, 21, 23, 30, tzinfo=UTC)


def planned(**parameters: Any) -> Plan:
    """The plan of a request about `cpu.user` and, if named, `cpu.idle`."""
    facts = [FieldFact(1, "cpu", "user", "user", 1), FieldFact(1, "cpu", "idle", "idle", 2)]
    request = parse(AggregateRequest, {"metric": "cpu.user", **parameters}, NOW)
    return plan(request, choose(request, facts), State())


def test_one_value() -> None:
    """Without a step and with one number, a series has a value."""
    assert answers.aggregate(planned(by="host"), [("a", 1.5), ("b", None)]) == {
        "metric": ("cpu.user",),
        "fn": ("avg",),
        "start": datetime(2026, 11, 21, 23, tzinfo=UTC),
        "end": NOW,
        "step": None,
        "source": ("raw",),
        "series": [{"tags": {"host": "a"}, "value": 1.5}, {"tags": {"host": "b"}, "value": None}],
    }


def test_several_values() -> None:
    """Without a step and with several numbers, they are found by metric and function."""
    answer = answers.aggregate(planned(metric=["cpu.user", "cpu.idle"], fn="min,max"), [(1.0, 2.0, 3.0, 4.0)])
    assert answer["series"] == [
        {"tags": {}, "values": {"cpu.user": {"min": 1.0, "max": 2.0}, "cpu.idle": {"min": 3.0, "max": 4.0}}}
    ]
    assert "columns" not in answer


def test_points() -> None:
    """With a step, a series has points, and rows with the same tags are one series."""
    answer = answers.aggregate(planned(by="host", step="5m"), [("a", AT, 1.0), ("a", NOW, 2.0), ("b", AT, 3.0)])
    assert answer["step"] == "5m"
    assert answer["series"] == [
        {"tags": {"host": "a"}, "points": [(AT, 1.0), (NOW, 2.0)]},
        {"tags": {"host": "b"}, "points": [(AT, 3.0)]},
    ]


def test_points_of_several_numbers() -> None:
    """With several numbers in a point, `columns` says their order."""
    answer = answers.aggregate(planned(fn="min,max", step="5m"), [(AT, 1.0, 2.0)])
    assert answer["columns"] == [{"metric": "cpu.user", "fn": "min"}, {"metric": "cpu.user", "fn": "max"}]
    assert answer["series"] == [{"tags": {}, "points": [(AT, 1.0, 2.0)]}]
