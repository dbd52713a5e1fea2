"""Growth in windows that are kept is that which is computed anew, to the last bit, however points lie before them."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta

import pytest

from tests.integration.query.conftest import Database, ServeBoth
from tests.integration.query.panels import Both, ask, at, window
from tests.integration.query.reference import Point

LOOKBACK_SECONDS = 30
SPAN_SECONDS = 3600


def ragged(chance: random.Random) -> list[Point]:
    """Counters of an hour: some alive throughout, some with gaps longer than the lookback, some that begin or end
    within, some of whose points lack the field."""
    found = []
    for number in range(8):
        every = chance.choice([5, 10, 20, 45, 400])
        first = chance.choice([0, 0, chance.randrange(SPAN_SECONDS)])
        last = chance.choice([SPAN_SECONDS, SPAN_SECONDS, chance.randrange(SPAN_SECONDS)])
        value = 0
        for ago in range(SPAN_SECONDS - first, SPAN_SECONDS - last, -every):
            value = 0 if chance.random() < 0.02 else value + chance.randrange(10)
            fields = {"total": float(value)} if chance.random() < 0.8 else {"other": 1.0}
            if chance.random() < 0.95:
                found.append(Point((("host", f"web-{number}"),), at(timedelta(seconds=ago)), fields))
    return found


async def write_late(both: Both, chance: random.Random) -> None:
    """Points of the past: also where no others were, of hosts that are new, or in place of others."""
    lines = []
    for _ in range(chance.randrange(1, 4)):
        moment = int(datetime.now(UTC).timestamp()) - chance.randrange(SPAN_SECONDS)
        lines.append(f"net,host=web-{chance.randrange(10)} total={chance.randrange(100)} {moment}")
    await both.write(*lines)


@pytest.mark.parametrize("seed", range(4))
async def test_growth_is_the_same(stored: Database, serve_both: ServeBoth, seed: int) -> None:
    """Sliding ranges and fixed ones, forwards and backwards, while points come late."""
    chance = random.Random(seed)
    stored.store("net", [Point((("host", "web-0"),), at(timedelta(hours=2)), {"total": 0.0, "other": 0.0})])
    stored.store("net", ragged(chance))
    both = await serve_both(lookback_seconds=LOOKBACK_SECONDS)
    panels = [
        {
            "metric": ["net.total", "net.other"][: chance.randrange(1, 3)],
            "fn": chance.choice(["increase", "delta,increase", "increase,avg,count", "increase,median"]),
            "by": chance.choice(["", "host"]),
            "step": chance.choice(["30s", "1m", "7m"]),
            "fill": chance.choice(["none", "null", "0"]),
        }
        for _ in range(3)
    ]
    ends = [at(timedelta(0)) - timedelta(seconds=chance.randrange(1800)) for _ in range(2)]
    for _ in range(30):
        if chance.random() < 0.3:
            await write_late(both, chance)
        length = timedelta(minutes=chance.choice([5, 20, 30, 50]))
        asked = {**chance.choice(panels), **window(length, chance.choice([None, *ends]))}
        kept, plain = await ask(both.keeping, **asked), await ask(both.plain, **asked)
        assert kept.status == 200, kept
        assert kept.answer == plain.answer
    assert await both.reused() > 0


def alive(since_seconds: int, until_seconds: int, *hosts: int) -> list[Point]:
    """Counters with a point every ten seconds, of these hosts."""
    return [
        Point((("host", f"web-{host}"),), at(timedelta(seconds=ago)), {"total": 7200.0 - ago})
        for ago in range(since_seconds, until_seconds, -10)
        for host in hosts
    ]


PANEL = {"metric": "net.total", "fn": "rate,increase,delta", "by": "host", "step": "1m"}


async def test_counters_reuse_their_windows(stored: Database, serve_both: ServeBoth) -> None:
    """A dashboard of counters that are alive computes its two ends and no more, whatever it was asked before."""
    stored.store("net", alive(3600, 0, 1, 2))
    both = await serve_both(lookback_seconds=LOOKBACK_SECONDS)
    assert (await both.same(**PANEL, **window(timedelta(minutes=50)))).reuse == "miss"
    for length in (50, 40, 50):
        before = await both.reused()
        assert (await both.same(**PANEL, **window(timedelta(minutes=length)))).reuse == "partial"
        assert await both.reused() - before >= length - 3
    late = int(at(timedelta(minutes=20)).timestamp())
    await both.write(f"net,host=web-1 total=1 {late}")
    changed = await both.reused("changed")
    await both.same(**PANEL, **window(timedelta(minutes=50)))
    assert 1 <= await both.reused("changed") - changed <= 2, "its own window, and the next one if that counts from it"


@pytest.mark.parametrize(("host", "reuse"), [(9, "partial"), (3, "miss")], ids=["new", "back"])
async def test_hosts_that_come(stored: Database, serve_both: ServeBoth, host: int, reuse: str) -> None:
    """A new host in the open window leaves the others as they are; one that is back counts from where it was."""
    stored.store("net", [*alive(3600, 0, 1, 2), *alive(3600, 1800, 3)])
    both = await serve_both(lookback_seconds=LOOKBACK_SECONDS)
    await both.same(**PANEL, **window(timedelta(minutes=50)))
    await both.write(f"net,host=web-{host} total=9999 {int(datetime.now(UTC).timestamp())}")
    later = datetime.now(UTC) + timedelta(seconds=1)
    asked = await both.same(**PANEL, **window(timedelta(minutes=50), later))
    assert asked.reuse == reuse
    (points,) = [one["points"] for one in asked.answer["series"] if one["tags"]["host"] == f"web-{host}"]
    assert (points[-1][2] is None) is (host == 9)
