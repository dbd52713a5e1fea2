"""What was changed late, asked of the server: whether rows that were kept still hold.

A row of `catalog.change` comes with the points that it tells of. Rows of an answer hold as long as there is none that
meets their times and whose transaction they may lack: all with a number from the stamp's `xmin` on. Some of those are
in the rows already; to compute these anew is work, and no fault. Numbers are given in one order and transactions are
over in another, which matters to nobody here: it is not asked what came last, but what was not over then.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import LiteralString

from query.conditions import Statement
from query.entries import Entry
from query.ranges import Range
from query.servers import Servers

MOST_CHANGES = 250
"""Read at a time; where there are more, nothing that was kept is taken to hold."""

SEEN: LiteralString = """
    SELECT catalog.epoch(), pg_snapshot_xmin(s.seen)::text::bigint, clock_timestamp(),
        nullif(catalog.raw_from(%(measurement)s), '-infinity'),
        (SELECT count(*) FROM catalog.field f WHERE f.measurement_id = %(measurement)s),
        c.xid, lower(c.during), upper(c.during)
    FROM (SELECT pg_current_snapshot() AS seen) s LEFT JOIN LATERAL (
        SELECT c.xid::text::bigint AS xid, unnest(c.during) AS during FROM catalog.change c
        WHERE c.measurement_id = %(measurement)s AND c.xid >= %(since)s::text::xid8
            AND c.during && tstzrange(%(start)s, %(end)s)
        ORDER BY c.xid DESC LIMIT %(limit)s  -- by the index, whatever is thought of how many there are
    ) c ON true
"""


@dataclass(frozen=True, slots=True)
class Change:
    """Times of points that a transaction has written late, both included."""

    xid: int
    first: datetime
    last: datetime


@dataclass(frozen=True, slots=True)
class Seen:
    """What a server sees at one moment."""

    epoch: str
    xmin: int
    at: datetime
    raw_from: datetime | None
    """Of the points before it some may have been dropped; None when all are kept."""
    fields: int
    """So many the measurement has."""
    changes: Sequence[Change]
    """Those from a transaction on that meet a range."""

    def is_changed(self, entry: Entry, times: Range) -> bool:
        """Whether the rows of `entry`, of points in `times`, may lack something."""
        start, end = times
        if entry.stamp.epoch != self.epoch or len(self.changes) >= MOST_CHANGES:
            return True
        return any(one.xid >= entry.stamp.xmin and one.first < end and one.last >= start for one in self.changes)


async def look(servers: Servers, measurement_id: int, since: int, times: Range) -> Seen:
    """What the server that answers sees now: of changes those by transactions from `since` on that meet `times`."""
    start, end = times
    parameters = {"measurement": measurement_id, "since": str(since), "start": start, "end": end, "limit": MOST_CHANGES}
    rows = await servers.fetch("changes", Statement(SEEN, parameters, "either"))
    epoch, xmin, at, raw_from, fields = rows[0][:5]
    return Seen(epoch, xmin, at, raw_from, fields, [Change(*row[5:]) for row in rows if row[5] is not None])
