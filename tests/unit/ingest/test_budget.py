"""The bound on what requests hold."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest

from ingest.budget import Budget
from service.errors import TooLarge, Unavailable


def test_a_share_is_given_back() -> None:
    """What a request held is free again when it ends, well or badly."""
    budget = Budget(100)
    with budget.hold() as hold:
        hold.add(60)
        hold.add(40)
        assert budget.used_bytes == 100
    with budget.hold() as hold, suppress(TooLarge):
        hold.add(50)
        hold.add(51)
    assert budget.used_bytes == 0


def test_past_the_bound_is_later() -> None:
    """With others holding the rest, a request is told to come again, and what it could not have is not charged."""
    budget = Budget(100)
    with budget.hold() as first, budget.hold() as second:
        first.add(60)
        with pytest.raises(Unavailable, match=r"100 bytes are the bound \(INGEST_MAX_PENDING_BYTES") as caught:
            second.add(41)
        assert caught.value.headers == {"Retry-After": "1"}
        assert budget.used_bytes == 60
        second.add(40)


def test_what_can_never_fit_is_too_large() -> None:
    """A request that needs more than everything is not told to come again."""
    budget = Budget(100)
    with budget.hold() as hold:
        hold.add(60)
        with pytest.raises(TooLarge, match="send it in smaller requests"):
            hold.add(41)


async def test_what_is_patient_waits_for_room_and_keeps_it() -> None:
    """What was acknowledged waits for the answers of others, who cannot take its place meanwhile."""
    budget = Budget(100)
    with budget.hold() as request, budget.patient_hold() as spooled:
        request.add(60)
        waiting = asyncio.create_task(spooled.wait_for(70))
        await asyncio.sleep(0)
        with budget.hold() as another, pytest.raises(Unavailable):
            another.add(1)
        assert not waiting.done()
        request.__exit__(None, None, None)
        await asyncio.wait_for(waiting, 60)
        assert budget.used_bytes == 70
        request.add(30)
    assert budget.used_bytes == 0


async def test_what_is_patient_may_need_more_than_everything() -> None:
    """An entry that is larger than the bound is drained all the same, alone."""
    budget = Budget(100)
    with budget.hold() as request, budget.patient_hold() as entry, budget.patient_hold() as points:
        await entry.wait_for(90)
        request.add(10)
        waiting = asyncio.create_task(points.wait_for(90))
        await asyncio.sleep(0)
        assert not waiting.done()
        request.__exit__(None, None, None)
        await asyncio.wait_for(waiting, 60)
    assert budget.used_bytes == 0
