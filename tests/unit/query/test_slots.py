"""Which parts of an answer can be kept, and by what they are known."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from query import parameters, planner
from query.facts import FieldFact
from query.planner import State
from query.points import PointsRequest
from query.slots import Slots, divide, of_points, runs
from query.window import AggregateRequest

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)
FACTS = [FieldFact(1, "cpu", "user", "user", 7), FieldFact(1, "cpu", "idle", "idle", 8)]


def slots_of(
    origin: tuple[object, ...] = (), lookback: timedelta = HOUR, most_windows: int = 100, **asked: Any
) -> Slots | None:
    """The slots of a request, from 08:00 to 12:00 unless it says otherwise."""
    asked = {"metric": "cpu.user", "start": "2026-11-25T08:00:00Z", "end": "2026-11-25T12:00:00Z", **asked}
    request = parameters.parse(AggregateRequest, asked, NOW)
    plan = planner.plan(request, planner.choose(request.metric, FACTS), State())
    return divide(plan, lookback, origin, most_windows)


def known(**asked: Any) -> Slots:
    """The slots of a request that has some."""
    slots = slots_of(**asked)
    assert slots is not None
    return slots


def test_windows_are_kept_one_by_one() -> None:
    """Each window that has ended is, the open ones are not."""
    slots = known(step="1h", by="host")
    assert [start for start, _ in slots.ranges] == [NOW - n * HOUR for n in (4, 3, 2, 1)]
    assert slots.settled(NOW - HOUR, None) == (0, 1, 2)
    assert slots.settled(NOW - HOUR - MINUTE, None) == (0, 1)
    assert slots.settled(NOW, None) == (0, 1, 2, 3)


def test_windows_that_the_range_cuts_are_kept_with_all_of_it() -> None:
    """A sliding range cuts others each time; one that is over is likely to be asked for again."""
    slots = known(step="1h", start="2026-11-25T07:30:00Z", end="2026-11-25T11:15:00Z")
    assert slots.ranges[0] == (NOW - 4.5 * HOUR, NOW - 4 * HOUR)
    assert slots.ranges[-1] == (NOW - HOUR, NOW - 0.75 * HOUR)
    assert slots.starts == tuple(NOW - n * HOUR for n in (5, 4, 3, 2, 1))
    assert slots.settled(NOW - HOUR, None) == (1, 2, 3)
    assert slots.settled(NOW, None) == (0, 1, 2, 3, 4)
    assert [slots.is_settled(at, None) for at in (NOW - HOUR, NOW)] == [False, True]
    assert not slots.is_settled(NOW, NOW - 2 * HOUR)
    assert slots.count == 5


def test_months_and_days_of_a_time_zone() -> None:
    """Windows of the calendar are as long as it says; the last ends where the next would begin."""
    slots = known(step="1d", tz="Europe/Berlin", start="2026-10-24T22:00:00Z", end="2026-10-26T23:00:00Z")
    assert [end - start for start, end in slots.ranges] == [25 * HOUR, 24 * HOUR]
    assert all(slots.whole)


@pytest.mark.parametrize(
    "asked",
    [{}, {"fn": "rate"}, {"step": "1h", "by": "host", "limit": "3"}, {"by": "host", "order": "asc"}],
    ids=str,
)
def test_some_answers_are_kept_as_a_whole(asked: dict[str, Any]) -> None:
    """One value of the whole range, and what is ordered by the whole range."""
    slots = known(**asked)
    assert slots.ranges == ((NOW - 4 * HOUR, NOW),)
    assert slots.starts is None
    assert slots.settled(NOW - MINUTE, None) == ()
    assert slots.settled(NOW, None) == (0,)


def test_what_counts_from_points_before_is_kept_by_windows() -> None:
    """With the moment from which on points are looked at, for all of the range and for a part of it."""
    slots = known(step="1h", fn="rate,avg")
    assert slots.settled(NOW - HOUR, None) == (0, 1, 2)
    assert slots.since == NOW - 5 * HOUR
    assert [slots.looked_at(start) for start, _ in slots.ranges] == [NOW - n * HOUR for n in (5, 4, 3, 2)]
    assert known(step="1h").since is None
    assert known(step="1h").looked_at(NOW) is None
    assert known(fn="rate").since is None, "it is kept as a whole"


def test_a_rollup_by_name_is_not_kept() -> None:
    """It is read as it stands, and nobody notes how it changes."""
    request = parameters.parse(AggregateRequest, {"metric": "cpu.user", "step": "1h"}, NOW)
    plan = planner.plan(request, planner.choose(request.metric, FACTS), State())
    named = planner.Plan(request.model_copy(update={"resolution": "1h"}), 1, "cpu", plan.fields, plan.pieces)
    assert divide(named, HOUR, (), 100) is None


def test_more_windows_than_are_looked_for() -> None:
    """None of them is kept, unless the answer is kept as a whole."""
    assert slots_of(step="1h", most_windows=4) is not None
    assert slots_of(step="1h", most_windows=3) is None
    assert slots_of(step="1h", by="host", limit="3", most_windows=3) is not None


def test_what_points_are_no_longer_kept_of_is_not_kept() -> None:
    """What is computed there changes when points expire: it must be computed anew, and from rollups alone."""
    assert known(step="1h").settled(NOW, NOW - 2.5 * HOUR) == (2, 3)
    assert known(step="1h").settled(NOW, NOW - 4 * HOUR) == (0, 1, 2, 3)
    assert known(fn="rate").settled(NOW, NOW - 4.5 * HOUR) == (), "the point before may have expired"
    assert known(fn="rate").settled(NOW, NOW - 5 * HOUR) == (0,)
    assert known(fn="rate", step="1h").settled(NOW, NOW - 3.5 * HOUR) == (2, 3)


def test_what_the_rows_depend_on_tells_them_apart() -> None:
    """Every parameter but the range and what is done with the rows afterwards, and where the points are from."""
    asked: list[dict[str, Any]] = [
        {},
        {"metric": "cpu.idle"},
        {"metric": ["cpu.user", "cpu.idle"]},
        {"metric": ["cpu.idle", "cpu.user"]},
        {"fn": "max"},
        {"fn": "max,min"},
        {"by": "host"},
        {"by": "host,region"},
        {"match": "host=a"},
        {"match": "host!=a"},
        {"match": ["host=a", "region=b"]},
        {"step": "1h"},
        {"step": "60m"},
        {"step": "1d"},
        {"step": "1d", "tz": "UTC"},
        {"step": "1d", "tz": "Asia/Tokyo"},
        {"resolution": "raw"},
        {"order": "asc", "by": "host"},
        {"limit": "3", "by": "host"},
        {"fn": "max,min", "order_by": "min(cpu.user)", "by": "host", "limit": "3"},
        {"fn": "rate"},
        {"fn": "rate", "lookback": 2 * HOUR},
        {"fn": "rate", "step": "1h"},
        {"fn": "rate", "step": "1h", "lookback": 2 * HOUR},
        {"origin": ("primary", 1)},
        {"origin": ("replica", 1)},
    ]
    prints = [known(**one).fingerprint for one in asked]
    assert len(set(prints)) == len(asked)
    assert known(start="2026-11-25T09:00:00Z", fill="none").fingerprint == prints[0]
    assert known(step="1h", fill="linear").fingerprint == known(step="1h").fingerprint


def test_a_slot_is_known_by_its_range() -> None:
    """The same window of another range has the same key, and a part of it another."""
    long, short = known(step="1h"), known(step="1h", start="2026-11-25T10:00:00Z")
    cut = known(step="1h", start="2026-11-25T10:30:00Z")
    assert long.key(2) == short.key(0)
    assert len({long.key(place) for place in range(4)}) == 4
    assert cut.key(0) not in {long.key(place) for place in range(4)}


def test_who_may_have_parts_in_common() -> None:
    """Ranges of the same windows; of what is kept as a whole nobody but who asks for the same range."""
    other = {"start": "2026-11-25T09:00:00Z"}
    assert known(step="1h").common == known(step="1h", **other).common
    assert known(step="1h").common != known(step="1h", match="host=a").common
    assert known().common == known().common
    assert known().common != known(**other).common


def test_questions_that_are_alike() -> None:
    """Of as many other hosts, over a range as long: they take about as long to compute. None has what another has."""
    asked: list[dict[str, Any]] = [
        {"match": "host=a"},
        {"match": "host=~a|b"},
        {"match": ["host=a", "os=linux"]},
        {"match": "os=linux"},
        {"match": "host!=a"},
        {"match": "host=a", "fn": "max"},
        {"match": "host=a", "start": "2026-11-25T09:00:00Z"},
    ]
    questions = [known(**one).question.like for one in asked]
    assert len(set(questions)) == len(asked)
    assert known(match="host=b").question.like == questions[0]
    assert known(match="host=b").fingerprint != known(match="host=a").fingerprint
    assert known(match="host=~c|d").question.like == questions[1]
    assert known(match="os=bsd").question.like != questions[3]
    assert known(match="host!=b").question.like != questions[4]
    later = {"start": "2026-11-25T09:00:00Z", "end": "2026-11-25T13:00:00Z"}
    assert known(match="host=c", **later).question.like == questions[0]


def test_points_are_kept_as_a_whole() -> None:
    """Everything that a page of them depends on tells it from others."""

    def of(size: int = 10, origin: tuple[object, ...] = (), fields: list[FieldFact] = FACTS, **asked: Any) -> Slots:
        asked = {"where": "cpu.user>1", "start": "2026-11-25T08:00:00Z", "end": "2026-11-25T12:00:00Z", **asked}
        return of_points(parameters.parse(PointsRequest, asked, NOW), fields, size, origin)

    slots = of()
    assert slots.ranges == ((NOW - 4 * HOUR, NOW),)
    assert (slots.count, slots.starts, slots.since) == (1, None, None)
    assert slots.settled(NOW, None) == (0,)
    assert slots.settled(NOW - MINUTE, None) == ()
    place = "2026-11-25T09:00:00Z"
    others = [
        of(size=9),
        of(limit=10),
        of(origin=("replica",)),
        of(fields=FACTS[:1]),
        of(fields=FACTS[::-1]),
        of(where="cpu.user>=1"),
        of(where="cpu.user>1.5"),
        of(where=["cpu.user>1", "cpu.user<9"]),
        of(by="host,os"),
        of(match="host=a"),
        of(match="host=b"),
        of(order="desc"),
        of(after=f"{place},1"),
        of(after=f"{place},2"),
        of(order="desc", after=f"{place},2"),
    ]
    prints = {one.fingerprint for one in [slots, *others]}
    assert len(prints) == 1 + len(others)
    assert of(where="cpu.user>1.0").fingerprint == slots.fingerprint
    assert of(match="host=a").question.like == of(match="host=b").question.like


def test_missing_slots_are_computed_in_few_runs() -> None:
    """Neighbours go together; where there would be too many runs, what lies between the nearest is computed too."""
    ranges = known(step="1h", start="2026-11-25T00:00:00Z").ranges
    assert runs(ranges, [], 3) == []
    assert runs(ranges, [0, 1, 5, 11], 3) == [(0, 2), (5, 6), (11, 12)]
    assert runs(ranges, [0, 5, 7, 11], 3) == [(0, 1), (5, 8), (11, 12)]
    assert runs(ranges, [0, 5, 7, 11], 1) == [(0, 12)]
    assert runs(ranges, list(range(12)), 1) == [(0, 12)]


def test_runs_of_every_other_window() -> None:
    """Of gaps of one length the earliest are taken in, and no window is asked for twice or forgotten."""
    ranges = known(step="1m", start="2026-11-22T00:00:00Z", most_windows=10_000).ranges
    places = list(range(0, len(ranges), 2))
    found = runs(ranges, places, 8)
    assert found == [(0, places[-8] + 1), *((place, place + 1) for place in places[-7:])]
