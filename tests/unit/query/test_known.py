from __future__ import annotations

import pytest

from query import known
from query.facts import FieldFact
from query.known import Known

USER = FieldFact(1, "cpu", "user", "user", 1)
IDLE = FieldFact(1, "cpu", "idle", "idle", 2)
DOTTED = FieldFact(2, "disk", "io.time", "io.time", 3)


def test_what_was_learned_is_known_in_its_epoch() -> None:
    """Metrics are known together or not at all, and only in the epoch in which they were looked up."""
    kept = Known()
    kept.learn("one", [USER, IDLE])
    assert kept.facts("one", ["cpu.idle", "cpu.user"]) == [IDLE, USER]
    assert kept.facts("one", ["cpu.user", "cpu.nice"]) is None
    assert kept.facts("two", ["cpu.user"]) is None


def test_a_metric_that_may_mean_more_is_not_known() -> None:
    """Where another split may come to be a field as well, it is looked up each time."""
    kept = Known()
    kept.learn("one", [DOTTED])
    assert kept.facts("one", ["disk.io.time"]) is None


def test_all_fields_of_a_measurement_are_known_as_such() -> None:
    """That some were looked up does not make them all."""
    kept = Known()
    kept.learn("one", [USER])
    assert kept.fields_of("one", "cpu") is None
    kept.learn_all("one", "cpu", [IDLE, USER])
    assert kept.fields_of("one", "cpu") == (IDLE, USER)


def test_no_more_is_kept_than_there_is_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """What would be too much makes everything else leave."""
    monkeypatch.setattr(known, "MOST_FACTS", 2)
    kept = Known()
    kept.learn("one", [USER, IDLE])
    kept.learn("two", [USER])
    assert kept.facts("one", ["cpu.user"]) is None
    assert kept.facts("two", ["cpu.user"]) == [USER]


def test_what_is_learned_again_takes_no_more_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looking up the same again and again, as requests do, makes nothing leave; nor does what is not kept."""
    monkeypatch.setattr(known, "MOST_FACTS", 4)
    kept = Known()
    for _ in range(10):
        kept.learn("one", [USER, IDLE, DOTTED])
        kept.learn_all("one", "cpu", [IDLE, USER])
        assert kept.facts("one", ["cpu.user", "cpu.idle"]) == [USER, IDLE]
        assert kept.fields_of("one", "cpu") == (IDLE, USER)
    kept.learn_all("one", "cpu", [IDLE])
    kept.learn("two", [USER])
    assert kept.facts("one", ["cpu.user"]) == [USER]
    kept.learn("two", [IDLE])
    assert kept.facts("one", ["cpu.user"]) is None
    assert kept.fields_of("one", "cpu") is None
    assert kept.facts("two", ["cpu.idle"]) == [IDLE]
