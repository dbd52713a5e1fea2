"""Light statements: to plan one is a good part of what it costs, so that the server keeps its plan. Pure.

Such a statement reads points of hosts that are named one by one, in less than a day. Its plan is made without its
values, and would be one of all chunks that there are. So its text tells in which days it looks, and changes with them.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from psycopg import sql

from query.conditions import forms
from query.parameters import Matcher
from query.ranges import Range, around

A_DAY = timedelta(days=1)

DURING = sql.SQL(" AND p.time >= {} AND p.time < {}")


def days(match: Sequence[Matcher], start: datetime, end: datetime) -> Range | None:
    """The days in which a light statement looks for points of [start, end); None for one that is not light."""
    is_light = end - start < A_DAY and any(form.way in ("host", "hosts") for form in forms(match))
    return around(start, end, A_DAY) if is_light else None


def during(days: Range | None) -> sql.Composable:
    """What a statement says of a row p so that the plan of it is one of these days."""
    return sql.SQL("") if days is None else DURING.format(*days)
