"""Where a list's answer begins and ends, and what is told of that and of a search. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import Any

from query.limits import Limited, too_large_a_page
from query.tables import Row

WITHOUT_SIMILARITY = (
    "no name has the text, and names that are like it are not looked for: the database lacks the extension pg_trgm"
)


class Page:
    """The first `size` rows of a sorted list, and the key of the last of them if more follow.

    Rows with the same key are not parted: two fields may be one metric. A list that is not to be read in pages is
    refused in place of ending early.
    """

    def __init__(self, size: int, refusal: Limited | None = None, *, key: Callable[[Row], Any] = itemgetter(0)) -> None:
        self.size = size
        self._key = key
        self._refusal = refusal
        self._count = 0
        self._last: Any = None
        self._next: Any = None

    def take(self, batch: list[Row]) -> list[Row]:
        """Those of the next rows that are in the page; the key of a row is its first column unless said otherwise."""
        surely = min(self.size - self._count, len(batch))
        if surely > 0:
            self._count += surely
            self._last = self._key(batch[surely - 1])
        for place in range(max(surely, 0), len(batch)):
            key = self._key(batch[place])
            if key != self._last:
                if self._refusal is not None:
                    raise self._refusal
                self._next = self._last
                return batch[:place]
            self._count += 1
        return batch

    def told(self) -> dict[str, Any]:
        """`next` is what `after` is for the next page; null when there is none.

        Past a page that ends with rows of the same key nobody has looked: the next one may be empty.
        """
        is_overfull = self._next is None and self._refusal is None and self._count > self.size
        return {"next": self._last if is_overfull else self._next}


def page_of(limit: int | None, most: int, refusal: Limited, *, key: Callable[[Row], Any] = itemgetter(0)) -> Page:
    """Where an answer ends: with the page that is asked for, or past `most` entries in a refusal.

    Raises `Limited` for a page of more than that.
    """
    if limit is None:
        return Page(most, refusal, key=key)
    if limit > most:
        raise too_large_a_page(refusal, limit, most)
    return Page(limit, key=key)


class Search:
    """How the rows of a search were found, which each of them says in one more column."""

    def __init__(self, can_compare: bool) -> None:
        self._can_compare = can_compare
        self._matched: str | None = None

    def take(self, batch: Sequence[Row]) -> list[Row]:
        """The rows without that column."""
        if batch:
            self._matched = "part" if batch[0][-1] else "likeness"
        return [row[:-1] for row in batch]

    def told(self) -> dict[str, Any]:
        """`matched` is `part` when the names have the text, `likeness` when they are like it, null without any."""
        warned = self._matched is None and not self._can_compare
        return {"matched": self._matched, **({"warnings": [WITHOUT_SIMILARITY]} if warned else {})}
