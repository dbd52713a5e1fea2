"""What `catalog.rollup_state` promises: where it says that a rollup holds, the rollup is what its points say."""

from __future__ import annotations

import random
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from psycopg import sql

from tests.community.stored import Measurement, Stored, connected, in_webassembly

AGE = st.integers(0, 80 * 60)
"""Minutes before now."""
LENGTH = st.integers(1, 6 * 60)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("late"), AGE, LENGTH),
        st.tuples(st.just("scattered"), AGE, AGE),
        st.tuples(st.just("delete"), AGE, LENGTH),
        st.tuples(st.just("window_10m"), AGE, st.integers(120, 1800)),
        st.tuples(st.just("window_1h"), AGE, st.integers(240, 1800)),
        st.tuples(st.just("refresh_10m"), st.just(0), st.just(0)),
        st.tuples(st.just("refresh_1h"), st.just(0), st.just(0)),
        st.tuples(st.just("settle"), st.just(0), st.just(0)),
        st.tuples(st.just("compress"), st.just(0), st.just(0)),
        st.tuples(st.just("expire"), st.just(0), st.just(0)),
    ),
    min_size=4,
    max_size=14,
)


def take(step: tuple[str, int, int], m: Measurement) -> None:
    """Do one step: times are minutes before now."""
    kind, age, other = step
    if kind == "late":
        m.fill(f"{age + other} minutes", f"{age} minutes", "7 minutes")
    elif kind == "scattered":
        for minutes in (age, other):
            m.fill(f"{minutes} minutes", f"{minutes} minutes - 1 second", "1 minute", series=1)
    elif kind == "delete":
        m.stored.rows(
            sql.SQL("DELETE FROM {} WHERE time BETWEEN now() - {}::interval AND now() - {}::interval").format(
                m.points, f"{age + other} minutes", f"{age} minutes"
            )
        )
    elif kind.startswith("window"):
        m.stored.rows(
            sql.SQL("CALL public.refresh_continuous_aggregate({}, now() - {}::interval, now() - {}::interval)").format(
                sql.Literal(f"rollups.{m.rollups()[kind.removeprefix('window_') + '_1']}"),
                f"{age + other} minutes",
                f"{age} minutes",
            )
        )
    elif kind.startswith("refresh"):
        m.run("refresh_continuous_aggregate", kind.removeprefix("refresh_") + "_1")
    elif kind == "settle":
        m.settle()
    else:
        m.run({"compress": "compression", "expire": "retention"}[kind])


@settings(
    max_examples=12,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],  # to shrink a failure would take minutes
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(steps=STEPS)
def test_a_rollup_holds_where_it_is_said_to(stored: Stored, steps: list[tuple[str, int, int]]) -> None:
    """Whatever is written late, corrected, deleted, compressed, dropped and refreshed, in any order."""
    m = stored.new(chunk_interval="3h", retain_raw="2d", rollup_10m="3d")
    m.fill("80 hours", "2 hours", "11 minutes", series=2)
    m.refresh()
    m.fill("2 hours", "0 hours", "11 minutes", series=2)
    for step in steps:
        take(step, m)
        assert m.disagreements() == [], step
    m.refresh()
    assert m.disagreements() == []
    m.until_valid("10m_1", "47 hours", "15 minutes")
    m.until_valid("1h_1", "46 hours", "2 hours 5 minutes")


CHECKS = 60


def test_it_holds_at_every_moment(community_url: str) -> None:
    """While others write late points and refresh, each of many statements sees rollups that are as its points are."""
    if in_webassembly(community_url):
        pytest.skip("the server in WebAssembly has one connection")
    is_over = threading.Event()
    with connected(community_url) as connection:
        m = Stored(connection).new(chunk_interval="3h", compress_after="off")
        m.fill("30 hours", "0 hours", "3 minutes", series=2)
        m.refresh()

        def write(number: int) -> None:
            chance = random.Random(number)
            with connected(community_url) as own:
                late = m.seen_by(own)
                while not is_over.is_set():
                    age = chance.randint(3, 29 * 60)
                    late.fill(f"{age} minutes", f"{age - 2} minutes", "7 seconds", series=1)

        def refresh() -> None:
            with connected(community_url) as own:
                late = m.seen_by(own)
                while not is_over.is_set():
                    late.refresh()

        with ThreadPoolExecutor() as pool:
            others = [pool.submit(write, number) for number in range(2)] + [pool.submit(refresh)]
            try:
                found = [m.disagreements() for _ in range(CHECKS)]
            finally:
                is_over.set()
            for other in others:
                other.result()
        m.refresh()
        assert found == [[]] * CHECKS
        assert m.disagreements() == []
        m.until_valid("10m_1", "29 hours", "15 minutes")
        m.stored.close()
