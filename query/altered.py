"""Columns that somebody has changed by hand, and what of them a list over many measurements cannot hold. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple

MOST_WARNINGS = 5
"""Columns that are told one by one: they stand in a header, and names may be long."""


class Altered(NamedTuple):
    """A column of another type than ingest makes it."""

    measurement_id: int
    table: str
    """As SQL writes it."""
    column: str
    type: str
    made: str
    """The type with which ingest makes it."""
    is_key: bool
    """Whether nothing of its table can be read without it: it is the time, or the series."""
    is_readable: bool
    """Whether it is read all the same, as other numbers are."""

    def __str__(self) -> str:
        return f"{self.table} has {self.column} as {self.type}, not {self.made}"


def in_the_way(altered: Iterable[Altered], read: Collection[tuple[int, str]]) -> list[Altered]:
    """Those that keep a statement from being answered which reads these columns, by measurement, and all keys."""
    return [one for one in altered if not one.is_readable and (one.is_key or (one.measurement_id, one.column) in read)]


def warnings(altered: Sequence[Altered]) -> tuple[str, ...]:
    """What an answer lacks by them; in ASCII, since it stands in a header too."""
    told = [f"{one}: {'its points are' if one.is_key else 'what is no number is'} left out" for one in altered]
    more = len(told) - MOST_WARNINGS
    several = [*told[:MOST_WARNINGS], *([f"so it is with {more} more columns"] if more > 0 else [])]
    return tuple(one.encode("unicode_escape").decode() for one in several)
