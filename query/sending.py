"""Sending a table: encoded and compressed as it is read.

1. Until QUERY_MAX_HELD_BYTES are ready nothing is sent: an error up to there is an answer of its own, with its status.
   An answer that ends by then has a length. Where all answers together hold too much, less is enough (`holding`).
2. What is longer is sent as it is made, at the client's pace, which becomes the database's: nothing piles up between.
3. An error in the middle cannot be told any more: the connection is reset, which every client takes for the failure
   that it is, and it is counted and logged.
4. So is the connection of a client that takes nothing of its answer for QUERY_SEND_TIMEOUT_SECONDS. What is left when
   all of an answer has been handed to aiohttp is the kernel's to watch (`service.connections`).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack, aclosing
from dataclasses import replace

from aiohttp import web

from query import compression
from query.assumptions import begun
from query.compression import LEAST_BYTES, Compressor
from query.formats import Format
from query.holding import Held, Holding
from query.instruments import Instruments
from query.negotiation import listed
from query.settings import QuerySettings
from query.tables import Batches, Encoder, Short, Table
from service import logs
from service.connections import reset
from service.errors import HttpError, TidemarkError

log = logs.get(__name__)

CACHE = "Tidemark-Cache"
"""The header that says how much of an answer was there already."""
WARNING = "Tidemark-Warning"
"""The header that says what an answer cannot hold, for the formats that have no place for it."""
SLICE_BYTES = 64 * 1024
"""How much is sent at a time: a client has its timeout for each."""

Pieces = AsyncGenerator[bytes | bytearray, None]


class SlowClient(TidemarkError):
    """The client takes nothing of its answer."""


class Sender:
    """Sends tables."""

    def __init__(self, settings: QuerySettings, instruments: Instruments) -> None:
        self._settings = settings
        self._instruments = instruments.requests
        self._reused = instruments.cache.requests
        self._holding = Holding(settings, instruments)

    async def send(self, request: web.Request, form: Format, table: Table) -> web.StreamResponse:
        """The answer to a request, sent. Raises what the table's rows raise, unless some of it has been sent."""
        coding = compression.choose(listed(request.headers.getall("Accept-Encoding", [])))
        if request.method == "POST":
            table = replace(table, tag=None)  # it would be that of what a GET of the same URL answers
        headers = {"Vary": "Accept, Accept-Encoding", **_caching(form, table)}
        if table.warnings:
            headers[WARNING] = "; ".join(table.warnings)
        if _is_known(request, headers.get("ETag")):
            self._count_reuse(table)
            await table.batches.aclose()
            return web.Response(status=304, headers=headers)
        headers["Content-Type"] = form.content_type
        encoder = form.encoder(table)
        body = _at_hand(table, encoder)
        if body is None:
            return await self._as_made(request, form, table, encoder, headers, coding)
        if coding is not None and len(body) >= LEAST_BYTES:
            headers["Content-Encoding"] = coding
            body = compression.compressed(body, coding)
        self._count(form, table)
        with self._holding.one() as held:
            held.now(len(body))
            return await self._whole(request, headers, body)

    async def _as_made(
        self,
        request: web.Request,
        form: Format,
        table: Table,
        encoder: Encoder,
        headers: dict[str, str],
        coding: str | None,
    ) -> web.StreamResponse:
        """An answer sent as its rows are read."""
        async with AsyncExitStack() as opened:
            await opened.enter_async_context(aclosing(table.batches))
            batches = await begun(table.batches)  # what was never begun would not close what it is made of
            pieces = await opened.enter_async_context(aclosing(_encoded(batches, encoder)))
            held, of_all = bytearray(), opened.enter_context(self._holding.one())
            is_whole = await _gathered(pieces, held, lambda count: count < LEAST_BYTES)
            if coding is not None and not is_whole:
                headers["Content-Encoding"] = coding
                compressed = _compressed(bytes(held), pieces, compression.CODINGS[coding]())
                pieces = await opened.enter_async_context(aclosing(compressed))
                held.clear()
            is_whole = is_whole or await _gathered(pieces, held, of_all.now)
            self._count(form, table)
            if is_whole:
                return await self._whole(request, headers, bytes(held))
            response = web.StreamResponse(headers=headers)
            if request.method != "HEAD":
                await self._streamed(request, response, _from_held(held, of_all, pieces))
        return response

    async def _whole(self, request: web.Request, headers: dict[str, str], body: bytes) -> web.StreamResponse:
        """An answer sent of which all is there."""
        if len(body) <= SLICE_BYTES:
            return await self._at_once(request, web.Response(headers=headers, body=body))
        response = web.StreamResponse(headers=headers)
        response.content_length = len(body)
        if request.method != "HEAD":
            await self._streamed(request, response, _alone(body))
        return response

    def _count(self, form: Format, table: Table) -> None:
        self._instruments.answers.labels(form.name).inc()
        self._count_reuse(table)

    def _count_reuse(self, table: Table) -> None:
        """Count how much of an answer was there, once it is sure to be one: it may be refused after all."""
        if table.reuse is not None:
            self._reused.labels(table.reuse).inc()

    async def _streamed(self, request: web.Request, response: web.StreamResponse, pieces: Pieces) -> None:
        """Send an answer piece by piece."""
        try:
            async with aclosing(pieces):
                await response.prepare(request)
                async for piece in pieces:
                    await self._write(response, piece)
        except HttpError as error:
            self._cut_off(request, error.code, error.message)
        except SlowClient as error:
            self._cut_off(request, "slow client", str(error))
        except OSError:
            raise  # the client has left
        except Exception as error:
            log.exception("an answer failed in the middle")
            self._cut_off(request, "internal error", type(error).__name__)

    async def _at_once(self, request: web.Request, response: web.Response) -> web.Response:
        """Send an answer whose head and body the client is to have in one packet."""
        try:
            await self._taken(_sent(request, response))
        except SlowClient as error:
            self._cut_off(request, "slow client", str(error))
        return response

    async def _write(self, response: web.StreamResponse, piece: bytes | bytearray) -> None:
        for start in range(0, len(piece), SLICE_BYTES):
            await self._taken(response.write(piece[start : start + SLICE_BYTES]))

    async def _taken(self, sending: Awaitable[None]) -> None:
        """Send something that the client takes. Raises `SlowClient` when it does not in time."""
        timeout = self._settings.send_timeout_seconds
        try:
            async with asyncio.timeout(timeout):
                await sending
        except TimeoutError:
            raise SlowClient(f"nothing was taken for {timeout:g} s (QUERY_SEND_TIMEOUT_SECONDS)") from None

    def _cut_off(self, request: web.Request, reason: str, error: str) -> None:
        self._instruments.cut_off.labels(reason).inc()
        log.warning("an answer was cut off", path=request.path, reason=reason, error=error)
        if request.transport is not None:
            reset(request.transport)


