"""Turns on the event loop, for work that would hold it for long."""

from __future__ import annotations

import asyncio
import time

TURN_SECONDS = 0.005
"""How long one is at work until everybody else has had a turn; a step that has begun is finished."""


class Turn:
    """One's own, from now on; the next one begins when everybody else has had one."""

    def __init__(self) -> None:
        self._ends_at = time.monotonic() + TURN_SECONDS

    @property
    def is_over(self) -> bool:
        """Whether it has lasted long enough."""
        return time.monotonic() >= self._ends_at

    async def pause(self) -> None:
        """Between two steps: let everybody else have a turn, if this one is over."""
        if self.is_over:
            await asyncio.sleep(0)
            self._ends_at = time.monotonic() + TURN_SECONDS
