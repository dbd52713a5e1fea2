"""The bound on what requests hold in memory, from their first byte to their answer."""

from __future__ import annotations

from types import TracebackType

from service.errors import TooLarge, Unavailable

SETTING = "INGEST_MAX_PENDING_BYTES"


class Budget:
    """`max_bytes` shared by all requests. Not for threads: it is counted on the event loop."""

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.used_bytes = 0

    def hold(self) -> Hold:
        """A share for one request, given back when its `with` block ends."""
        return Hold(self)


class Hold:
    """What one request holds."""

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
        self._budget.used_bytes += count
        self._bytes += count

    def __enter__(self) -> Hold:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._budget.used_bytes -= self._bytes
        self._bytes = 0
