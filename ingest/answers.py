"""What a client hears of its points."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from aiohttp import web

from ingest.points import Batch
from service.errors import error_body
from service.web import json_response

DURABILITY = "Tidemark-Durability"
POSITION = "Tidemark-Position"
SKIPPED = "Tidemark-Skipped-Fields"


def answer(batch: Batch, durability: str = "committed", position: str | None = None) -> web.Response:
    """The answer to a request whose accepted points are kept.

    204 when every point was accepted, else 400 with the rejected ones listed. Headers say how the points are
    kept, `committed` (and by which position of the database's log, if it is known) or `spooled`, and which fields were
    left out of them (names percent-encoded, the first ten).
    """
    headers = {}
    accepted = batch.accepted_count
    if accepted or not batch.rejected_count:
        headers[DURABILITY] = durability
        if position is not None:
            headers[POSITION] = position
    if batch.skipped:
        headers[SKIPPED] = ", ".join(quote(name) for name in batch.skipped)
    if not batch.rejected_count:
        return web.Response(status=204, headers=headers)
    return json_response(_rejections(batch, accepted), status=400, headers=headers)


def _rejections(batch: Batch, accepted: int) -> dict[str, Any]:
    listed = sorted(batch.rejections, key=lambda rejection: rejection.place)
    first = listed[0]
    where = f"{batch.place_name} {first.place}: {first.text}"
    if accepted:
        # Telegraf looks for these two words, and for "unable to parse".
        message = f"partial write: {batch.rejected_count} of {accepted + batch.rejected_count} points rejected: {where}"
    else:
        message = f"unable to parse: no point could be taken: {where}"
    return error_body(
        "invalid",
        message,
        accepted=accepted,
        rejected=batch.rejected_count,
        rejections=[{batch.place_name: one.place, "reason": one.reason, "message": one.text} for one in listed],
        skipped_fields=list(batch.skipped),
    )
