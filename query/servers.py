"""The servers that hold the points: the primary, and a replica if there is one. One of them answers a request.

1. `strong` is the primary's. So is everything while the replica is not fit to be read (`standing`): away, too far
   behind, promoted, of another timeline.
2. A request that names a position waits for the replica to reach it, for a moment; else the primary answers. One that
   the primary has not come to is refused: nobody can have got it from ingest on this database.
3. What the replica fails to do, the primary does: the request does not hear of it.

Which one it is, is settled before a request's first statement, and is the task's from then on (a context variable):
statements do not pass it from hand to hand.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator, Coroutine, Mapping, Sequence
from contextlib import AsyncExitStack, aclosing
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, TypeVar

from aiohttp import web
from psycopg import sql

from query.conditions import Statement
from query.database import Database
from query.entries import Stamp
from query.instruments import Instruments
from query.position import HEADER, Position
from query.settings import QuerySettings
from query.settled import Settled
from query.standing import Fault, ServerState, Standing
from query.tables import BATCH_ROWS, Batches, Row
from query.watch import abandon
from service import logs
from service.errors import BadRequest, Unavailable

log = logs.get(__name__)

T = TypeVar("T")

SERVER = "Tidemark-Server"
"""The header of an answer that names the server."""

LOOKS_SECONDS = 0.005
"""Between looks at a replica that somebody waits for."""

FAULTS: Mapping[Fault, str] = {
    "new": "it is not known yet how far it is behind",
    "away": "it does not answer",
    "foreign": "it is a replica of another database than the one at QUERY_DATABASE_URL",
    "promoted": "it is a primary now",
    "timeline": "its timeline is not the primary's, or not known (the owner of catalog.server_state needs "
    "pg_read_all_stats to see it, and the replica must stream)",
    "lagging": "it is too far behind (QUERY_REPLICA_MAX_LAG_SECONDS)",
}


@dataclass(slots=True)
class _Choice:
    """The server that a request is answered by."""

    server: Database


_CHOICE: ContextVar[_Choice] = ContextVar("choice")


def answering() -> str | None:
    """The name of the server that this task's request is answered by; None before that is settled."""
    choice = _CHOICE.get(None)
    return None if choice is None else choice.server.name


