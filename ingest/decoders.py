"""Bodies into points, by the name of their form: on their way in, and again on their way out of the spool."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from functools import partial

from ingest.points import Batch
from ingest.protocols import jsonpoints, line
from ingest.series import SeriesCache
from ingest.timestamps import Window
from ingest.turns import Turn

END = object()
Decode = Callable[..., Iterator[None]]

FORMS: dict[str, Decode] = {
    "influx": line.decode,
    "json": partial(jsonpoints.decode, lines=False),
    "ndjson": partial(jsonpoints.decode, lines=True),
}
"""The decoders; what the spool holds names one of these, so a name stays."""


@dataclass(frozen=True, slots=True)
class Decoders:
    """What decoding needs beside the body."""

    cache: SeriesCache
    max_age_seconds: int
    max_ahead_seconds: int

    _turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def decode(
        self, form: str, body: bytes, batch: Batch, precision_ns: int, received_us: int
    ) -> AsyncIterator[float]:
        """Add the points of `body` to `batch`, in turns of some milliseconds: the caller iterates.

        After each turn comes the processor time that all turns so far have taken, in seconds.

        Of all bodies that are being decoded one has its turn at a time, and between two turns the event loop gets to
        everything else. `precision_ns` is the unit of the body's times in nanoseconds, `received_us` when it
        came, in microseconds since the Unix epoch: the same body decodes to the same points whenever that is done.
        Raises `KeyError` for a form that is not known, `BadRequest` for a body that is not of its form at all.
        """
        window = Window.around(received_us, self.max_age_seconds, self.max_ahead_seconds)
        steps = FORMS[form](body, batch, cache=self.cache, precision_ns=precision_ns, window=window)
        is_done, spent = False, 0.0
        while not is_done:
            async with self._turn:
                turn, began = Turn(), time.thread_time()
                while not (is_done := next(steps, END) is END) and not turn.is_over:
                    pass
                spent += time.thread_time() - began
                await asyncio.sleep(0)  # the turn ends when everybody else has had one
            yield spent
