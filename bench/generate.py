"""A deterministic generator of line protocol in the shape of TSBS's devops use case.

The shape (measurements, numbers of fields and tags, ten seconds between readings) is that of github.com/timescale/tsbs,
`cmd/tsbs_generate_data`; names and values are ours. The same arguments always give the same bytes.
"""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

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


def as_lines(batch: list[str]) -> bytes:
    """A body of line protocol."""
    return "\n".join(batch).encode()


def as_gzip(batch: list[str]) -> bytes:
    """A body of line protocol, compressed as Telegraf does."""
    return gzip.compress(as_lines(batch), compresslevel=6, mtime=0)


def as_ndjson(batch: list[str]) -> bytes:
    """A JSON object a line, in the full form."""
    return "\n".join([json.dumps(parts(line)) for line in batch]).encode()


def as_json_array(batch: list[str]) -> bytes:
    """One JSON array, of objects in the flat form."""
    points = map(parts, batch)
    flat = [{"measurement": one["measurement"], "time": one["time"], **one["tags"], **one["fields"]} for one in points]
    return json.dumps(flat).encode()


def parts(line: str) -> dict[str, Any]:
    """What a line of line protocol, of those made here, says."""
    head, fields, time = line.split(" ")
    measurement, *pairs = head.split(",")
    return {
        "measurement": measurement,
        "time": int(time) // 10**9,
        "tags": dict(pair.split("=") for pair in pairs),
        "fields": {name: int(value[:-1]) for name, value in (field.split("=") for field in fields.split(","))},
    }


@dataclass(frozen=True)
class Protocol:
    """A way to send lines."""

    name: str
    encode: Callable[[list[str]], bytes]
    headers: dict[str, str] = field(default_factory=dict)
    is_json: bool = False


LINE_PROTOCOL = Protocol("line protocol", as_lines)
PROTOCOLS = (
    LINE_PROTOCOL,
    Protocol("the same, gzip", as_gzip, {"Content-Encoding": "gzip"}),
    Protocol("NDJSON, full", as_ndjson, {"Content-Type": "application/x-ndjson"}, is_json=True),
    Protocol("JSON array, flat", as_json_array, {"Content-Type": "application/json"}, is_json=True),
)


def bodies(shape: Shape, start: int, readings: int, protocol: Protocol = LINE_PROTOCOL) -> Iterator[tuple[bytes, int]]:
    """The lines as request bodies of `LINES_A_BODY` lines, each with its number of lines."""
    pile = lines(shape, start, readings)
    while batch := list(islice(pile, LINES_A_BODY)):
        yield protocol.encode(batch), len(batch)
