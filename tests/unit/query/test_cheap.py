"""Which questions are looked for, and which are computed without."""

from __future__ import annotations

from datetime import timedelta

import pytest

from query import cheap
from query.cheap import Cheap, Question

HOUR = timedelta(hours=1)


def asked(host: bytes, like: bytes = b"one host", length: timedelta = HOUR) -> Question:
    """What is asked of a host, or of several."""
    return Question((like, length), (host, length))


def test_what_is_dear_depends_on_the_windows() -> None:
    """To look for fifty of them is worth twice as much as to look for none."""
    by_second = Cheap(1)
    assert by_second.is_dear(50, 2)
    assert not by_second.is_dear(50, 1.99)
    assert by_second.is_dear(1, 1.02)
    assert not by_second.is_dear(1, 1.01)
    assert Cheap(0).is_dear(1, 0)


def test_one_that_was_cheap_stands_for_its_like() -> None:
    """Not for others, nor for a range of another length."""
    known = Cheap(1)
    assert asked(b"a") not in known
    known.remember(asked(b"a"))
    assert asked(b"b") in known
    assert asked(b"a,b", b"two hosts") not in known
    assert asked(b"a", length=2 * HOUR) not in known


def test_one_that_turns_out_to_be_dear_is_looked_for_beside_its_like() -> None:
    """However often a small host is asked for by turns with a large one; until that is found to be cheap itself."""
    known = Cheap(1)
    known.remember(asked(b"small"))
    known.forget(asked(b"large"))
    assert asked(b"other") not in known, "it may be as large"
    for _ in range(3):
        known.remember(asked(b"small"))
        assert asked(b"small") in known
        assert asked(b"large") not in known
    known.remember(asked(b"large"))
    assert asked(b"large") in known


def test_no_more_is_remembered_than_there_is_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """What would be too much makes all of its kind leave."""
    monkeypatch.setattr(cheap, "MOST", 2)
    known = Cheap(1)
    likes = [b"x", b"y", b"z"]
    for like in likes:
        known.remember(asked(b"a", like))
    assert [asked(b"a", like) in known for like in likes] == [False, False, True]
    for host in (b"a", b"b", b"c"):
        known.forget(asked(host))
    known.remember(asked(b"d"))
    assert [asked(host) in known for host in (b"a", b"b", b"c")] == [True, True, False]
