"""The requests of lists: what there is, rather than its numbers. Pure."""

from __future__ import annotations

from pydantic import Field

from query.parameters import ALLOWED_MATCHERS, Matchers, Moment, Request, Text, as_written
from query.times import ALLOWED_TIMES


class HostsRequest(Request):
    """`/api/v1/hosts`: the hosts that match, and when each was last seen since `since`."""

    since: Moment = Field(as_written("-24h"), description=ALLOWED_TIMES)
    match: Matchers = Field((), description=ALLOWED_MATCHERS)


class MeasurementsRequest(Request):
    """`/api/v1/measurements` has no parameters."""


class FieldsRequest(Request):
    """`/api/v1/fields`: those of one measurement, or of all."""

    measurement: Text | None = Field(None, description="a measurement's name; absent means all")
