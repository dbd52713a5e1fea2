"""A spooled request's way into the database: decoded as it was when it came, and written like a fresh one."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from ingest.budget import Budget, PatientHold
from ingest.catalog import TOO_NEW, Catalog
from ingest.decoders import FORMS, Decoders
from ingest.deferred import Extent, extent
from ingest.points import Batch
from ingest.spool.entry import Request
from ingest.writer import Writer
from service.errors import BadRequest, Unavailable


class Refused(Exception):
    """Points of a request are refused for good; the text says why."""


@dataclass(frozen=True, slots=True)
class Replay:
    """What writing a spooled request needs."""

    writer: Writer
    catalog: Catalog
    decoders: Decoders
    budget: Budget

    async def write(self, request: Request) -> None:
        """Commit a request's points. Raises `Refused` when that cannot be, `Unavailable` when it cannot be now."""
        if request.protocol not in FORMS:
            raise Refused(f"its form {request.protocol!r} is not known to this version of Tidemark")
        try:
            with self.budget.patient_hold() as hold:
                batch = await self._decoded(request, hold)
                await self.writer.write(batch)
        except BadRequest as error:
            raise Refused(error.message) from error
        if batch.accepted_count < request.points:  # a limit has been reached, or made smaller
            reasons = ", ".join(sorted({rejection.text for rejection in batch.rejections}))
            text = f"{request.points - batch.accepted_count} of its points are rejected now: {reasons}"
            raise Unavailable(text) if TOO_NEW in batch.rejected else Refused(text)

    async def extent(self, requests: Sequence[Request]) -> Extent | None:
        """Which points the requests have; None when that cannot be told."""
        with self.budget.patient_hold() as hold:
            try:
                batches = [await self._decoded(request, hold) for request in requests if request.protocol in FORMS]
            except BadRequest:
                return None
            return await asyncio.to_thread(extent, batches)

    async def _decoded(self, request: Request, hold: PatientHold) -> Batch:
        """Raises `BadRequest` for a body that is not of its form at all."""
        batch = Batch(self.decoders.cache.limits, self.catalog.generation)
        decode = self.decoders.decode
        held = 0
        async for _ in decode(request.protocol, request.body, batch, request.precision_ns, request.received_us):
            await hold.wait_for(batch.size_bytes - held)
            held = batch.size_bytes
        return batch
