from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from query.parameters import from_query, parse
from query.points import Condition, Place, PointsRequest
from service.errors import BadRequest

NOW = datetime(2026, 11, 22, 8, 30, tzinfo=UTC)
PLACE = "2026-11-22T08:00:00Z,17"


def ask(**parameters: Any) -> PointsRequest:
    """A request with these parameters."""
    return parse(PointsRequest, parameters, NOW)


def test_defaults() -> None:
    """A measurement alone is all fields of its points of the last hour, with the host, the oldest first."""
    request = ask(measurement="cpu")
    assert (request.metric, request.where, request.match) == ((), (), ())
    assert (request.by, request.order, request.after, request.limit) == (("host",), "asc", None, None)
    assert (request.start, request.end) == (NOW - timedelta(hours=1), NOW)


@pytest.mark.parametrize(
    ("text", "condition"),
    [
        ("cpu.user>90", Condition("cpu.user", ">", 90.0)),
        ("cpu.user>=90", Condition("cpu.user", ">=", 90.0)),
        ("cpu.user < -1.5e3", Condition("cpu.user", "<", -1500.0)),
        ("cpu.user<=.5", Condition("cpu.user", "<=", 0.5)),
        ("cpu.user=0", Condition("cpu.user", "=", 0.0)),
        ("cpu.user!=+1", Condition("cpu.user", "!=", 1.0)),
        ("a.b>5>6", Condition("a.b>5", ">", 6.0)),
        ("naïve 数.x y = 7", Condition("naïve 数.x y", "=", 7.0)),
    ],
)
def test_a_condition_is_a_metric_a_sign_and_a_number(text: str, condition: Condition) -> None:
    """The last sign in it is the condition's: names may hold others."""
    assert ask(where=text).where == (condition,)
    assert ask(where=[text, text]).where == (condition,)


def test_a_query_string_has_several_conditions() -> None:
    """Each is a parameter of its own, since a name may have a comma."""
    pairs = [("where", "m.a,b>1"), ("where", "m.c<2"), ("metric", "m.a,b"), ("by", "host,region"), ("limit", "5")]
    request = parse(PointsRequest, from_query(PointsRequest, pairs), NOW)
    assert request.where == (Condition("m.a,b", ">", 1.0), Condition("m.c", "<", 2.0))
    assert (request.metric, request.by, request.limit) == (("m.a,b",), ("host", "region"), 5)


def test_a_place_is_what_the_answer_has_written() -> None:
    """The time and the id of a point; it is read as it is written."""
    place = Place(datetime(2026, 11, 22, 8, 0, 0, 1, UTC), 17)
    assert str(place) == "2026-11-22T08:00:00.000001Z,17"
    assert ask(measurement="cpu", after=str(place)).after == place


@pytest.mark.parametrize(
    ("parameters", "name", "words"),
    [
        ({}, "measurement", "required unless metric or where name it"),
        ({"where": "cpu.user"}, "where", "'cpu.user' is not a condition; allowed: a metric, one of > >="),
        ({"where": "user>90"}, "where", "'user>90' is not a condition"),
        ({"where": "cpu.user>high"}, "where", "'high' is not known; allowed: a metric"),
        ({"where": "cpu.user>nan"}, "where", "'nan' is not known"),
        ({"where": "cpu.user>1e999"}, "where", "'1e999' is not known"),
        ({"where": "cpu.user=>1"}, "where", "'>1' is not known"),
        ({"where": "cpu.us\0er>1"}, "where", "is not a condition"),
        ({"where": 5}, "where", "neither a text nor a list"),
        ({"where": [5]}, "where", "'5' is not a condition"),
        ({"metric": "cpu"}, "metric", "'cpu' is not measurement.field"),
        ({"measurement": ""}, "measurement", "a name is empty"),
        ({"measurement": "m", "after": "17"}, "after", "'17' is no place; allowed: next of the page before"),
        ({"measurement": "m", "after": "now,17"}, "after", "'now,17' is no place"),
        ({"measurement": "m", "after": "2026-13-01T00:00:00Z,17"}, "after", "is not a time"),
        ({"measurement": "m", "after": "2026-11-22T08:00:00Z,9999999999"}, "after", "is no place"),
        ({"measurement": "m", "order": "up"}, "order", "'up' is not known; allowed: asc"),
        ({"measurement": "m", "order": "any", "limit": 5}, "order", "points in any order are not read in pages"),
        ({"measurement": "m", "order": "any", "after": PLACE}, "after", "points in any order are not read in pages"),
        ({"measurement": "m", "limit": 0}, "limit", "0 is not above 0"),
        ({"measurement": "m", "start": "now"}, "start", "is not before end"),
        ({"measurement": "m", "fn": "avg"}, "fn", "there is no such parameter"),
        ({"measurement": "m", "search": "web"}, "search", "there is no such parameter"),
    ],
)
def test_a_fault_names_its_parameter_and_what_is_allowed(parameters: dict[str, Any], name: str, words: str) -> None:
    """A refusal begins with the parameter, and says what is wrong; one fault is told once."""
    with pytest.raises(BadRequest) as refusal:
        ask(**parameters)
    assert refusal.value.message.startswith(f"{name}: ")
    assert words in refusal.value.message
    assert refusal.value.details["parameter"] == name


def test_a_long_condition_is_refused_at_once() -> None:
    """What is longer than any name and number is none; to look for its operator would take minutes."""
    with pytest.raises(BadRequest, match=r"^where: .* is not a condition"):
        ask(where="x=" * 128 * 1024 + " ")
