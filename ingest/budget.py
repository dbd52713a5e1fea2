"""The bound on what requests hold in memory: from their first byte to their answer, or while they are drained."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Self

from service.errors import TooLarge, Unavailable

SETTING = "INGEST_MAX_PENDING_BYTES"


class Budget:
    """`max_bytes` shared by all requests. Not for threads: it is counted on the event loop."""

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.used_bytes = 0
        self._patient_bytes = 0
        """Those of `PatientHold`s, which `used_bytes` has too."""
        self._given_back = asyncio.Event()

    def hold(self) -> Hold:
        """A share for one request, given back when its `with` block ends."""
        return Hold(self)

    def patient_hold(self) -> PatientHold:
        """The same for what was acknowledged already."""
        return PatientHold(self)

    def take(self, count: int, *, is_patient: bool = False) -> None:
        """Count bytes as used, or with a negative `count` as given back."""
        self.used_bytes += count
        self._patient_bytes += count if is_patient else 0
        if count < 0:
            self._given_back.set()

    async def room(self) -> None:
        """Wait until the bound is kept, or all that is held is patient's."""
        while self._patient_bytes < self.used_bytes > self.max_bytes:
            self._given_back.clear()
            await self._given_back.wait()


class Hold:
    """What one request holds."""

    is_patient = False

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._bytes = 0

    def add(self, count: int) -> None:
        """Take `count` bytes more.

        Raises `Unavailable` when the budget has not that much left now, and `TooLarge` when it never has.
        """
        bound = self._budget.max_bytes
        if self._bytes + count > bound:
            raise TooLarge(
                f"the request needs more than {bound} bytes of memory ({SETTING}); send it in smaller requests",
                limit=SETTING,
            )
        if self._budget.used_bytes + count > bound:
            raise Unavailable(
                f"too much is waiting for the database: {bound} bytes are the bound ({SETTING}); send it again later",
                limit=SETTING,
            )
        self._take(count)

    def _take(self, count: int) -> None:
        self._budget.take(count, is_patient=self.is_patient)
        self._bytes += count

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._take(-self._bytes)


class PatientHold(Hold):
    """What is held for requests that were acknowledged already: they are not refused, but wait until there is room.

    Of these there is one at a time, so what it needs beyond the bound it gets when no other request holds anything.
    """

    is_patient = True

    async def wait_for(self, count: int) -> None:
        """Take `count` bytes more, at once, so that nobody else does; return when there is room for them."""
        self._take(count)
        await self._budget.room()
