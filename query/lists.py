"""The requests of lists: what there is, rather than its numbers. Pure.

Every list is sorted by a key that its entries show, and is read in pages by it: `after` is the key of the last entry
seen, so a page begins where it should although entries came or went meanwhile.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field, InstanceOf, ValidationInfo

from query.parameters import (
    ALLOWED_COUNTS,
    ALLOWED_MATCHERS,
    Count,
    Matchers,
    Metrics,
    Moment,
    Request,
    Text,
    as_written,
    text_like,
    whole,
)
from query.times import ALLOWED_DURATIONS, ALLOWED_TIMES, DURATION, parse_duration, written

LARGEST_ID = 2**31 - 1
"""Of a series, which is an integer in PostgreSQL."""
ALLOWED_IDS = f"a whole number from 0 to {LARGEST_ID}"


def _id(value: int) -> int:
    if value > LARGEST_ID:
        raise ValueError(f"{value} is larger than any series' id")
    return value


def _after_start(end: datetime, info: ValidationInfo) -> datetime:
    start = info.data.get("start")
    if start is not None and start >= end:
        raise ValueError(f"{written(end)} is not after start, {written(start)}; allowed: a later time")
    return end


SeriesId = Annotated[
    int, BeforeValidator(whole), AfterValidator(_id), Field(json_schema_extra={"minimum": 0, "maximum": LARGEST_ID})
]
Duration = Annotated[InstanceOf[timedelta], BeforeValidator(parse_duration), text_like(DURATION, "5m", "1d")]


class Paged(Request):
    """What every list takes: which part of it."""

    limit: Count | None = Field(None, description=f"most entries of a page, {ALLOWED_COUNTS}; absent means all")


class ListRequest(Paged):
    """A list that can be searched for names like a text."""

    search: Text | None = Field(
        None, description="a part of a name, in any case; when no name has it, the names that are most like it"
    )


class Named(ListRequest):
    """A list whose entries are known by a name."""

    after: Text | None = Field(None, description="the last name of the page before; absent means the first page")


class Numbered(ListRequest):
    """A list of series, which have no names but numbers."""

    after: SeriesId | None = Field(
        None, description=f"the id of the page before's last series, {ALLOWED_IDS}; absent means the first page"
    )


class Chosen(ListRequest):
    """A list about the series that match, of one measurement or of all."""

    measurement: Text | None = Field(None, description="a measurement's name; absent means all")
    match: Matchers = Field((), description=ALLOWED_MATCHERS)


class Active(ListRequest):
    """A list about the series that had points in a range, if one is given."""

    start: Moment | None = Field(
        None, description=f"only what had a point at this time or later; {ALLOWED_TIMES}; absent means no bound"
    )
    end: Annotated[Moment, AfterValidator(_after_start)] | None = Field(
        None, description=f"only what had a point before this time; {ALLOWED_TIMES}; absent means no bound"
    )


class Since(ListRequest):
    """A list about newest points."""

    since: Moment = as_written("-24h", description=f"how far to look back for points; {ALLOWED_TIMES}")


class FieldsRequest(Named):
    """`/api/v1/fields`: those of one measurement, or of all."""

    measurement: Text | None = Field(None, description="a measurement's name; absent means all")


class MeasurementsRequest(Active, Chosen, Named):
    """`/api/v1/measurements`: those that have such series; without a condition, every one."""


class TagsRequest(Active, Chosen, Named):
    """`/api/v1/tags`: the tags that series have."""


class TagValuesRequest(Active, Chosen, Named):
    """`/api/v1/tags/{key}/values`: the values that series have of one tag."""

    key: Text = Field(description="the tag's name")


class SeriesRequest(Active, Chosen, Numbered):
    """`/api/v1/series`: the series themselves, in the order in which they were made."""


class HostsRequest(Since, Chosen, Named):
    """`/api/v1/hosts`: the hosts, and when each was last seen since `since`."""

    silent_for: Duration | None = Field(
        None, description=f"only the hosts without a point for so long; {ALLOWED_DURATIONS}; absent means all"
    )


class LastRequest(Since, Chosen, Numbered):
    """`/api/v1/last`: the newest point of each series, since `since`."""

    metric: Metrics = Field(
        (),
        description="measurement.field; only these fields, of the newest point that has one of them; absent means all",
    )
