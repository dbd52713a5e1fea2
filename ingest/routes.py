"""The endpoints that take points: each reads a body, has it decoded, has it written, and answers.

204 says that every point is kept: committed, or in the spool, as the header Tidemark-Durability tells. 400 may say that
some are: its body has the number, and lists the rejected ones. Any other status promises nothing. Tidemark-Position
says by where in the database's log the points are committed: whoever names it to query has them in the answer.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from dataclasses import dataclass

from aiohttp import web

from ingest import influx
from ingest.answers import answer
from ingest.budget import Budget, Hold
from ingest.catalog import Catalog
from ingest.decoders import Decoders
from ingest.instruments import Instruments
from ingest.keeper import Keeper, Kept
from ingest.points import Batch
from ingest.settings import IngestSettings
from ingest.timestamps import precision_ns
from service.body import BodyLimits, read_body
from service.errors import BadRequest, HttpError, TooLarge, Unsupported

JSON_TYPES = ("application/json", "text/plain", "application/x-www-form-urlencoded", "application/octet-stream")
"""What is read as JSON; the last but one is what curl -d says when told nothing else."""
NDJSON_TYPES = ("application/x-ndjson", "application/ndjson", "application/jsonl")


@dataclass(frozen=True, slots=True)
class Intake:
    """What the endpoints work with."""

    settings: IngestSettings
    decoders: Decoders
    catalog: Catalog
    keeper: Keeper
    budget: Budget
    instruments: Instruments

    @property
    def body_limits(self) -> BodyLimits:
        """The bounds of a body."""
        return BodyLimits(
            self.settings.max_body_bytes,
            self.settings.body_timeout_seconds,
            settings="INGEST",
            remedy="send it in smaller requests",
        )


def add_routes(app: web.Application, intake: Intake) -> None:
    """Give `app` the endpoints."""

    async def points(request: web.Request) -> web.Response:
        return await _take(request, intake, "json", _json_form(request), "s")

    async def lines(request: web.Request) -> web.Response:
        return await _take(request, intake, "influx", "influx", "ns")

    async def read(request: web.Request) -> bytes:
        with intake.budget.hold() as hold:
            return await read_body(request, intake.body_limits, hold)

    app.router.add_post("/api/v1/points", points)
    app.router.add_post("/write", lines)
    app.router.add_post("/api/v2/write", lines)
    influx.add_routes(app, read)


def _json_form(request: web.Request) -> str:
    kind = request.content_type
    if kind in NDJSON_TYPES:
        return "ndjson"
    if kind in JSON_TYPES:
        return "json"
    allowed = ", ".join((*JSON_TYPES, *NDJSON_TYPES))
    raise Unsupported(f"Content-Type {kind[:60]!r} is not read here, allowed are {allowed}")


async def _take(request: web.Request, intake: Intake, protocol: str, form: str, unit: str) -> web.Response:
    """One request's way from its body to its answer. It holds its share of the budget until the end.

    `form` names the decoder, `unit` the one of its times unless the request says another.
    """
    unit_ns = precision_ns(request.query.get("precision"), unit)
    received_us = time.time_ns() // 1000
    with intake.budget.hold() as hold:
        body = await read_body(request, intake.body_limits, hold)
        if not body or body.isspace():
            raise BadRequest("the body is empty")
        intake.instruments.points.body_bytes.labels(protocol).inc(len(body))
        batch = Batch(intake.decoders.cache.limits, intake.catalog.generation)
        turns = intake.decoders.decode(form, body, batch, unit_ns, received_us)
        await _decode(turns, intake.settings.decode_seconds, batch, hold)
        try:
            kept = await intake.keeper.keep(batch, form, unit_ns, received_us, body, lambda: request.transport is None)
        except HttpError as error:
            _count_failure(batch, intake.instruments, protocol, error)
            raise
    _count(batch, intake.instruments, protocol, kept)
    return answer(batch, kept.durability, kept.position)


async def _decode(turns: AsyncIterator[float], max_seconds: float, batch: Batch, hold: Hold) -> None:
    held = 0
    async for spent in turns:
        hold.add(batch.size_bytes - held)
        held = batch.size_bytes
        if spent > max_seconds:
            raise TooLarge(
                f"to read the body takes more than {max_seconds:g} s of the processor (INGEST_DECODE_SECONDS); "
                "send it in smaller requests",
                limit="INGEST_DECODE_SECONDS",
            )


def _count(batch: Batch, instruments: Instruments, protocol: str, kept: Kept) -> None:
    points = instruments.points
    taken = points.accepted if kept.durability == "committed" else points.kept
    taken.labels(protocol).inc(batch.accepted_count)
    points.skipped_fields.inc(batch.skipped_count)
    for reason, count in batch.rejected.items():
        points.rejected.labels(reason).inc(count)


def _count_failure(batch: Batch, instruments: Instruments, protocol: str, error: HttpError) -> None:
    """The good points were not written; the bad ones are no better for it."""
    points = instruments.points
    if isinstance(error, BadRequest):
        points.rejected.labels("database").inc(batch.accepted_count)
    else:
        points.refused.labels(protocol).inc(batch.accepted_count)
    for reason, count in batch.rejected.items():
        points.rejected.labels(reason).inc(count)
