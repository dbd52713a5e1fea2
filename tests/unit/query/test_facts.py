from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from query.facts import FieldFact, missing, most_like, splits


def test_a_metric_is_split_at_every_dot() -> None:
    """Measurements and fields may have dots: each dot but one at an end may be the one between them."""
    assert splits("a.b") == [("a", "b")]
    assert splits("a.b.c") == [("a", "b.c"), ("a.b", "c")]
    assert splits(".a.b.") == [(".a", "b.")]
    assert splits("ab") == splits(".ab") == splits("ab.") == []


@given(st.text(min_size=1), st.text(min_size=1))
def test_the_split_of_a_measurement_and_a_field_is_among_them(measurement: str, field: str) -> None:
    """Whatever the names, the pair that made the metric is found."""
    assert (measurement, field) in splits(f"{measurement}.{field}")


def test_missing_metrics_are_found() -> None:
    """A metric that no fact is about is missing."""
    facts = [FieldFact(1, "a", "b.c", "b.c", 1)]
    assert missing(["a.b.c", "a.b"], facts) == ["a.b"]


def test_the_names_most_like_another_come_first() -> None:
    """A letter that is missing, doubled, exchanged or of another case leaves a name the most similar."""
    known = ["cpu.usage_idle", "cpu.usage_system", "cpu.usage_user", "cpu.n", "cpu.load"]
    for name in ("cpu.usage_usr", "cpu.usage_usser", "cpu.usaeg_user", "cpu.Usage_User", "cpu_usage_user"):
        assert most_like(name, known, 1) == ["cpu.usage_user"]
    assert most_like("x", ["a", "b"], 5) == ["a", "b"]
    assert most_like("", [], 5) == []
