"""What a statement may take for granted since it was seen before, and checks itself. Pure.

What a request's names mean, and from when on points are kept, hardly ever changes: to ask before each statement costs
more than many a statement. So the statement is composed of what was learned before, under the condition that it still
holds; where that fails, no row comes. What has no rows is therefore asked for anew, with nothing taken for granted.

Ids mean the same for as long as the epoch of the catalog does (`catalog.epoch`), and within an epoch fields only come.
"""

from __future__ import annotations

from collections.abc import Awaitable
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

from psycopg import sql

from query.tables import Batches, Row, Short
from service.errors import BadRequest, Unavailable

EPOCH = sql.SQL("catalog.epoch() = %(assumed_epoch)s")
KEPT = sql.SQL("catalog.raw_from(%(assumed_of)s) <= %(assumed_kept_from)s")
FIELDS = sql.SQL("(SELECT count(*) FROM catalog.field f WHERE f.measurement_id = %(assumed_of)s) = %(assumed_fields)s")


class OutdatedError(Exception):
    """What was taken for granted may no longer hold."""


class Changed(Unavailable):
    """What a statement reads is not there any more, though it was when it was looked up."""


class Misfit(BadRequest):
    """What a statement reads is not as ingest makes it: somebody has changed it by hand."""


class Taken(NamedTuple):
    """What is taken for granted beside the epoch."""

    kept_from: bool
    fields: bool

    def text(self) -> sql.Composed:
        """The condition that it holds, which a statement looks at once and not for each row."""
        return sql.SQL(" AND ").join([EPOCH, *([KEPT] if self.kept_from else []), *([FIELDS] if self.fields else [])])


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

    def check(self, epoch: str, raw_from: datetime | None, fields: int) -> None:
        """Compare with what the server says now. Raises `OutdatedError`."""
        is_dropped = self.kept_from is not None and raw_from is not None and raw_from > self.kept_from
        if epoch != self.epoch or is_dropped or self.fields not in (None, fields):
            raise OutdatedError
        self.is_checked = True

    @property
    def taken(self) -> Taken:
        """What of it a statement has to check."""
        return Taken(kept_from=self.kept_from is not None, fields=self.fields is not None)

    def parameters(self) -> dict[str, Any]:
        """The values of the condition."""
        return {
            "assumed_epoch": self.epoch,
            "assumed_of": self.measurement_id,
            "assumed_kept_from": self.kept_from,
            "assumed_fields": self.fields,
        }


async def checked(reading: Awaitable[Batches], assumed: Assumption | None) -> Batches:
    """The rows of a statement that checks what is assumed, if anything is; the first of them are read.

    Raises `OutdatedError` in place of none at all.
    """
    try:
        batches = await reading
    except Changed as error:
        if assumed is None:
            raise
        raise OutdatedError from error
    if assumed is not None:
        if isinstance(batches, Short) and not batches.rows and not assumed.is_checked:
            raise OutdatedError
        assumed.is_checked = True
    return batches


async def begun(batches: Batches) -> Batches:
    """The same batches, the first of them read by now."""
    first = await anext(batches, None)
    return Short([]) if first is None else _following(first, batches)


async def _following(first: list[Row], batches: Batches) -> Batches:
    async with aclosing(batches):
        yield first
        async for batch in batches:
            yield batch
