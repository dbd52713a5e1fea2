"""Until when times gone by are settled, told by the numbers of transactions."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from query.settled import Settled

START = datetime(2026, 11, 25, tzinfo=UTC)


def second(number: int) -> datetime:
    """So many seconds after the start."""
    return START + timedelta(seconds=number)


def told(*samples: tuple[int, int]) -> Settled:
    """After the primary has told the next number at these seconds."""
    settled = Settled()
    for number, next_xid in samples:
        settled.primary_said("e", next_xid, second(number))
    return settled


def test_nothing_is_known_at_first() -> None:
    """Before the primary has said anything nothing is settled, nor while all it has told is still under way."""
    assert told().before(100) is None
    assert told((1, 100)).before(99) is None


def test_what_has_begun_before_a_moment_is_over() -> None:
    """The latest moment counts all of whose transactions are over."""
    settled = told((1, 100), (2, 105), (3, 120))
    assert settled.before(100) == second(1)
    assert settled.before(104) == second(1)
    assert settled.before(105) == second(2)
    assert settled.before(1000) == second(3)


def test_an_idle_primary_settles_everything() -> None:
    """While nobody begins to write, the present moves on."""
    assert told((1, 100), (2, 100), (3, 100)).before(100) == second(3)


def test_another_epoch_begins_anew() -> None:
    """After a restore the same numbers mean other transactions."""
    settled = told((1, 100))
    settled.primary_said("f", 100, second(5))
    assert settled.before(100) == second(5)
    settled.primary_said("f", 50, second(6))
    assert settled.before(60) == second(6)
    assert settled.before(49) is None


@given(
    transactions=st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)), max_size=30),
    asked=st.integers(0, 60),
)
def test_whoever_is_under_way_began_after_what_is_settled(transactions: list[tuple[int, int]], asked: int) -> None:
    """Numbers are given in order of beginning; at any later moment, none that is not over began before it."""
    numbered = sorted(((begin, begin + length) for begin, length in transactions))
    settled = Settled()
    for moment in range(asked + 1):
        # Asked at a moment, the server has given a number to whoever has begun before it.
        settled.primary_said("e", sum(begin < moment for begin, _ in numbered), second(moment))
    under_way = [number for number, (begin, end) in enumerate(numbered) if begin <= asked < end]
    begun = sum(begin <= asked for begin, _ in numbered)
    before = settled.before(min(under_way, default=begun))
    if before is not None:
        assert all(second(numbered[number][0]) >= before for number in under_way)
        assert all(second(begin) >= before for begin, _ in numbered[begun:])
