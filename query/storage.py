"""What is stored and how the database's jobs do, looked at now and then: for /api/v1/status and the instruments."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import psycopg
from aiohttp import web

from query.conditions import Statement
from query.instruments import Instruments
from query.servers import Servers
from service import logs
from service.errors import HttpError

log = logs.get(__name__)

STORAGE = """
    SELECT count(*), coalesce(sum(points), 0)::bigint, coalesce(sum(chunks), 0)::bigint,
           coalesce(sum(compressed_chunks), 0)::bigint, coalesce(sum(due_chunks), 0)::bigint,
           coalesce(sum(raw_bytes), 0)::bigint, coalesce(sum(rollup_bytes), 0)::bigint,
           coalesce(sum(before_bytes), 0)::bigint, coalesce(sum(after_bytes), 0)::bigint,
           coalesce(sum(compressed_values), 0)::bigint
    FROM catalog.storage_report()
"""
JOBS = "SELECT job_id, action, relation, state, error FROM catalog.job_report() ORDER BY job_id"

STATES = ("ok", "failed", "late")
TROUBLES_TOLD = 20
LONGEST_SHARE = 0.1
"""Of the time, at most this much goes into looking: what is stored may be much."""
FIRST_LOOK_SECONDS = 1.0


class Storage:
    """The last look. `opened` is the resource of an application that goes on looking."""

    def __init__(self, database: Servers, instruments: Instruments, seconds: float) -> None:
        self._database = database
        self._instruments = instruments.storage
        self._seconds = seconds
        self._trouble: str | None = None
        self.seen: dict[str, Any] | None = None
        """What /api/v1/status tells; None until the first look."""

    async def opened(self, _: web.Application) -> AsyncIterator[None]:
        """Look in the background until the application stops."""
        watch = asyncio.create_task(self._watch())
        yield
        watch.cancel()
        with suppress(asyncio.CancelledError):
            await watch

    async def _watch(self) -> None:
        while True:
            pause = FIRST_LOOK_SECONDS
            if self._database.not_ready is None:
                began = time.perf_counter()
                await self._look()
                pause = max(self._seconds, (time.perf_counter() - began) / LONGEST_SHARE)
            await asyncio.sleep(pause)

    async def _look(self) -> None:
        try:
            (totals,) = await self._database.fetch("storage", Statement(STORAGE, {}))
            jobs = await self._database.fetch("jobs", Statement(JOBS, {}))
        except (HttpError, psycopg.Error) as error:
            # The database is away, too slow for it, or at an older migration; what was seen last stays.
            self._note(str(error).partition("\n")[0])
        else:
            self._note(None)
            self.seen = told(totals, jobs)
            self._count(self.seen)

    def _note(self, trouble: str | None) -> None:
        if trouble is not None and trouble != self._trouble:
            log.warning("what is stored cannot be told", reason=trouble)
        self._trouble = trouble

    def _count(self, seen: Mapping[str, Any]) -> None:
        instruments = self._instruments
        instruments.points.set(seen["points"])
        for gauge, values in (
            (instruments.chunks, seen["chunks"]),
            (instruments.bytes, seen["bytes"]),
            (instruments.bytes_per_value, seen["bytes_per_value"]),
            (instruments.jobs, seen["jobs"]),
        ):
            for label, value in values.items():
                if value is not None:
                    gauge.labels(label).set(value)


def told(totals: Sequence[Any], jobs: Sequence[Sequence[Any]]) -> dict[str, Any]:
    """What the rows of `STORAGE` and `JOBS` say, for people; at most `TROUBLES_TOLD` jobs in trouble are named."""
    measurements, points, chunks, compressed, due, raw, rollups, before, after, values = totals
    states = Counter(job[3] for job in jobs)
    troubles = [
        dict(zip(("job", "action", "relation", "state", "error"), job, strict=True)) for job in jobs if job[3] != "ok"
    ]
    return {
        "at": datetime.now(UTC),
        "measurements": measurements,
        "points": points,
        "chunks": {"compressed": compressed, "uncompressed": chunks - compressed, "due": due},
        "bytes": {"raw": raw, "rollups": rollups, "before_compression": before, "after_compression": after},
        "bytes_per_value": {
            "before_compression": before / values if values else None,
            "after_compression": after / values if values else None,
        },
        "jobs": {state: states[state] for state in STATES},
        "jobs_in_trouble": troubles[:TROUBLES_TOLD],
    }
