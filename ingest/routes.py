"""The endpoints that take points: each reads a body, has it decoded, has it written, and answers.

204 says that every point is committed. 400 may say that some are: its body has the number, and lists the rejected
ones. Any other status promises nothing.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from aiohttp import web

from ingest import influx
from ingest.answers import answer
from ingest.body import BodyLimits, read_body
from ingest.budget import Budget, Hold
from ingest.catalog import Catalog
from ingest.instruments import Instruments
from ingest.points import Batch
from ingest.protocols import jsonpoints, line
from ingest.series import SeriesCache
from ingest.settings import IngestSettings
from ingest.timestamps import Window, precision_ns
from ingest.writer import Writer
from service.errors import BadRequest, HttpError, Unsupported

JSON_TYPES = ("application/json", "text/plain", "application/x-www-form-urlencoded", "application/octet-stream")
"""What is read as JSON; the last but one is what curl -d says when told nothing else."""
NDJSON_TYPES = ("application/x-ndjson", "application/ndjson", "application/jsonl")

Decode = Callable[[bytes, Batch], Iterator[None]]


@dataclass(frozen=True, slots=True)
class Intake:
    """What the endpoints work with."""

    settings: IngestSettings
    cache: SeriesCache
    catalog: Catalog
    writer: Writer
    budget: Budget
    instruments: Instruments

    @property
    def body_limits(self) -> BodyLimits:
        """The bounds of a body."""
        return BodyLimits(self.settings.max_body_bytes, self.settings.body_timeout_seconds)

    def window(self) -> Window:
        """The times that a request received now may have."""
        now_us = time.time_ns() // 1000
        return Window.around(now_us, self.settings.max_age_seconds, self.settings.max_ahead_seconds)


def add_routes(app: web.Application, intake: Intake) -> None:
    """Give `app` the endpoints."""

    async def points(request: web.Request) -> web.Response:
        return await _take(request, intake, "json", _json_decoder(request, intake))

    async def lines(request: web.Request) -> web.Response:
        return await _take(request, intake, "influx", _line_decoder(request, intake))

    async def read(request: web.Request) -> bytes:
        with intake.budget.hold() as hold:
            return await read_body(request, intake.body_limits, hold)

    app.router.add_post("/api/v1/points", points)
    app.router.add_post("/write", lines)
    app.router.add_post("/api/v2/write", lines)
    influx.add_routes(app, read)


def _json_decoder(request: web.Request, intake: Intake) -> Decode:
    kind = request.content_type
    if kind not in JSON_TYPES and kind not in NDJSON_TYPES:
        raise Unsupported(
            f"Content-Type {kind[:60]!r} is not read here, allowed are {', '.join((*JSON_TYPES, *NDJSON_TYPES))}"
        )
    return partial(
        jsonpoints.decode,
        cache=intake.cache,
        precision_ns=precision_ns(request.query.get("precision"), "s"),
        window=intake.window(),
        lines=kind in NDJSON_TYPES,
    )


def _line_decoder(request: web.Request, intake: Intake) -> Decode:
    return partial(
        line.decode,
        cache=intake.cache,
        precision_ns=precision_ns(request.query.get("precision"), "ns"),
        window=intake.window(),
    )


async def _take(request: web.Request, intake: Intake, protocol: str, decode: Decode) -> web.Response:
    """One request's way from its body to its answer. It holds its share of the budget until the end."""
    with intake.budget.hold() as hold:
        body = await read_body(request, intake.body_limits, hold)
        batch = await _decoded(body, intake, protocol, decode, hold)
        try:
            await intake.writer.write(batch)
        except HttpError as error:
            _count_failure(batch, intake.instruments, protocol, error)
            raise
    _count(batch, intake.instruments, protocol)
    return answer(batch)


async def _decoded(body: bytes, intake: Intake, protocol: str, decode: Decode, hold: Hold) -> Batch:
    if not body or body.isspace():
        raise BadRequest("the body is empty")
    intake.instruments.body_bytes.labels(protocol).inc(len(body))
    batch = Batch(intake.cache.limits, intake.catalog.generation)
    held = 0
    for _ in decode(body, batch):
        hold.add(batch.size_bytes - held)
        held = batch.size_bytes
        await asyncio.sleep(0)  # a long body lets others have their turn
    return batch


def _count(batch: Batch, instruments: Instruments, protocol: str) -> None:
    instruments.accepted.labels(protocol).inc(batch.accepted_count)
    instruments.skipped_fields.inc(batch.skipped_count)
    for reason, count in batch.rejected.items():
        instruments.rejected.labels(reason).inc(count)


def _count_failure(batch: Batch, instruments: Instruments, protocol: str, error: HttpError) -> None:
    """The good points were not written; the bad ones are no better for it."""
    if isinstance(error, BadRequest):
        instruments.rejected.labels("database").inc(batch.accepted_count)
    else:
        instruments.refused.labels(protocol).inc(batch.accepted_count)
    for reason, count in batch.rejected.items():
        instruments.rejected.labels(reason).inc(count)
