"""The bound on what requests hold in memory, from their first byte to their answer."""

from __future__ import annotations

from types import TracebackType

from service.errors import Unavailable


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
        """Take `count` bytes more. Raises `Unavailable` when the budget has not that much left."""
        if self._budget.used_bytes + count > self._budget.max_bytes:
            raise Unavailable(
                f"too much is waiting for the database: {self._budget.max_bytes} bytes are the bound "
                "(INGEST_MAX_PENDING_BYTES); send it again later",
                limit="INGEST_MAX_PENDING_BYTES",
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
