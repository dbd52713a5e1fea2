"""Settling rollups: only what is settled is relied on.

A transaction that commits while its times are refreshed for the first time may be missing from the rollup, and from
TimescaleDB's logs as well (docs/decisions/0009). So, for all rollups whose refreshes have come further than what is
settled:

1. Wait for the transactions that may have asked, before that, whether their changes are logged. Those that ask later
   hear that they are.
2. Wait for the refreshes that may have begun before the first were seen.
3. Refresh once more what TimescaleDB has nothing against, since it may have been refreshed too early; the rest will be
   refreshed anyway. Mostly it is the newest window of ten minutes.
4. Say that the rollup is settled up to there.

Whatever fails in between leaves it unsettled: readers take the points, and the next round tries again.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg
from psycopg import sql

WAIT_SECONDS = 10.0
"""How long transactions under way are waited for, and a lock; then the next round will do."""
POLL_SECONDS = 0.05

COMMITTING = "_timescaledb_catalog.continuous_aggs_invalidation_threshold"
"""Who is about to commit changes of what is rolled up holds a lock on it."""

UNSETTLED = "SELECT rollup_id, view_name, relation, until::text FROM catalog.unsettled_rollups()"
WRITERS = "SELECT relation, writer FROM catalog.writers_at(%s)"
TO_REPEAT = "SELECT window_start, window_end FROM catalog.windows_to_repeat(%s, %s)"
REFRESH = sql.SQL("CALL {refresh}({view}, {start}, {end}, force => {force})")
SETTLE = "SELECT catalog.settle_rollup(%s, %s)"

Connection = psycopg.Connection[Any]
Window = tuple[datetime, datetime]


class UnderWayError(Exception):
    """Others are under way whose changes a rollup may lack."""


@dataclass(frozen=True)
class Rollup:
    """One that was refreshed further than it is settled."""

    id: int
    view_name: str
    relation: str
    """What TimescaleDB fills for it."""
    until: str
    """Up to when it is to be settled."""


@dataclass(frozen=True)
class Repeat:
    """What is to be refreshed once more, before a rollup is settled."""

    rollup: Rollup
    windows: list[Window]


def unsettled(connection: Connection) -> list[Repeat]:
    """What `settle` is to do, in this order: an hour is made of its ten minutes, and made again after them.

    Those that are being refreshed for long are left to the next time. Raises `UnderWayError` when somebody commits for
    long.
    """
    found = [Rollup(*row) for row in connection.execute(UNSETTLED).fetchall()]
    if not found:
        return []
    if _outwait(connection, [COMMITTING]):
        raise UnderWayError(f"somebody has been about to commit for more than {WAIT_SECONDS:g} s")
    busy = _outwait(connection, [rollup.relation for rollup in found])
    return [Repeat(rollup, _to_repeat(connection, rollup)) for rollup in found if rollup.relation not in busy]


def settle(connection: Connection, repeat: Repeat) -> None:
    """Settle a rollup; the connection must be in autocommit mode.

    Raises `psycopg.errors.LockNotAvailable` when somebody locks its table for long, and `psycopg.DatabaseError` when it
    cannot be refreshed.
    """
    rollup = repeat.rollup
    connection.execute("SELECT set_config('lock_timeout', %s, false)", [f"{WAIT_SECONDS:g}s"])
    for window in _to_repeat(connection, rollup):
        _refresh(connection, rollup, window, force=True)
    # That has noted more as changed: the window after each, and of an hour what was made again of its ten minutes.
    for window in repeat.windows:
        _refresh(connection, rollup, window, force=False)
    connection.execute(SETTLE, [rollup.id, rollup.until])


def _to_repeat(connection: Connection, rollup: Rollup) -> list[Window]:
    return connection.execute(TO_REPEAT, [rollup.id, rollup.until]).fetchall()


def _refresh(connection: Connection, rollup: Rollup, window: Window, *, force: bool) -> None:
    start, end = window
    connection.execute(
        REFRESH.format(
            refresh=sql.Identifier(_one(connection, "SELECT catalog.timescale()"), "refresh_continuous_aggregate"),
            view=sql.Literal(sql.Identifier("rollups", rollup.view_name).as_string()),
            start=sql.Literal(start),
            end=sql.Literal(end),
            force=sql.Literal(force),
        )
    )


def _outwait(connection: Connection, relations: Sequence[str]) -> set[str]:
    """Wait for the transactions that have written, and hold a lock on a relation now; where some do so for long."""
    deadline = time.monotonic() + WAIT_SECONDS
    left = set(connection.execute(WRITERS, [relations]).fetchall())
    while left and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)
        left &= set(connection.execute(WRITERS, [relations]).fetchall())
    return {relation for relation, _ in left}


def _one(connection: Connection, statement: str) -> Any:
    row = connection.execute(statement.encode()).fetchone()
    assert row is not None
    return row[0]
