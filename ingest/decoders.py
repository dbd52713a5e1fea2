"""Bodies into points, by the name of their form: on their way in, and again on their way out of the spool."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from ingest.points import Batch
from ingest.protocols import jsonpoints, line
from ingest.series import SeriesCache
from ingest.timestamps import Window

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

    def decode(self, form: str, body: bytes, batch: Batch, precision_ns: int, received_us: int) -> Iterator[None]:
        """Add the points of `body` to `batch`, in steps of some milliseconds: the caller iterates.

        `precision_ns` is the unit of its times in nanoseconds, `received_us` when it came, in microseconds since the
        Unix epoch: the same body decodes to the same points whenever that is done. Raises `KeyError` for a form that
        is not known, `BadRequest` for a body that is not of its form at all.
        """
        window = Window.around(received_us, self.max_age_seconds, self.max_ahead_seconds)
        return FORMS[form](body, batch, cache=self.cache, precision_ns=precision_ns, window=window)
