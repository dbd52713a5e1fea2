"""The formats of answers: each makes bytes of a table, piece by piece. Pure.

json    application/json                      the document of the answer's own shape
csv     text/csv                              RFC 4180: a header, CRLF, times in RFC 3339; null is empty
ndjson  application/x-ndjson                  a JSON object for each row
arrow   application/vnd.apache.arrow.stream   Arrow's IPC stream; needs pyarrow
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import orjson

from query.negotiation import by_quality
from query.tables import OPTIONS, Column, Encoder, Row, Table, as_json
from query.times import shortened, written
from service.errors import NotAcceptable


@dataclass(frozen=True, slots=True)
class Format:
    """One format of answers."""

    name: str
    content_type: str
    aliases: tuple[str, ...]
    """What `Accept` may call it, its content type first."""
    encoder: Callable[[Table], Encoder]
    needs: str | None = None
    """The package without which it cannot be made."""


class Csv:
    """A header, then a line for each row."""

    def __init__(self, columns: Sequence[Column]) -> None:
        self._columns = columns
        self._cells = [CELLS.get(column.kind) for column in columns]

    def begin(self) -> bytes:
        """The header."""
        return _lines([[column.name for column in self._columns]])

    def rows(self, batch: Sequence[Row]) -> bytes:
        """A line for each row."""
        columns: list[Sequence[Any]] = list(zip(*batch, strict=True))
        for place, cell in enumerate(self._cells):
            if cell is not None and columns:
                columns[place] = [None if value is None else cell(value) for value in columns[place]]
        return _lines(zip(*columns, strict=True))

    def end(self) -> bytes:
        """Nothing."""
        return b""


class Ndjson:
    """A JSON object for each row, whose members are the columns."""

    def __init__(self, columns: Sequence[Column]) -> None:
        self._names = [column.name for column in columns]

    def begin(self) -> bytes:
        """Nothing."""
        return b""

    def rows(self, batch: Sequence[Row]) -> bytes:
        """A line for each row."""
        names = self._names
        options = OPTIONS | orjson.OPT_APPEND_NEWLINE
        return b"".join([orjson.dumps(dict(zip(names, row, strict=True)), option=options) for row in batch])

    def end(self) -> bytes:
        """Nothing."""
        return b""


def _lines(rows: Any) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text).writerows(rows)
    return text.getvalue().encode()


def _number(value: float) -> object:
    """As PostgreSQL writes those that are none."""
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


CELLS: dict[str, Callable[[Any], object]] = {"time": written, "number": _number, "object": as_json}
"""What a value that is not null is in CSV, where that is not what the csv module makes of it."""


def _arrow(table: Table) -> Encoder:
    from query.arrow import Arrow  # which needs pyarrow

    return Arrow(table.columns())


FORMATS = {
    one.name: one
    for one in (
        Format("json", "application/json", ("application/json",), lambda table: table.document),
        Format("csv", "text/csv; charset=utf-8; header=present", ("text/csv",), lambda table: Csv(table.columns())),
        Format(
            "ndjson",
            "application/x-ndjson",
            ("application/x-ndjson", "application/ndjson", "application/jsonl"),
            lambda table: Ndjson(table.columns()),
        ),
        Format(
            "arrow",
            "application/vnd.apache.arrow.stream",
            ("application/vnd.apache.arrow.stream",),
            _arrow,
            needs="pyarrow",
        ),
    )
}
KINDS = {alias: one.name for one in FORMATS.values() for alias in one.aliases}
"""The formats, by what `Accept` may call them."""
TYPES = tuple(KINDS)
ALLOWED = ", ".join(f"{one.name} ({one.aliases[0]})" for one in FORMATS.values())


def choose(name: object, accept: str | None) -> Format:
    """The format that a request names, or else the one that it likes best; JSON when it does not say.

    Raises `NotAcceptable` for one that is not made here.
    """
    liked = [name] if isinstance(name, str) and name in FORMATS else []
    if name is None:
        liked = [KINDS[alias] for alias in by_quality(accept or "*/*", TYPES)]
    if not liked:
        asked = f"format: {shortened(str(name))!r}" if name is not None else f"Accept: {shortened(str(accept))!r}"
        raise NotAcceptable(f"{asked} is not made here; allowed: {ALLOWED}")
    found = next((FORMATS[one] for one in liked if _is_there(FORMATS[one])), FORMATS[liked[0]])
    if not _is_there(found):
        raise NotAcceptable(
            f"format: {found.name} needs the package {found.needs}, which this server has not: "
            f"pip install {found.needs} there; allowed: {', '.join(one for one in FORMATS if _is_there(FORMATS[one]))}"
        )
    return found


def _is_there(one: Format) -> bool:
    return one.needs is None or find_spec(one.needs) is not None