class Servers:
    """What asks the right server. `opened` is the resource of an application."""

    def __init__(self, settings: QuerySettings, instruments: Instruments) -> None:
        self._settings = settings
        self._reads = instruments.servers.reads
        self._settled = Settled()
        self._standing = Standing(settings.replica_max_lag_seconds)
        self._primary = Database("primary", settings.database_url, settings, instruments, self._primary_looked)
        self._replica: Database | None = None
        self._fault: Fault | None = "new"
        """What was wrong with the replica when that was logged last."""
        instruments.cache.unsettled.set_function(self._unsettled_seconds)
        if settings.replica_url is not None:
            self._replica = Database("replica", settings.replica_url, settings, instruments, self._replica_looked)
            instruments.servers.replica_behind.set_function(lambda: self._standing.behind(time.monotonic()))

    @property
    def not_ready(self) -> str | None:
        """Why nobody can be answered now; None when the primary or the replica can answer."""
        if self._replica is not None and self._replica_fault() is None:
            return None
        return self._primary.watch.not_ready

    def status(self) -> Mapping[str, Any]:
        """What a person wants to know of the servers."""
        watch = self._primary.watch
        search = "part" if watch.similarity is None else "likeness"
        told = {"edition": watch.edition, "migration": watch.migration, "search": search}
        if self._replica is None:
            return told
        fault = self._replica_fault()
        behind = self._standing.behind(time.monotonic())
        return {
            **told,
            "replica": {
                "in_use": fault is None,
                "fault": None if fault is None else FAULTS[fault],
                "behind_seconds": round(behind, 3) if behind < float("inf") else None,
            },
        }

    async def opened(self, _: web.Application) -> AsyncIterator[None]:
        """Connect in the background and watch, until the application stops."""
        async with AsyncExitStack() as stack:
            for server in filter(None, (self._primary, self._replica)):
                await stack.enter_async_context(server.running())
            yield

    async def choose(self, consistency: Literal["fresh", "strong"], positions: Sequence[Position]) -> None:
        """Settle which server answers the request of this task.

        Raises `BadRequest` for a position that the primary has not come to, `Unavailable` when what is asked for cannot
        be promised now.
        """
        server, reason = await self._chosen(consistency, positions)
        if server is self._primary and (positions or consistency == "strong"):
            await self._require(positions)
        self._reads.labels(server.name, reason).inc()
        _CHOICE.set(_Choice(server))

    @property
    def similarity(self) -> sql.Identifier | None:
        """The function that tells how similar names are, on both servers; None without the extension pg_trgm."""
        return self._primary.watch.similarity

    def settled(self) -> tuple[Stamp, datetime] | None:
        """What the server that answers this task's request has surely seen, and until when all is settled there.

        The moment is the primary's; None while it is not known.
        """
        choice = _CHOICE.get(None)
        state = (self._primary if choice is None else choice.server).watch.state
        before = None if state is None else self._settled.before(state.xmin)
        if state is None or before is None:
            return None
        return Stamp(state.epoch, state.xmin, state.clock), before

    def _unsettled_seconds(self) -> float:
        state = self._primary.watch.state
        before = None if state is None else self._settled.before(state.xmin)
        return math.inf if state is None or before is None else (state.clock - before).total_seconds()

    def epoch(self) -> str | None:
        """Of the catalog, when the server that answers this task's request was asked last; None before."""
        choice = _CHOICE.get(None)
        state = (self._primary if choice is None else choice.server).watch.state
        return None if state is None else state.epoch

    def origin(self) -> tuple[object, ...]:
        """What tells the points of the server that answers from those of others."""
        choice = _CHOICE.get(None)
        server = self._primary if choice is None else choice.server
        state = server.watch.state
        return (server.name, *((state.system, state.database) if state else ()))

    async def fetch(self, name: str, statement: Statement) -> list[Row]:
        """All rows of a statement, as `Database.fetch` has them, from the server that answers this task's request."""
        choice = _CHOICE.get(None)
        if choice is not None and choice.server is self._replica:
            try:
                return await _while_there(choice.server, choice.server.fetch(name, statement))
            except Unavailable as error:
                self._leave_replica(choice, error)
        return await self._primary.fetch(name, statement)

    async def stream(self, name: str, statement: Statement, size: int = BATCH_ROWS) -> Batches:
        """The rows of a statement in batches, as `Database.stream` has them, from the same server.

        The primary answers for the replica only as long as nothing has come of it.
        """
        choice = _CHOICE.get(None)
        if choice is not None and choice.server is self._replica:
            is_begun = False
            batches = choice.server.stream(name, statement, size)
            try:
                while (batch := await _while_there(choice.server, _next(batches))) is not None:
                    is_begun = True
                    yield batch
                return
            except GeneratorExit:
                await batches.aclose()
                raise
            except Unavailable as error:
                if is_begun:
                    raise
                self._leave_replica(choice, error)
        async with aclosing(self._primary.stream(name, statement, size)) as batches:
            async for batch in batches:
                yield batch

    def _leave_replica(self, choice: _Choice, error: Unavailable) -> None:
        """Let the primary answer the rest of a request that the replica has failed."""
        log.warning("the primary answers in place of the replica", reason=error.message)
        self._reads.labels(self._primary.name, "failed").inc()
        choice.server = self._primary

    async def _chosen(
        self, consistency: Literal["fresh", "strong"], positions: Sequence[Position]
    ) -> tuple[Database, str]:
        replica = self._replica
        if replica is None:
            return self._primary, "only"
        if consistency == "strong":
            return self._primary, "strong"
        if (fault := self._replica_fault()) is not None:
            return self._primary, fault
        if not positions:
            return replica, "fresh"
        if await self._replica_reaches(replica, max(positions)):
            return replica, "reached"
        return self._primary, "not_reached"

    async def _replica_reaches(self, replica: Database, position: Position) -> bool:
        """Whether the replica has come to `position`, or does so within the time that there is for it."""
        deadline = time.monotonic() + self._settings.replica_wait_seconds
        while not self._standing.has_reached(position):
            now = time.monotonic()
            if now >= deadline or self._replica_fault() is not None:
                return False
            if await replica.watch.state_since(now, deadline - now) is not None:
                await asyncio.sleep(LOOKS_SECONDS)
        return True

    async def _require(self, positions: Sequence[Position]) -> None:
        """See to it that the primary is one, and has come to these positions."""
        watch, now = self._primary.watch, time.monotonic()
        state = watch.state
        if state is None or any(_is_past(one, state) for one in positions):
            state = await watch.state_since(now, self._settings.connect_timeout_seconds)
        if state is None:
            raise Unavailable(watch.not_ready or "the database does not answer")
        if state.is_replica or state.timeline is None:
            raise Unavailable("the server at QUERY_DATABASE_URL is a replica: it cannot promise what is committed")
        here = Position(state.timeline, state.lsn)
        if ahead := [one for one in positions if one > here]:
            another = "" if ahead[0].timeline == here.timeline else " (has another server become the primary?)"
            raise BadRequest(
                f"position: {ahead[0]} is past all that the database has committed, {here}{another}; "
                f"allowed: what ingest answers as {HEADER}",
                parameter="position",
            )

    def _replica_fault(self) -> Fault | None:
        """What is wrong with the replica now; logged when it is another thing than before."""
        assert self._replica is not None, "asked only where there is one"
        watch = self._replica.watch
        fault: Fault | None = "away" if watch.gone.is_set() else "new"
        if watch.not_ready is None:
            fault = self._standing.fault(time.monotonic())
        if fault != self._fault:
            self._fault = fault
            if fault is None:
                log.info("the replica is read")
            else:
                log.warning("the replica is not read, the primary is", reason=FAULTS[fault])
        return fault

    def _primary_looked(self) -> None:
        state = self._primary.watch.state
        if state is None:
            return
        if not state.is_replica:
            self._settled.primary_said(state.epoch, state.next_xid, state.clock)
        if self._replica is not None:
            self._standing.primary_said(state)
            self._replica_fault()

    def _replica_looked(self) -> None:
        if (watch := self._replica and self._replica.watch) and watch.state is not None:
            self._standing.replica_said(watch.state)
            self._replica_fault()


async def _while_there(replica: Database, asked: Coroutine[Any, Any, T]) -> T:
    """What the replica answers; `Unavailable` as soon as it is known not to be there any more."""
    answer = asyncio.create_task(asked)
    gone = asyncio.create_task(replica.watch.gone.wait())
    try:
        await asyncio.wait((answer, gone), return_when=asyncio.FIRST_COMPLETED)
        if answer.done():
            return answer.result()
        raise Unavailable(replica.watch.not_ready or "the replica does not answer")
    finally:
        abandon(gone)
        abandon(answer)


async def _next(batches: Batches) -> list[Row] | None:
    return await anext(batches, None)


def _is_past(position: Position, state: ServerState) -> bool:
    """Whether the primary must be asked again, since it had not come to `position` when it was asked last."""
    return state.timeline is None or position > Position(state.timeline, state.lsn)
