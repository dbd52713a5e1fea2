"""What a statement may take for granted since it was seen before, and checks itself. Pure.

What a request's names mean, and from when on points are kept, hardly ever changes: to ask before each statement costs
more than many a statement. So the statement is composed of what was learned before, under the condition that it still
holds; where that fails, no row comes. What has no rows is therefore asked for anew, with nothing taken for granted.

Ids mean the same for as long as the epoch of the catalog does (`catalog.epoch`), and within an epoch fields only come.
"""

from __future__ import annotations

from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from psycopg import sql

from query.conditions import Statement
from query.tables import Batches, Row
from service.errors import Unavailable

EPOCH = sql.SQL("catalog.epoch() = {}")
KEPT = sql.SQL("catalog.raw_from({}) <= {}")
FIELDS = sql.SQL("(SELECT count(*) FROM catalog.field f WHERE f.measurement_id = {}) = {}")


class OutdatedError(Exception):
    """What was taken for granted may no longer hold."""


class Changed(Unavailable):
    """What a statement reads is not there any more, though it was when it was looked up."""


@dataclass(slots=True)
class Assumption:
    """What is taken for granted of a measurement."""

    epoch: str
    measurement_id: int
    kept_from: datetime | None = None
    """All points from then on are kept; None where that does not matter."""
    fields: int | None = None
    """So many it has; None where that does not matter."""
    is_checked: bool = field(default=False, compare=False)
    """Whether the server has said that it holds, in this request: then no statement need look again."""

    def check(self, epoch: str, raw_from: datetime | None) -> None:
        """Compare with what the server says now. Raises `OutdatedError`."""
        is_dropped = self.kept_from is not None and raw_from is not None and raw_from > self.kept_from
        if epoch != self.epoch or is_dropped:
            raise OutdatedError
        self.is_checked = True

    def condition(self) -> Statement:
        """The same for a statement, which looks once and not for each row."""
        held = [EPOCH.format(sql.Placeholder("assumed_epoch"))]
        parameters: dict[str, Any] = {"assumed_epoch": self.epoch, "assumed_of": self.measurement_id}
        if self.kept_from is not None:
            held.append(KEPT.format(sql.Placeholder("assumed_of"), sql.Placeholder("assumed_kept_from")))
            parameters["assumed_kept_from"] = self.kept_from
        if self.fields is not None:
            held.append(FIELDS.format(sql.Placeholder("assumed_of"), sql.Placeholder("assumed_fields")))
            parameters["assumed_fields"] = self.fields
        return Statement(sql.SQL(" AND ").join(held), parameters)


async def checked(batches: Batches, assumed: Assumption) -> Batches:
    """The rows of a statement that checks what is assumed. Raises `OutdatedError` in place of none at all."""
    async with aclosing(batches):
        try:
            first = await anext(batches, None)
        except Changed as error:
            raise OutdatedError from error
        if not first and not assumed.is_checked:
            raise OutdatedError
        assumed.is_checked = True
        if first is not None:
            yield first
        async for batch in batches:
            yield batch


async def begun(batches: Batches) -> Batches:
    """The same batches, the first of them read by now."""
    first = await anext(batches, None)
    return _following(first, batches)


async def _following(first: list[Row] | None, batches: Batches) -> Batches:
    async with aclosing(batches):
        if first is not None:
            yield first
        async for batch in batches:
            yield batch
