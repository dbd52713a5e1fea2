from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from psycopg import sql

from query.assumptions import Assumption
from query.composition import Rollup
from query.conditions import Statement
from query.facts import FieldFact
from query.parameters import parse
from query.planner import Piece, Plan, Source, State, plan
from query.shape import shape
from query.statements import LONGEST_HELD, aggregate
from query.window import AggregateRequest

NOW = datetime(2026, 11, 22, tzinfo=UTC)
LOOKBACK = timedelta(hours=1)
USER, IDLE = FieldFact(7, "cpu", "user", "user", 2), FieldFact(7, "cpu", "idle", "idle", 3)


def planned(*, fields: tuple[FieldFact, ...] = (USER,), **parameters: Any) -> Plan:
    """The plan of a request for these fields, of an hour unless said otherwise, from points alone."""
    metrics = [field.metric for field in fields]
    asked = parse(AggregateRequest, {"metric": metrics, "start": "-1h", "end": "now", **parameters}, NOW)
    return plan(asked, fields, State())


def statement(*, assumed: Assumption | None = None, limit: int = 10, **parameters: Any) -> Statement:
    """The statement of such a request."""
    return aggregate(planned(**parameters), limit, LOOKBACK, assumed)


def text(**parameters: Any) -> str:
    """Its text."""
    found = statement(**parameters).text
    assert isinstance(found, sql.SQL)
    return found.as_string()


def test_the_same_of_other_hosts_and_times_has_the_same_text() -> None:
    """The text is composed once; what differs is in the parameters."""
    one = statement(fn="max", step="1m", match="host=a", start="-1h", assumed=Assumption("e", 7, NOW))
    two = statement(fn="max", step="1m", match="host=b", start="-9h", assumed=Assumption("f", 8, NOW), limit=99)
    assert one.text is two.text
    assert (one.parameters["match_0"], two.parameters["match_0"]) == ("a", "b")
    assert (one.parameters["limit"], two.parameters["limit"]) == (10, 99)
    assert (one.parameters["assumed_epoch"], two.parameters["assumed_of"]) == ("e", 8)


@pytest.mark.parametrize("by", ["", "host"])
def test_a_step_is_in_the_text_of_what_is_light(by: str) -> None:
    """Its plan is kept, and made without its values; what is planned each time is planned with them."""
    minute, five_minutes = (text(fn="max", step=step, match="host=a", by=by) for step in ("1m", "5m"))
    assert minute.replace("'0:01:00'", "'0:05:00'") == five_minutes != minute
    assert "step" not in statement(fn="max", step="1m", match="host=a", by=by).parameters
    one, two = (statement(fn="max", step=step, match="region=a", by=by) for step in ("1m", "5m"))
    assert one.text is two.text
    assert (one.parameters["step"], two.parameters["step"]) == (timedelta(minutes=1), timedelta(minutes=5))


@pytest.mark.parametrize(
    "other",
    [
        {"fn": "min"},
        {"fn": "max,min"},
        {"fields": (IDLE,)},
        {"fields": (USER, IDLE)},
        {"by": "host"},
        {"by": "region"},
        {"step": "1mo"},
        {"step": None},
        {"match": "host=~a.*"},
        {"match": "host!=a"},
        {"match": "host="},
        {"match": "region=a"},
        {"match": ["host=a", "region=a"]},
        {"by": "host", "order": "asc"},
        {"by": "host", "order": "desc"},
        {"by": "host", "order": "desc", "limit": 1},
        {"assumed": Assumption("e", 7)},
        {"assumed": Assumption("e", 7, fields=2)},
    ],
)
def test_what_the_text_depends_on_makes_another(other: dict[str, Any]) -> None:
    """A shape holds all of it: no two of these are the same text."""
    usual: dict[str, Any] = {"fn": "max", "step": "1m", "match": "host=a", "assumed": Assumption("e", 7, NOW)}
    assert text(**usual) != text(**{**usual, **other})


@pytest.mark.parametrize(
    ("parameters", "is_at_once"),
    [
        ({"fn": "avg,sum,count,min,max"}, True),
        ({"fn": "max", "step": "1m", "match": "host=a"}, True),
        ({"fn": "max", "by": "host"}, False),
        ({"fn": "max,first"}, False),
        ({"fn": "p99"}, False),
        ({"fn": "rate"}, False),
    ],
)
def test_points_are_taken_together_where_no_series_need_be_told_apart(
    parameters: dict[str, Any], is_at_once: bool
) -> None:
    """Only what needs parts of series is grouped by series first."""
    assert shape(planned(**parameters), LOOKBACK).is_at_once is is_at_once
    assert (" AS series_id" in text(**parameters)) is not is_at_once


def test_two_sources_are_merged_by_their_parts() -> None:
    """What comes from a rollup and from points cannot be grouped at once."""
    made = planned(fn="avg")
    (piece,) = made.pieces
    rollup = Rollup("cpu", "1h", "cpu_1h", timedelta(hours=1), frozenset([2]), ())
    both = Plan(made.request, 7, "cpu", made.fields, (piece, Piece(piece.start, piece.end, rollup, piece.parts)))
    found = shape(both, LOOKBACK)
    assert found.sources == (Source(None, piece.parts), Source("cpu_1h", piece.parts))
    assert not found.is_at_once


def test_a_long_text_is_not_held() -> None:
    """What is held is bounded in length as well as in number."""
    fields = tuple(FieldFact(7, "cpu", f"f{number}", f"f{number}", number) for number in range(LONGEST_HELD + 1))
    one, two = statement(fields=fields, fn="max"), statement(fields=fields, fn="max")
    assert one.text is not two.text
    assert one.text == two.text
