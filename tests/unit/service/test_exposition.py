from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from service.exposition import merged

AWKWARD = 'a{b="c"} d\\e\nf, g'
"""A label's value with all that means something in the form."""


def process(requests: int, *, is_database_known: bool = True) -> str:
    """The text of a process that has counted so many requests."""
    registry = CollectorRegistry()
    Counter("requests", "Requests {of} all kinds.", ["route", "why"], registry=registry).labels("/", AWKWARD).inc(
        requests
    )
    Histogram("seconds", "Time.", buckets=(0.5,), registry=registry).observe(requests)
    Gauge("pending_bytes", "Bytes.", registry=registry).set(-0.5)
    if is_database_known:
        Gauge("database_info", "Always 1.", ["edition"], registry=registry).labels("apache").set(1)
    return generate_latest(registry).decode()


def samples(text: str) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """Every sample's value; fails when one is there twice."""
    found: dict[tuple[str, frozenset[tuple[str, str]]], float] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            key = sample.name, frozenset(sample.labels.items())
            assert key not in found
            found[key] = sample.value
    return found


def test_every_sample_is_there_with_its_process() -> None:
    """Nothing is lost, changed or added up: each sample is as its process gave it, with one more label."""
    texts = {"0": process(3), "1": process(4), "10": process(5)}
    wanted = {
        (name, labels | {("worker", key)}): value
        for key, text in texts.items()
        for (name, labels), value in samples(text).items()
    }
    found = samples(merged(texts, "worker"))
    assert found == wanted
    assert found["requests_total", frozenset({("route", "/"), ("why", AWKWARD), ("worker", "1")})] == 4


def test_a_family_stands_together_under_one_head() -> None:
    """A parser finds each family once, with its kind and its text, also when the first process has none of it."""
    text = merged({"0": process(3, is_database_known=False), "1": process(4)}, "worker")
    families = {family.name: family for family in text_string_to_metric_families(text)}
    assert [family.name for family in text_string_to_metric_families(text)] == list(families)
    assert {name: (family.type, family.documentation) for name, family in families.items()} == {
        "requests": ("counter", "Requests {of} all kinds."),
        "seconds": ("histogram", "Time."),
        "pending_bytes": ("gauge", "Bytes."),
        "database_info": ("gauge", "Always 1."),
    }
    assert text.count("# HELP ") == text.count("# TYPE ") == 4
    assert text.endswith("\n")


def test_nothing_to_merge() -> None:
    """No texts, or empty ones, are no text."""
    assert merged({}, "worker") == merged({"0": "", "1": ""}, "worker") == ""
