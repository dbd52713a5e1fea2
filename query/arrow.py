"""Answers as Arrow's IPC stream: a schema, then a record batch for each batch of rows. Needs pyarrow.

The format: https://arrow.apache.org/docs/format/Columnar.html#ipc-streaming-format
"""

from __future__ import annotations

import io
from collections.abc import Sequence

import pyarrow as pa

from query.tables import Column, Row, as_json

TYPES = {
    "text": pa.string(),
    "time": pa.timestamp("us", "UTC"),
    "number": pa.float64(),
    "integer": pa.int64(),
    "object": pa.string(),
}
"""Objects are JSON, as text."""


class Arrow:
    """What pyarrow writes, taken from it after each batch."""

    def __init__(self, columns: Sequence[Column]) -> None:
        self._kinds = [column.kind for column in columns]
        self._schema = pa.schema([pa.field(column.name, TYPES[column.kind]) for column in columns])
        self._written = io.BytesIO()
        self._stream = pa.ipc.new_stream(self._written, self._schema)

    def begin(self) -> bytes:
        """The schema."""
        return self._taken()

    def rows(self, batch: Sequence[Row]) -> bytes:
        """A record batch; none for no rows."""
        if batch:
            arrays = [
                pa.array(map(as_json, values) if kind == "object" else values, TYPES[kind])
                for kind, values in zip(self._kinds, zip(*batch, strict=True), strict=True)
            ]
            self._stream.write_batch(pa.record_batch(arrays, schema=self._schema))
        return self._taken()

    def end(self) -> bytes:
        """The mark of the stream's end."""
        self._stream.close()
        return self._taken()

    def _taken(self) -> bytes:
        taken = self._written.getvalue()
        self._written.seek(0)
        self._written.truncate()
        return taken
