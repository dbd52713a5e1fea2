"""The agent's own counters, sent with each reading as the measurement `internal_agent`.

The names are those of Telegraf's input `internal`. Every point has one fate, so at any moment
gathered = written + rejected + dropped + those still held.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

from ingest.agent.points import Point


@dataclass(slots=True)
class Instruments:
    """Counts since the agent started."""

    metrics_gathered: int = 0
    """Points read from this host."""
    metrics_written: int = 0
    """Points that ingest has taken."""
    metrics_rejected: int = 0
    """Points of the readings that ingest refused."""
    metrics_dropped: int = 0
    """Points dropped past the bound on what is kept."""
    gather_errors: int = 0
    """Inputs, or parts of one, that could not be read."""
    gather_timeouts: int = 0
    """Inputs that did not answer in time."""
    write_errors: int = 0
    """Requests that failed and are tried again."""

    def point(self) -> Point:
        """The counts as they are now."""
        return Point("internal_agent", asdict(self))
