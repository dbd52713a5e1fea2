from __future__ import annotations

import resource

import pytest
from prometheus_client import CollectorRegistry

from service.connections import SPARE_DESCRIPTORS, Bound, Connections, with_descriptors


def test_connections_are_counted() -> None:
    """No more are let in than may be, and one that ends makes room; refusals are counted."""
    registry = CollectorRegistry()
    connections = Connections("x", Bound(2, "X_MOST"), registry)
    assert [connections.enter(client) for client in ("a", "b", "c")] == [True, True, False]
    assert registry.get_sample_value("x_http_connections") == 2
    assert registry.get_sample_value("x_http_connections_refused_total") == 1
    connections.leave("a")
    assert connections.enter("c")
    assert b"X_MOST" in connections.refusal()


def test_a_client_has_its_share() -> None:
    """One that has as many as it may is refused, and another is not."""
    connections = Connections("x", Bound(4, "X_MOST", client_share=0.75), CollectorRegistry())
    assert [connections.enter("a") for _ in range(4)] == [True, True, True, False]
    assert connections.enter("b")
    connections.leave("a")
    connections.leave("b")
    assert connections.enter("a")


@pytest.mark.parametrize(
    ("soft", "hard", "wanted", "allowed", "connections"),
    [
        (1024, 20_000, 10_000, 10_000 + SPARE_DESCRIPTORS, 10_000),
        (1024, resource.RLIM_INFINITY, 10_000, 10_000 + SPARE_DESCRIPTORS, 10_000),
        (1024, 4096, 10_000, 4096, 4096 - SPARE_DESCRIPTORS),
        (200, 200, 10_000, 200, 100),
    ],
)
def test_descriptors_are_had(
    monkeypatch: pytest.MonkeyPatch, soft: int, hard: int, wanted: int, allowed: int, connections: int
) -> None:
    """As many as connections may be, and some to spare; where there are fewer, there are fewer connections."""
    told: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "getrlimit", lambda _: (soft, hard))
    monkeypatch.setattr(resource, "setrlimit", lambda _, limits: told.append(limits))
    assert with_descriptors(wanted) == connections
    assert told == [(allowed, hard)]


@pytest.mark.parametrize("soft", [10_000 + SPARE_DESCRIPTORS, resource.RLIM_INFINITY])
def test_enough_descriptors_are_left_alone(monkeypatch: pytest.MonkeyPatch, soft: int) -> None:
    """A limit that is high enough is not lowered."""
    monkeypatch.setattr(resource, "getrlimit", lambda _: (soft, soft))
    assert with_descriptors(10_000) == 10_000
