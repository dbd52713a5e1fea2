from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from query.lists import FieldsRequest, HostsRequest, MeasurementsRequest
from query.parameters import parse
from service.errors import BadRequest

NOW = datetime(2026, 11, 22, 8, 30, tzinfo=UTC)


def test_the_other_requests() -> None:
    """Hosts look back a day unless told otherwise; the lists refuse what they do not know."""
    assert parse(HostsRequest, {}, NOW) == HostsRequest.model_construct(since=NOW - timedelta(days=1), match=())
    assert parse(FieldsRequest, {"measurement": "cpu"}, NOW).measurement == "cpu"
    with pytest.raises(BadRequest, match="measurement: a name is empty"):
        parse(FieldsRequest, {"measurement": ""}, NOW)
    with pytest.raises(BadRequest, match="limit: there is no such parameter; allowed: none"):
        parse(MeasurementsRequest, {"limit": "1"}, NOW)
