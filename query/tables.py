"""An answer as a table: what every format is made from, row by row. Pure.

A table is read in batches and written as it is read, so that no answer has to be in memory as a whole. JSON is not
flat as the other formats are: how its document is built around the rows is the table's own.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from operator import itemgetter
from typing import Any, Literal, Protocol

import orjson

Kind = Literal["text", "time", "number", "integer", "object"]
"""What a column holds, or null: text, a moment in UTC, a double, an integer, a JSON object."""
Row = tuple[Any, ...]

BATCH_ROWS = 1000
"""Rows of a batch: a few milliseconds of work, a few megabytes of the widest."""


class Short:
    """At most a batch of rows, which are all there: what each step takes of them it can take at once."""

    def __init__(self, rows: list[Row]) -> None:
        self.rows = rows

    def __aiter__(self) -> Short:
        return self

    async def __anext__(self) -> list[Row]:
        if not self.rows:
            raise StopAsyncIteration
        rows, self.rows = self.rows, []
        return rows

    async def aclose(self) -> None:
        """Nothing is under way."""


Batches = AsyncGenerator[list[Row], None] | Short
"""Rows by the batch, to be closed by whoever stops before their end."""


def mapped(batches: Batches, of: Callable[[list[Row]], list[Row]]) -> Batches:
    """Each batch as what becomes of it: of what is short now, of others when they are read.

    Who closes them closes what they are made of. They raise what `of` does, of what is short at once.
    """
    return Short(of(batches.rows)) if isinstance(batches, Short) else _one_by_one(batches, of)


async def _one_by_one(batches: Batches, of: Callable[[list[Row]], list[Row]]) -> Batches:
    async with aclosing(batches):
        async for batch in batches:
            yield of(batch)


OPTIONS = orjson.OPT_UTC_Z


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table."""

    name: str
    kind: Kind


def texts(*names: str) -> tuple[Column, ...]:
    """Columns of text."""
    return tuple(Column(name, "text") for name in names)


def distinct(names: Iterable[str]) -> list[str]:
    """The names, each with as many underscores more as it takes to be no other's."""
    taken: dict[str, None] = {}
    for name in names:
        while name in taken:
            name += "_"
        taken[name] = None
    return list(taken)


def as_json(value: Any) -> str:
    """An object as text, for formats that have none."""
    return orjson.dumps(value, option=OPTIONS).decode()


def tags_of(width: int) -> Callable[[Row], Any]:
    """What tells the tags of a row, so many of which stand at its beginning, from those of others."""
    return itemgetter(*range(width)) if width else lambda _: None


def digest_of(*told: bytes) -> str:
    """What tells an answer of which this is told from others."""
    digest = hashlib.blake2b(digest_size=16)
    for one in told:
        digest.update(one)
    return digest.hexdigest()


class Encoder(Protocol):
    """What makes bytes of a table, piece by piece: its JSON document, or another format."""

    def begin(self) -> bytes:
        """What stands before the rows."""

    def rows(self, batch: Sequence[Row]) -> bytes:
        """The next rows."""

    def end(self) -> bytes:
        """What stands after the rows."""


@dataclass(frozen=True, slots=True)
class Table:
    """An answer: its columns, its rows in batches (to be closed by whoever reads them), and its JSON document."""

    columns: Callable[[], Sequence[Column]]
    """Those of the flat formats."""
    batches: Batches
    document: Encoder
    tag: str | None = None
    """What tells the answer from others, where it is not likely to change."""
    reuse: str | None = None
    """What of it was there already: `reuse.Outcome`; None where nothing ever is."""
    items: bytes | None = None
    """The list that is in its JSON document, where that is there already; the batches have the same rows."""
    warnings: Sequence[str] = ()
    """What it cannot hold, in ASCII."""


class ListDocument:
    """A JSON object whose member `name` is a list with an item for each row: `{**head, name: [...], **tail}`.

    A row itself is its item, as a list, where nothing makes another of it.
    """

    def __init__(
        self,
        name: str,
        item: Callable[[Row], Any] | None,
        head: Mapping[str, Any] | None = None,
        tail: Callable[[], Mapping[str, Any]] = dict,
    ) -> None:
        self._name = name
        self._item = item
        self._head = head or {}
        self._tail = tail
        self._comma = b""

    def begin(self) -> bytes:
        """The head, and the list's beginning."""
        return orjson.dumps({**self._head, self._name: []}, option=OPTIONS).removesuffix(b"]}")

    def rows(self, batch: Sequence[Row]) -> bytes:
        """The items of these rows, and a comma before them unless they are the first."""
        if not batch:
            return b""
        comma, self._comma = self._comma, b","
        items = batch if self._item is None else [self._item(row) for row in batch]
        return comma + orjson.dumps(items, option=OPTIONS)[1:-1]

    def end(self) -> bytes:
        """The list's end, and the tail, which is asked for when all rows are known."""
        tail = orjson.dumps(dict(self._tail()), option=OPTIONS).removeprefix(b"{")
        return b"]" + (b"," if len(tail) > 1 else b"") + tail + b"\n"
