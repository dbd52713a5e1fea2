"""Which questions take less to compute than what is kept of them takes to be found. Pure.

To look for many windows takes longer than to compute cheap ones: nothing is kept of those, nor looked for. What a
question takes is taken to be what one that is like it took last: of as many hosts, of a range as long. Hosts may be of
very different size, though: a question that turns out to be dear is remembered by itself.
"""

from __future__ import annotations

from datetime import timedelta
from typing import NamedTuple

MOST = 10_000
"""Questions of either kind that are remembered; all of it are forgotten when there would be more."""
WINDOWS_A_LOOK = 50
"""To look for so many takes as long again as to ask what was changed of them."""

Known = tuple[bytes, timedelta]
"""What is asked, and the length of the range."""


class Question(NamedTuple):
    """By what a question is known."""

    like: Known
    """With all that are like it."""
    itself: Known


class Cheap:
    """The questions that were cheap last."""

    def __init__(self, min_seconds: float) -> None:
        self._min_seconds = min_seconds
        self._cheap: set[Known] = set()
        """With all that are like them."""
        self._dear: set[Known] = set()
        """By themselves, though their like were cheap."""

    def __contains__(self, question: Question) -> bool:
        return question.like in self._cheap and question.itself not in self._dear

    def is_dear(self, windows: int, seconds: float) -> bool:
        """Whether so many windows, which took so long, are found again in less."""
        return seconds >= self._min_seconds * (1 + windows / WINDOWS_A_LOOK)

    def remember(self, question: Question) -> None:
        """It was cheap."""
        self._dear.discard(question.itself)
        _add(question.like, self._cheap)

    def forget(self, question: Question) -> None:
        """It was dear; what is like it may have become so as well."""
        self._cheap.discard(question.like)
        _add(question.itself, self._dear)


def _add(one: Known, known: set[Known]) -> None:
    if len(known) >= MOST:
        known.clear()
    known.add(one)
