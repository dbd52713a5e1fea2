"""A connection of query: it keeps the plans of light statements, and one cursor for all statements."""

from __future__ import annotations

import select
from functools import cached_property
from typing import LiteralString

import orjson
import psycopg
from psycopg.types.json import set_json_loads

from query.cursor import Prepared, RowCursor
from query.tables import Row


class Connection(psycopg.AsyncConnection[Row]):
    """A connection that keeps the plans of light statements, and of no others."""

    keeps_plans: bool | None = False
    """None while it is not known."""

    def set_up(self, prepared_statements: int) -> None:
        """Have so many statements prepared, and tags read; before the first statement."""
        # The reader of JSON, as tags are, that is there takes several times as long.
        set_json_loads(orjson.loads, self)
        self._prepared = Prepared(prepared_statements)

    @property
    def has_news(self) -> bool:
        """Whether the server has said something that nobody has read, its end included, or the connection is closed."""
        return self.closed or bool(self._poller.poll(0))  # once closed, its descriptor may be another's

    @cached_property
    def _poller(self) -> select.poll:
        poller = select.poll()
        poller.register(self.fileno(), select.POLLIN)
        return poller

    @cached_property
    def read(self) -> RowCursor:
        """What reads the rows of its statements."""
        return RowCursor(self)

    async def keep_plans(self, *, wanted: bool) -> None:
        """Have the next statements planned without their values, so that a plan serves again, or each with its own.

        Left to itself the server plans a light statement anew each time, since it thinks little of what that costs.
        Another's plan must be of its own range of time: only so are the other chunks left out.
        """
        self.keeps_plans = None  # for as long as this may be cancelled
        mode: LiteralString = "SET plan_cache_mode TO force_generic_plan" if wanted else "RESET plan_cache_mode"
        await self.execute(mode, prepare=False)  # it has no plan, and would take the place of one that has
        self.keeps_plans = wanted
