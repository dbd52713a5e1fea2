from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from query.answers import AggregateDocument, columns
from query.facts import FieldFact
from query.parameters import parse
from query.planner import Plan, State, choose, plan
from query.tables import Column, Row
from query.window import AggregateRequest

NOW = datetime(2026, 11, 22, tzinfo=UTC)
AT = datetime(2026, 11, 21, 23, 30, tzinfo=UTC)


def planned(**parameters: Any) -> Plan:
    """The plan of a request about `cpu.user` and, if named, `cpu.idle`."""
    facts = [FieldFact(1, "cpu", "user", "user", 1), FieldFact(1, "cpu", "idle", "idle", 2)]
    request = parse(AggregateRequest, {"metric": "cpu.user", **parameters}, NOW)
    return plan(request, choose(request.metric, facts), State())


def document(plan: Plan, *batches: list[Row]) -> Any:
    """The JSON document of these rows, parsed."""
    made = AggregateDocument(plan)
    return json.loads(b"".join([made.begin(), *(made.rows(batch) for batch in batches), made.end()]))


def test_one_value() -> None:
    """Without a step and with one number, a series has a value."""
    assert document(planned(by="host"), [("a", 1.5)], [], [("b", None)]) == {
        "metric": ["cpu.user"],
        "fn": ["avg"],
        "start": "2026-11-21T23:00:00Z",
        "end": "2026-11-22T00:00:00Z",
        "step": None,
        "source": ["raw"],
        "series": [{"tags": {"host": "a"}, "value": 1.5}, {"tags": {"host": "b"}, "value": None}],
    }


def test_several_values() -> None:
    """Without a step and with several numbers, they are found by metric and function."""
    answer = document(planned(metric=["cpu.user", "cpu.idle"], fn="min,max"), [(1.0, 2.0, 3.0, 4.0)])
    assert answer["series"] == [
        {"tags": {}, "values": {"cpu.user": {"min": 1.0, "max": 2.0}, "cpu.idle": {"min": 3.0, "max": 4.0}}}
    ]
    assert "columns" not in answer


def test_points() -> None:
    """With a step, a series has points, and rows with the same tags are one series, also when batches part them."""
    rows: list[Row] = [("a", AT, 1.0), ("a", NOW, 2.0), ("b", AT, 3.0)]
    for batches in ([rows], [rows[:1], rows[1:]], [rows[:2], rows[2:]], [[row] for row in rows], [[], rows, []]):
        answer = document(planned(by="host", step="5m"), *batches)
        assert answer["step"] == "5m"
        assert answer["series"] == [
            {"tags": {"host": "a"}, "points": [["2026-11-21T23:30:00Z", 1.0], ["2026-11-22T00:00:00Z", 2.0]]},
            {"tags": {"host": "b"}, "points": [["2026-11-21T23:30:00Z", 3.0]]},
        ]


def test_points_of_several_numbers() -> None:
    """With several numbers in a point, `columns` says their order."""
    answer = document(planned(fn="min,max", step="5m"), [(AT, 1.0, 2.0)])
    assert answer["columns"] == [{"metric": "cpu.user", "fn": "min"}, {"metric": "cpu.user", "fn": "max"}]
    assert answer["series"] == [{"tags": {}, "points": [["2026-11-21T23:30:00Z", 1.0, 2.0]]}]


def test_no_series() -> None:
    """Without rows the list of series is empty, in each shape."""
    for parameters in ({}, {"step": "5m"}, {"by": "host", "fn": "min,max"}):
        assert document(planned(**parameters))["series"] == []


def test_columns_of_a_flat_table() -> None:
    """Tags, the time, and each number by its function and metric; a tag that has a column's name gets another."""
    assert columns(planned()) == (Column("avg(cpu.user)", "number"),)
    assert columns(planned(by="host,time", fn="count,max", step="5m")) == (
        Column("host", "text"),
        Column("time_", "text"),
        Column("time", "time"),
        Column("count(cpu.user)", "integer"),
        Column("max(cpu.user)", "number"),
    )
    assert columns(planned(fn="count", step="5m", fill="0.5"))[-1] == Column("count(cpu.user)", "number")
