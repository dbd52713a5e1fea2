from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Histogram

from service.instruments import MOST_CHILDREN, remember_children


def test_what_is_counted_is_told() -> None:
    """By each label, however it was given, and however many there are."""
    registry = CollectorRegistry()
    requests = Counter("requests", "Requests.", ["route", "status"], registry=registry)
    seconds = Histogram("seconds", "Time.", ["route"], buckets=[1], registry=registry)
    remember_children(requests, seconds)
    for _ in range(2):
        for number in range(2 * MOST_CHILDREN):
            requests.labels(f"/{number}", 200).inc()
    requests.labels("/0", "200").inc()
    seconds.labels("/0").observe(0.5)
    for number in range(2 * MOST_CHILDREN):
        counted = registry.get_sample_value("requests_total", {"route": f"/{number}", "status": "200"})
        assert counted == (3 if number == 0 else 2)
    assert registry.get_sample_value("seconds_bucket", {"route": "/0", "le": "1.0"}) == 1
