"""What dashboards show: one reading of this host by the agent's inputs, and the instruments of both services."""

from __future__ import annotations

import time
from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import generate_latest

from ingest.agent import services
from ingest.agent.inputs import NET, inputs
from ingest.agent.points import PartlyRead, Point
from ingest.agent.storage import DISKIO
from ingest.instruments import Instruments as IngestInstruments
from query.instruments import Instruments as QueryInstruments


def host_points() -> list[Point]:
    """A reading of this host by the agent's inputs; one disk and one interface more, which not every machine has."""
    read = inputs()
    points: list[Point] = []
    for last in (False, True):
        for one in read.values():
            try:
                found = one()
            except PartlyRead as error:
                found = error.points
            points += found if last else []
        time.sleep(0 if last else 0.2)  # what is read between two readings needs a time between them
    disk = {**dict.fromkeys(DISKIO, 1000), "io_util": 12.5, "io_await": 1.0, "iops_in_progress": 1}
    return [
        *points,
        Point("diskio", disk, {"name": "vdz"}),
        Point("net", dict.fromkeys(NET, 1000), {"interface": "eth9"}),
    ]


def own_registries() -> list[tuple[str, CollectorRegistry]]:
    """The instruments of both services, with those that their web shell has."""
    found = []
    for name, instance, make in (
        ("ingest", "ingest:8086", IngestInstruments),
        ("query", "query:8080", QueryInstruments),
    ):
        registry = CollectorRegistry()
        make(registry)
        Counter(f"{name}_http_requests", "By route.", ["route", "method", "status"], registry=registry)
        Histogram(f"{name}_http_request_seconds", "By route.", ["route"], registry=registry)
        found.append((instance, registry))
    return found


def touch(registry: CollectorRegistry) -> None:
    """Have every instrument of a registry counted, set or observed once more."""
    for collector in set(registry._collector_to_names):
        labels = {name: "/write" if name == "route" else "x" for name in collector._labelnames}  # type: ignore[attr-defined]
        one = collector.labels(**labels) if labels else collector  # type: ignore[attr-defined]
        match one:
            case Counter() | Gauge():
                one.inc(10)
            case Histogram():
                for seconds in (0.002, 0.03, 0.03, 0.4, 20):
                    one.observe(seconds)


def instrument_points(registry: CollectorRegistry, instance: str) -> Iterable[Point]:
    """What the agent makes of a registry's exposition."""
    return services.points(generate_latest(registry).decode(), instance)
