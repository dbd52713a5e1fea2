"""Bodies that are decoded at the same time share the event loop, with each other and with everything else."""

from __future__ import annotations

import asyncio
from itertools import pairwise

import pytest

from ingest.decoders import Decoders
from ingest.points import Batch
from ingest.series import SeriesCache
from tests.unit.ingest.conftest import NOW_US, ROOMY

NEW = b"".join(b"m,host=h%d x=1\n" % n for n in range(3000))
KNOWN = b"m x=1\n" * 100_000
ODD = b"m,host=a\\ b x=1u\n" * 3000
BAD = b"no line\n" * 3000
JSON = b"[%b]" % b",".join([b'{"x": 1}'] * 3000)
SHAPES = b"".join(b"m f%d=1\n" % n for n in range(20_000))
LARGE = b"[%b]" % b",".join([b'{"x": 1, "y": "%b"}' % (b"z" * 200_000)] * 10)


@pytest.fixture
def decoders(monkeypatch: pytest.MonkeyPatch) -> Decoders:
    """With nothing known yet, and turns of a step each, however fast this machine is."""
    monkeypatch.setattr("ingest.turns.TURN_SECONDS", 0)
    return Decoders(SeriesCache(ROOMY, 100_000_000), 10**9, 10**6)


async def test_one_has_its_turn_at_a_time(decoders: Decoders) -> None:
    """Several bodies are decoded in turn, and the event loop gets round to others between any two turns."""
    events: list[str] = []

    async def decode(name: str, form: str, body: bytes) -> None:
        steps = decoders.decode(form, body, Batch(ROOMY), 1, NOW_US)
        while await anext(steps, "end") != "end":
            events.append(name)
        events.append("end")

    async def others() -> None:
        while events.count("end") < 3:
            events.append("others")
            await asyncio.sleep(0)

    await asyncio.gather(decode("a", "influx", NEW), decode("b", "json", JSON), decode("c", "influx", ODD), others())
    assert not any(a != "others" and b != "others" for a, b in pairwise(events) if "end" not in (a, b))
    steps = [event for event in events[: events.index("end")] if event != "others"]
    assert len(steps) >= 9
    assert all(len(set(some)) == 3 for some in zip(steps, steps[1:], steps[2:], strict=False))


@pytest.mark.parametrize(
    ("form", "body"),
    [
        ("influx", NEW),
        ("influx", KNOWN),
        ("influx", ODD),
        ("influx", BAD),
        ("influx", SHAPES),
        ("json", JSON),
        ("json", LARGE),
    ],
    ids=["new", "known", "odd", "bad", "shapes", "json", "large"],
)
async def test_a_long_body_takes_many_turns(decoders: Decoders, form: str, body: bytes) -> None:
    """Whatever is in a body, no step of its decoding is long."""
    steps = [None async for _ in decoders.decode(form, body, Batch(ROOMY), 1, NOW_US)]
    assert len(steps) >= 5


async def test_a_caller_that_gives_up_holds_nobody_up(decoders: Decoders) -> None:
    """A body that is too much in the middle leaves the others their turns."""
    steps = decoders.decode("influx", KNOWN, Batch(ROOMY), 1, NOW_US)
    await anext(steps)
    batch = Batch(ROOMY)
    async for _ in decoders.decode("influx", NEW, batch, 1, NOW_US):
        pass
    assert batch.accepted_count == 3000
