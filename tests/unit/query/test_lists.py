from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from query.lists import (
    FieldsRequest,
    HostsRequest,
    LastRequest,
    MeasurementsRequest,
    SeriesRequest,
    TagValuesRequest,
)
from query.parameters import Request, parse
from service.errors import BadRequest

NOW = datetime(2026, 11, 22, 8, 30, tzinfo=UTC)


def test_defaults() -> None:
    """Newest points are looked for during the last day, other lists are of all time; all entries are given."""
    assert parse(HostsRequest, {}, NOW).since == NOW - timedelta(days=1)
    assert parse(LastRequest, {}, NOW).since == NOW - timedelta(days=1)
    request = parse(SeriesRequest, {}, NOW)
    assert (request.start, request.end, request.limit, request.after, request.search) == (None,) * 5


def test_values() -> None:
    """Numbers may be texts, as in a query string; times and durations are as everywhere."""
    request = parse(SeriesRequest, {"limit": "10", "after": 0, "start": "-1h", "end": "now"}, NOW)
    assert (request.limit, request.after) == (10, 0)
    assert (request.start, request.end) == (NOW - timedelta(hours=1), NOW)
    assert parse(HostsRequest, {"silent_for": "5m"}, NOW).silent_for == timedelta(minutes=5)
    assert parse(LastRequest, {"metric": "cpu.user"}, NOW).metric == ("cpu.user",)


@pytest.mark.parametrize(
    ("model", "parameters", "words"),
    [
        (FieldsRequest, {"measurement": ""}, "measurement: a name is empty"),
        (MeasurementsRequest, {"silent_for": "1m"}, "silent_for: there is no such parameter; allowed: limit, search, "),
        (MeasurementsRequest, {"limit": "0"}, "limit: 0 is not above 0; allowed: "),
        (MeasurementsRequest, {"limit": "1.5"}, "limit: '1.5' is not a whole number; allowed: "),
        (MeasurementsRequest, {"limit": "9" * 30}, "is not a whole number"),
        (MeasurementsRequest, {"limit": True}, "limit: 'True' is not a whole number"),
        (MeasurementsRequest, {"search": "a\0"}, "search: 'a\\x00' has a NUL character"),
        (SeriesRequest, {"after": "a"}, "after: 'a' is not a whole number; allowed: the id of "),
        (SeriesRequest, {"after": str(2**31)}, "after: 2147483648 is larger than any series' id"),
        (SeriesRequest, {"start": "-1h", "end": "-1h"}, "end: 2026-11-22T07:30:00Z is not after start"),
        (HostsRequest, {"silent_for": "5"}, "silent_for: '5' is not a duration; allowed: a whole number"),
        (HostsRequest, {"since": "then"}, "since: 'then' is not a time"),
        (TagValuesRequest, {}, "key: required; allowed: the tag's name"),
        (LastRequest, {"metric": "cpu"}, "metric: 'cpu' is not measurement.field"),
    ],
)
def test_a_fault_names_its_parameter(model: type[Request], parameters: dict[str, Any], words: str) -> None:
    """Each fault of a list's parameters is told with what is allowed."""
    with pytest.raises(BadRequest) as refusal:
        parse(model, parameters, NOW)
    assert words in refusal.value.message
