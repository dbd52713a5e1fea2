"""Whether a replica may be read, told from what both servers say, and when."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from query.position import Position
from query.standing import ServerState, Standing

PRIMARY = ServerState(
    *(100.0, 1, 2, False),
    timeline=3,
    lsn=1000,
    received=None,
    epoch="e",
    xmin=7,
    next_xid=7,
    clock=datetime(2026, 11, 25, tzinfo=UTC),
)
REPLICA = replace(PRIMARY, is_replica=True, received=1000)


def standing(*said: ServerState) -> Standing:
    """What is known after the servers have said this, in this order; a lag of five seconds is allowed."""
    known = Standing(max_lag_seconds=5)
    for state in said:
        (known.replica_said if state.is_replica else known.primary_said)(state)
    return known


def test_a_replica_that_has_everything_is_read() -> None:
    """It is as old as the last question to the primary whose answer it has reached."""
    known = standing(PRIMARY, REPLICA)
    assert known.fault(101.0) is None
    assert known.behind(101.0) == 1.0


def test_an_idle_primary_does_not_look_like_lag() -> None:
    """However long ago the last commit was, a replica that has it is up to date whenever the primary is asked."""
    known = standing(PRIMARY, REPLICA)
    for hour in range(1, 10):
        known.primary_said(replace(PRIMARY, asked_at=100.0 + 3600 * hour))
        assert known.behind(100.5 + 3600 * hour) == 0.5
        assert known.fault(100.5 + 3600 * hour) is None


def test_an_idle_primary_before_an_empty_page_does_not_look_like_lag() -> None:
    """It will write next behind that page's header, which its replica cannot have replayed."""
    known = standing(replace(PRIMARY, lsn=8192 + 24), replace(REPLICA, lsn=8192))
    assert known.fault(101.0) is None
    assert known.has_reached(Position(3, 8192 + 24))


def test_a_replica_that_stands_still_falls_behind() -> None:
    """It is as old as what it has, and is read again when it has caught up."""
    known = standing(PRIMARY, REPLICA)
    for second in range(1, 11):
        known.primary_said(replace(PRIMARY, asked_at=100.0 + second, lsn=1000 + second))
    assert known.behind(110.0) == 10.0
    assert known.fault(110.0) == "lagging"
    known.replica_said(replace(REPLICA, asked_at=110.0, lsn=1007))
    assert known.behind(110.0) == 3.0
    assert known.fault(110.0) is None
    known.replica_said(replace(REPLICA, asked_at=110.5, lsn=1010))
    assert known.behind(110.5) == 0.5


def test_a_replica_grows_old_while_its_primary_is_away() -> None:
    """It may be read for as long as it may be behind, and no longer: nobody knows what was committed since."""
    known = standing(PRIMARY, REPLICA, replace(REPLICA, asked_at=104.0))
    assert known.fault(104.9) is None
    assert known.fault(105.1) == "lagging"


def test_nothing_is_known_at_first() -> None:
    """Neither alone says anything, nor do both before the replica has reached a place that the primary told."""
    assert standing().fault(100.0) == "new"
    assert standing(PRIMARY).fault(100.0) == "new"
    assert standing(REPLICA).fault(100.0) == "new"
    assert standing(PRIMARY, replace(REPLICA, lsn=999)).fault(100.0) == "new"


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"system": 9}, "foreign"),
        ({"database": 9}, "foreign"),
        ({"timeline": 2}, "timeline"),
        ({"timeline": 4}, "timeline"),
        ({"timeline": None, "received": 2000}, "timeline"),
    ],
)
def test_a_replica_of_something_else_is_not_read(change: dict[str, int | None], fault: str) -> None:
    """Of another server, another database, another timeline, or one that it does not tell: its places mean nothing."""
    known = standing(PRIMARY, REPLICA, replace(REPLICA, asked_at=101.0, lsn=5000, **change))  # type: ignore[arg-type]
    assert known.fault(101.0) == fault


def test_a_promoted_replica_is_not_read() -> None:
    """It is a primary of its own from then on, with another timeline."""
    known = standing(PRIMARY, REPLICA)
    known.replica_said(replace(REPLICA, asked_at=101.0, is_replica=False, timeline=4))
    assert known.fault(101.0) == "promoted"


def test_a_replica_that_nobody_sends_to_keeps_its_timeline() -> None:
    """While its primary is away it cannot tell it; what it has received is still of the timeline that it told last."""
    known = standing(PRIMARY, REPLICA, replace(REPLICA, asked_at=101.0, timeline=None))
    assert known.fault(102.0) is None
    assert known.has_reached(Position(3, 1000))


def test_after_a_failover_nothing_is_known_until_the_replica_follows() -> None:
    """The new primary's places are on another timeline: a replica of the old one has not reached them, however far."""
    known = standing(PRIMARY, REPLICA, replace(REPLICA, asked_at=101.0, lsn=9000, received=9000))
    known.primary_said(replace(PRIMARY, asked_at=102.0, timeline=4, lsn=2000))
    assert known.fault(102.0) == "timeline"
    assert not known.has_reached(Position(4, 2000))
    known.replica_said(replace(REPLICA, asked_at=103.0, timeline=4, lsn=1900))
    assert known.fault(103.0) == "new"
    known.replica_said(replace(REPLICA, asked_at=104.0, timeline=4, lsn=2000))
    assert known.fault(104.0) is None


def test_a_replica_that_was_set_back_is_not_what_it_was() -> None:
    """One that was made anew from an old copy has to reach a place of the primary's again."""
    known = standing(PRIMARY, REPLICA, replace(REPLICA, asked_at=101.0, lsn=500, received=500))
    assert known.fault(101.0) == "new"


def test_a_position_is_reached_within_its_timeline() -> None:
    """A place of another timeline is never reached, even when its number is smaller."""
    known = standing(PRIMARY, REPLICA)
    assert known.has_reached(Position(3, 1000))
    assert not known.has_reached(Position(3, 1001))
    assert not known.has_reached(Position(2, 1))
    assert not known.has_reached(Position(4, 1))
