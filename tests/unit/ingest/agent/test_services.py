"""Instruments in Prometheus' text form become points."""

from __future__ import annotations

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest

from ingest.agent.points import Point
from ingest.agent.services import NotRead, points
from ingest.instruments import Instruments


def test_samples_with_the_same_labels_are_one_point() -> None:
    """Names are fields and labels are tags, a bucket's bound among them; the service is named."""
    text = (
        '# TYPE a counter\na_total{protocol="json"} 3.0\n# TYPE b gauge\nb 1.5\n# TYPE c gauge\nc{protocol="json"} 2\n'
        '# TYPE h histogram\nh_bucket{le="0.1"} 4\nh_bucket{le="+Inf"} 5\nh_sum 0.7\nh_count 5\n'
    )
    here = {"instance": "db-1:8086"}
    assert points(text, "db-1:8086") == [
        Point("tidemark", {"a_total": 3.0, "c": 2.0}, {"protocol": "json", **here}),
        Point("tidemark", {"b": 1.5, "h_sum": 0.7, "h_count": 5.0}, here),
        Point("tidemark", {"h_bucket": 4.0}, {"le": "0.1", **here}),
        Point("tidemark", {"h_bucket": 5.0}, {"le": "+Inf", **here}),
    ]


def test_all_of_ingests_instruments_are_read() -> None:
    """What a service shows without labels comes as one point."""
    registry = CollectorRegistry()
    Instruments(registry).writer.commit_seconds.observe(0.2)
    (plain,) = [point for point in points(generate_latest(registry).decode(), "i") if set(point.tags) == {"instance"}]
    assert plain.fields["ingest_commit_seconds_count"] == 1
    assert plain.fields["ingest_database_up"] == 0


@pytest.mark.parametrize("text", ["<html>", 'a{b="c" 1', "a one", "{", "a{b=c} 1"])
def test_another_form_is_refused(text: str) -> None:
    """With what was wrong."""
    with pytest.raises(NotRead, match="not in Prometheus' text form"):
        points(text, "i")
