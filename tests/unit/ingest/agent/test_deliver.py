from __future__ import annotations

import pytest

from ingest.agent.deliver import pause_seconds


@pytest.mark.parametrize(("failures", "low", "high"), [(1, 0.5, 1.0), (2, 1.0, 2.0), (4, 4.0, 8.0)])
def test_the_pause_doubles_with_each_failure(failures: int, low: float, high: float) -> None:
    """It is random within half of itself: the agents of a fleet do not come back at the same moment."""
    pauses = {pause_seconds(failures, 0, 1000) for _ in range(100)}
    assert low <= min(pauses) < max(pauses) <= high


def test_the_pause_is_bounded() -> None:
    """However long the outage, and whatever the server asks for, the setting's bound holds."""
    assert pause_seconds(1_000_000, 0, 30) == 30
    assert pause_seconds(1, 86_400, 30) == 30


def test_retry_after_is_the_least() -> None:
    """The agent never comes back before the time the server named."""
    assert all(20 <= pause_seconds(1, 20, 1000) <= 30 for _ in range(100))
