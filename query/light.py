"""Light statements: to plan one is a good part of what it costs, so that the server keeps its plan. Pure.

Such a statement is about a few numbers of hosts that are named one by one, in less than a day. Its plan is made without
its values, and would be one of all chunks that there are, of windows of whatever length. So its text tells in which
days it looks, and how long windows are, and changes with them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Literal

from psycopg import sql

from query.conditions import Form
from query.ranges import Range, around

A_DAY = timedelta(days=1)

MOST_NUMBERS = 20
"""A plan has all of them for each chunk: with a hundred it takes megabytes, for as long as it is kept."""

DURING = sql.SQL(" AND p.time >= {} AND p.time < {}")


def days(match: Sequence[Form], start: datetime, end: datetime, numbers: int) -> Range | None:
    """The days in which a light statement about so many numbers looks for points of [start, end); None for another."""
    is_light = numbers <= MOST_NUMBERS and end - start < A_DAY and any(form.names_hosts for form in match)
    return around(start, end, A_DAY) if is_light else None


def planned(days: Iterable[Range | None]) -> Literal["each", "once"]:
    """How a statement is planned that has parts for these days."""
    return "once" if None not in days else "each"


def during(days: Range | None) -> sql.Composable:
    """What a statement says of a row p so that the plan of it is one of these days."""
    return sql.SQL("") if days is None else DURING.format(*days)