def _caching(form: Format, table: Table) -> dict[str, str]:
    """What tells a client whether it may keep the answer: only to ask whether it still holds."""
    headers = {"Cache-Control": "no-store" if table.tag is None else "private, no-cache"}
    if table.tag is not None:
        headers["ETag"] = f'W/"{form.name}-{table.tag}"'
    if table.reuse is not None:
        headers[CACHE] = table.reuse
    return headers


def _is_known(request: web.Request, tag: str | None) -> bool:
    """Whether the client says that it has the answer with this tag already."""
    known = request.if_none_match if tag is not None else None
    return known is not None and any(one.value == "*" or f'W/"{one.value}"' == tag for one in known)


def _at_hand(table: Table, encoder: Encoder) -> bytes | None:
    """All of an answer whose rows are there already, and few; None of another."""
    if table.items is not None and encoder is table.document:
        return b"".join((encoder.begin(), table.items[1:-1], encoder.end()))
    if isinstance(table.batches, Short):
        rows = table.batches.rows
        return b"".join((encoder.begin(), encoder.rows(rows) if rows else b"", encoder.end()))
    return None


async def _sent(request: web.Request, response: web.Response) -> None:
    await response.prepare(request)
    await response.write_eof()


async def _encoded(batches: Batches, encoder: Encoder) -> Pieces:
    yield encoder.begin()
    is_first = True
    async for batch in batches:
        if not is_first:
            await asyncio.sleep(0)  # rows that are there already come without a pause, and others have their turn
        is_first = False
        yield encoder.rows(batch)
    yield encoder.end()


async def _alone(body: bytes) -> Pieces:
    yield body


async def _from_held(held: bytearray, of_all: Held, rest: Pieces) -> Pieces:
    """What is held of an answer, and is not any more once it has been sent; then the rest of it."""
    yield held
    held.clear()
    of_all.now(0)
    async for piece in rest:
        yield piece


async def _compressed(first: bytes, pieces: Pieces, compressor: Compressor) -> Pieces:
    yield compressor.compress(first)
    async for piece in pieces:
        yield compressor.compress(piece)
    yield compressor.flush()


async def _gathered(pieces: Pieces, into: bytearray, has_room: Callable[[int], bool]) -> bool:
    """Gather pieces for as long as there is room beside the bytes there are; whether these are all."""
    while has_room(len(into)):
        piece = await anext(pieces, None)
        if piece is None:
            return True
        into += piece
    return False
