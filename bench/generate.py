"""A deterministic generator of line protocol in the shape of TSBS's devops use case.

The shape (measurements, numbers of fields and tags, ten seconds between readings) is that of github.com/timescale/tsbs,
`cmd/tsbs_generate_data`; names and values are ours. The same arguments always give the same bytes.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass

READING_SECONDS = 10
LINES_A_BODY = 5_000

CPU_FIELDS = tuple(
    f"usage_{state}"
    for state in ("user", "system", "idle", "nice", "iowait", "irq", "softirq", "steal", "guest", "guest_nice")
)
NINE: dict[str, tuple[str, ...]] = {
    "cpu": CPU_FIELDS,
    "diskio": (*(f"{kind}_{of}" for kind in ("read", "write") for of in ("count", "bytes", "time")), "io_time"),
    "disk": ("total", "free", "used", "used_percent", "inodes_total", "inodes_free", "inodes_used"),
    "kernel": ("boot_time", "interrupts", "context_switches", "processes_forked", "disk_pages_in", "disk_pages_out"),
    "mem": (
        *("total", "available", "used", "free", "cached", "buffered"),
        *("used_percent", "available_percent", "buffered_percent"),
    ),
    "net": tuple(f"{of}_{way}" for of in ("bytes", "packets", "err", "drop") for way in ("sent", "recv")),
    "nginx": ("accepts", "active", "handled", "reading", "requests", "waiting", "writing"),
    "postgresl": tuple(f"statistic_{number}" for number in range(16)),
    "redis": tuple(f"counter_{number}" for number in range(30)),
}
"""Nine measurements of a host, a hundred fields in all."""

REGIONS = ("eu-west-1", "eu-central-1", "us-east-1", "us-west-2", "ap-southeast-2")
TEAMS = ("NYC", "SF", "LON", "CHI")


@dataclass(frozen=True)
class Shape:
    """What is generated."""

    hosts: int
    measurements: dict[str, tuple[str, ...]]

    @property
    def values_a_line(self) -> float:
        """Fields of a line, on average."""
        return sum(map(len, self.measurements.values())) / len(self.measurements)


def cpu_only(hosts: int) -> Shape:
    """Ten fields and ten tags a line."""
    return Shape(hosts, {"cpu": CPU_FIELDS})


def nine(hosts: int) -> Shape:
    """The nine measurements of each host."""
    return Shape(hosts, NINE)


def tags(host: int) -> str:
    """The ten tags of a host, as a line's head has them."""
    chosen = random.Random(host)
    region = chosen.choice(REGIONS)
    return (
        f"hostname=host_{host},region={region},datacenter={region}{chosen.choice('abc')},rack={chosen.randrange(100)},"
        f"os=Debian13,arch={chosen.choice(('x64', 'arm64'))},team={chosen.choice(TEAMS)},"
        f"service={chosen.randrange(20)},service_version={chosen.randrange(2)},"
        f"service_environment={chosen.choice(('production', 'staging', 'test'))}"
    )


def lines(shape: Shape, start: int, readings: int) -> Iterator[str]:
    """Every line of `readings` moments from `start` (Unix seconds), all hosts at each moment."""
    heads = [
        (f"{measurement},{tags(host)}", fields)
        for host in range(shape.hosts)
        for measurement, fields in shape.measurements.items()
    ]
    chosen = random.Random(start)
    number = chosen.randrange
    for reading in range(readings):
        time = f"{start + reading * READING_SECONDS}000000000"
        for head, fields in heads:
            yield f"{head} {','.join([f'{name}={number(101)}i' for name in fields])} {time}"


def json_bodies(shape: Shape, start: int, readings: int) -> Iterator[bytes]:
    """The same points as JSON, one a line, in bodies of `LINES_A_BODY` lines."""
    for body in bodies(shape, start, readings):
        yield "\n".join(map(as_json, body.decode().splitlines())).encode()


def as_json(line: str) -> str:
    """A line of line protocol, of those made here, as a JSON object in the full form."""
    head, fields, time = line.split(" ")
    measurement, *pairs = head.split(",")
    point = {
        "measurement": measurement,
        "time": int(time) // 10**9,
        "tags": dict(pair.split("=") for pair in pairs),
        "fields": {name: int(value[:-1]) for name, value in (field.split("=") for field in fields.split(","))},
    }
    return json.dumps(point)


def bodies(shape: Shape, start: int, readings: int) -> Iterator[bytes]:
    """The same lines as request bodies of `LINES_A_BODY` lines."""
    batch: list[str] = []
    for line in lines(shape, start, readings):
        batch.append(line)
        if len(batch) == LINES_A_BODY:
            yield "\n".join(batch).encode()
            batch.clear()
    if batch:
        yield "\n".join(batch).encode()
