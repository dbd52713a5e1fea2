from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import SecretStr

from query.limits import AnswerSize, Limited, check_aggregate, check_matchers
from query.parameters import Matcher, parse
from query.settings import QuerySettings
from query.window import AggregateRequest

NOW = datetime(2026, 11, 22, tzinfo=UTC)


def settings(**bounds: Any) -> QuerySettings:
    """Settings with these bounds."""
    return QuerySettings(**{"database_url": SecretStr("postgresql:///x"), **bounds})


def request(**parameters: Any) -> AggregateRequest:
    """A request with these parameters."""
    return parse(AggregateRequest, {"metric": "cpu.user", **parameters}, NOW)


@pytest.mark.parametrize(
    ("bounds", "parameters"),
    [
        ({"max_columns": 3}, {"metric": ["a.b", "a.c"], "fn": "min,max"}),
        ({"max_tags": 1}, {"by": "a,b"}),
        ({"max_tags": 1}, {"match": ["a=1", "b=2"]}),
        ({"max_tag_bytes": 4}, {"by": "héé"}),
        ({"max_tag_bytes": 7}, {"match": "host=abc"}),
        ({"max_values": 59}, {"start": "-1h", "step": "1m"}),
        ({"max_values": 119}, {"start": "-1h", "step": "1m", "fn": "min,max"}),
    ],
)
def test_a_request_past_a_bound_is_refused(bounds: dict[str, Any], parameters: dict[str, Any]) -> None:
    """The refusal names the setting and what it allows; one more would have been enough."""
    with pytest.raises(Limited) as refusal:
        check_aggregate(request(**parameters), settings(**bounds))
    ((name, allowed),) = bounds.items()
    assert refusal.value.status == 400
    assert refusal.value.code == "limit"
    assert refusal.value.details == {"limit": f"QUERY_{name.upper()}", "allowed": allowed}
    assert f"QUERY_{name.upper()} allows {allowed}; " in refusal.value.message
    check_aggregate(request(**parameters), settings(**{name: allowed + 1}))


def test_a_part_of_a_window_counts_as_one() -> None:
    """An hour and a second by minute has 61 windows."""
    one_more = request(start="-3601s", step="1m")
    check_aggregate(one_more, settings(max_values=61))
    with pytest.raises(Limited):
        check_aggregate(one_more, settings(max_values=60))


def test_matchers_alone_are_bounded_too() -> None:
    """The list of hosts has the same bounds on its matchers."""
    with pytest.raises(Limited, match="QUERY_MAX_TAGS"):
        check_matchers((Matcher("a", "=", "1"), Matcher("b", "=", "2")), settings(max_tags=1))


def test_an_answer_grows_up_to_its_bounds() -> None:
    """Numbers and series are counted over all batches; just as many as allowed are no fault."""
    size = AnswerSize(settings(max_values=12, max_series=2), tags=1, values=2)
    size.take([("a", 1, 1.0, 2.0), ("a", 2, 1.0, 2.0)])
    size.take([])
    size.take([("a", 3, 1.0, 2.0), ("b", 1, 1.0, 2.0), ("b", 2, 1.0, 2.0)])
    size.take([("b", 3, 1.0, 2.0)])
    with pytest.raises(Limited, match="QUERY_MAX_VALUES allows 12"):
        size.take([("b", 4, 1.0, 2.0)])
    size = AnswerSize(settings(max_series=2), tags=1, values=1)
    size.take([("a", 1.0), ("b", 1.0)])
    with pytest.raises(Limited, match="QUERY_MAX_SERIES allows 2"):
        size.take([("c", 1.0)])
    AnswerSize(settings(max_series=1), tags=0, values=1).take([(1, 1.0), (2, 2.0)])
