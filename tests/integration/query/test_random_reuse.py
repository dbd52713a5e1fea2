"""Random panels over points that go on changing: what is kept never shows."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.integration.query.panels import HOSTS, Both, window

FUNCTIONS = ("avg", "min", "max", "sum", "count", "first", "last", "stddev", "median", "p90")
GROWTH = ("rate", "increase", "delta")
STEPS = ("10s", "1m", "7m", "1h", "1d", None)


def panel(chance: random.Random) -> dict[str, Any]:
    """A request without its range."""
    asked: dict[str, Any] = {
        "metric": chance.choice(["cpu.usage", "cpu.idle"]),
        "fn": ",".join(chance.sample((*FUNCTIONS, *GROWTH), chance.randrange(1, 4))),
        "by": chance.choice(["", "host", "host,rack"]),
    }
    if (step := chance.choice(STEPS)) is not None:
        asked["step"] = step
        asked["fill"] = chance.choice(["none", "null", "previous", "0"])
    if chance.random() < 0.3:
        asked["match"] = chance.choice(["host=web-1", "host=~web-[123]", "host!=web-2"])
    if asked["by"] and chance.random() < 0.3:
        asked |= {"order": chance.choice(["asc", "desc"]), "limit": chance.randrange(1, 6)}
    return asked


@pytest.mark.parametrize("seed", range(4))
async def test_what_is_kept_never_shows(both: Both, seed: int) -> None:
    """Panels asked for again and again, with sliding and with fixed ranges, while points come late, are corrected and
    added: each answer is the one that is computed without anything that was kept."""
    chance = random.Random(seed)
    panels = [panel(chance) for _ in range(4)]
    fixed = [
        window(
            timedelta(minutes=chance.randrange(5, 90)), datetime.now(UTC) - timedelta(seconds=chance.randrange(7200))
        )
        for _ in range(3)
    ]
    for _ in range(40):
        if chance.random() < 0.4:
            moments = [int(datetime.now(UTC).timestamp()) - chance.randrange(0, 10_000) for _ in range(3)]
            hosts = [*HOSTS, f"new-{chance.randrange(3)}"]
            await both.write(
                *(f"cpu,host={chance.choice(hosts)} usage={chance.random()},idle=1 {moment}" for moment in moments)
            )
        sliding = window(timedelta(minutes=chance.choice([5, 60, 150])))
        await both.same(**chance.choice(panels), **chance.choice([sliding, *fixed]))
    assert await both.reused() > 0
