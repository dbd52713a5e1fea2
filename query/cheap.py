"""Which questions take less to compute than what is kept of them takes to be found. Pure.

To look for many windows takes longer than to compute cheap ones: nothing is kept of those, nor looked for. What a
question takes is taken to be what one that is like it took last: of as many hosts, of a range as long.
"""

from __future__ import annotations

from datetime import timedelta

MOST = 10_000
"""Questions that are remembered; all are forgotten when there would be more."""
WINDOWS_A_LOOK = 50
"""To look for so many takes as long again as to ask what was changed of them."""

Question = tuple[bytes, timedelta]
"""Its likeness, and the length of its range."""


class Cheap:
    """The questions that were cheap last."""

    def __init__(self, min_seconds: float) -> None:
        self._min_seconds = min_seconds
        self._questions: set[Question] = set()

    def __contains__(self, question: Question) -> bool:
        return question in self._questions

    def is_dear(self, windows: int, seconds: float) -> bool:
        """Whether so many windows, which took so long, are found again in less."""
        return seconds >= self._min_seconds * (1 + windows / WINDOWS_A_LOOK)

    def remember(self, question: Question) -> None:
        """It was cheap."""
        if len(self._questions) >= MOST:
            self._questions.clear()
        self._questions.add(question)

    def forget(self, question: Question) -> None:
        """It was dear."""
        self._questions.discard(question)
