"""Measures writing: raw COPY, Tidemark, VictoriaMetrics and InfluxDB, on the same lines, in one run.

    python -m bench.ingest [--hosts 1000] [--lines 1000000] [--workers 1,2] [--json FILE]

Each system gets the same files by the same loader. *steady* is with every series known, *first* with every series new,
*nine* the nine measurements of a host; `tidemark x2` is Tidemark with two workers. Of `tidemark` alone: *half* is
*steady* at half of the rate that it took, *sent as* a tenth of its lines in each protocol. The column us/line has the
processor time of ingest, all workers, by the number of lines; `held ms` says how long its event loop was held at the
longest, rounded up to a bucket of its histogram (10, 25, 50, 100, 250 ms, ...).
"""

from __future__ import annotations

import argparse
import json
import math
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from bench import generate, systems
from bench.generate import LINE_PROTOCOL, PROTOCOLS, READING_SECONDS, Protocol, Shape
from bench.load import save
from bench.observe import watched
from service.settings import home
from sql.embedded import prepare
from sql.migrate import migrate
from sql.postmaster import running
from sql.settings import Embedded

DAY = 86_400
WARM_READINGS = 5
CONNECTIONS = 8
SEVERAL = "tidemark x"
"""The name of Tidemark with several workers begins so; their number follows."""

Figures = dict[str, Any]


@dataclass(frozen=True)
class Load:
    """One file of bodies, and how to count what came of it."""

    name: str
    file: Path
    measurement: str
    field: str
    values_a_line: float
    rows: int
    """Lines of the measurement."""
    protocol: Protocol


@dataclass(frozen=True)
class Server:
    """The database under test."""

    url: str
    postmaster: int

    def database(self, name: str) -> str:
        """The address of a new, empty database."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        return self.url.rsplit("/", 1)[0] + f"/{name}"


def main() -> None:
    """Measure, print the table and the JSON."""
    parser = argparse.ArgumentParser(description="Measure writing against the limit and against peers.")
    parser.add_argument("--hosts", type=int, default=1000)
    parser.add_argument("--lines", type=int, default=1_000_000, help="lines of the steady load")
    parser.add_argument(
        "--workers", type=_numbers, default=(1, 2), help="numbers of Tidemark's workers; 1 is always measured"
    )
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    parser.add_argument("--without-peers", action="store_true", help="leave the peers out")
    chosen = parser.parse_args()
    folder = home() / "bench" / "run"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        with embedded(folder / "home") as server:
            figures = measure(
                server, folder, chosen.hosts, chosen.lines, workers=chosen.workers, peers=not chosen.without_peers
            )
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(table(figures))
    print(json.dumps(figures))
    if chosen.json:
        chosen.json.write_text(json.dumps(figures, indent=2) + "\n")


@contextmanager
def embedded(folder: Path) -> Iterator[Server]:
    """An embedded database of the benchmark's own, as `make up` would start it."""
    folder.mkdir(parents=True)
    settings = Embedded(home=folder, engine=home() / "engine", database_port=systems.free_port())
    cluster = prepare(settings, _say)
    with running(cluster, _say) as process:
        yield Server(cluster.addresses.url("owner"), process.pid)


def measure(server: Server, folder: Path, hosts: int, lines: int, *, workers: Sequence[int], peers: bool) -> Figures:
    """All figures, by load and system."""
    _say("making the loads")
    loads = make_loads(folder, hosts, lines)
    figures: Figures = {"hosts": hosts, "lines": lines, "steady": {}, "first": {}, "nine": {}}
    for connections in (1, 2):
        _say(f"raw COPY, {connections} connection(s)")
        figures["steady"][f"copy x{connections}"] = limit(server, loads["steady"], connections)
    several = [f"{SEVERAL}{number}" for number in sorted({*workers} - {1})]
    for name in ("tidemark", *several, *(systems.PEERS if peers else ())):
        with start(name, server, folder) as system:
            for load in ("first", "steady", "nine"):
                _say(f"{name}: {load}")
                if load != "first":
                    run(system, loads[f"{load}_warm"])
                figures[load][name] = run(system, loads[load])
            if name == "tidemark":
                figures |= measure_ours(system, folder, hosts, lines, figures["steady"][name]["lines_per_second"])
    figures["ratios"] = ratios(figures["steady"])
    return figures


def measure_ours(system: systems.System, folder: Path, hosts: int, lines: int, top: float) -> Figures:
    """What is measured of Tidemark alone; `top` is the rate that it took, in lines per second."""
    cpu = generate.cpu_only(hosts)
    _say("tidemark: half")
    half = make_load(folder, "half", cpu, START_HALF, max(1, int(top / 2 * 10 / hosts)))
    figures: Figures = {"half": {"tidemark": run(system, half, lines_per_second=top / 2)}, "sent as": {}}
    for number, protocol in enumerate(PROTOCOLS):
        _say(f"tidemark: {protocol.name}")
        began = START_PROTOCOLS + number * DAY // 10
        load = make_load(folder, "sent", cpu, began, max(1, lines // 10 // hosts), protocol)
        figures["sent as"][protocol.name] = run(system, load)
    return figures


START = int(time.time()) // DAY * DAY - 3 * DAY
START_FIRST = START - DAY
START_HALF = START + DAY
START_PROTOCOLS = START + DAY // 2


def make_loads(folder: Path, hosts: int, lines: int) -> dict[str, Load]:
    """The loads that every system gets, by name; `first` is of hosts that no other has."""
    cpu, nine = generate.cpu_only(hosts), generate.nine(hosts)
    readings = lines // hosts
    start = START + WARM_READINGS * READING_SECONDS
    made = (
        make_load(folder, "steady_warm", cpu, START, WARM_READINGS),
        make_load(folder, "steady", cpu, start, readings),
        make_load(folder, "first", generate.cpu_only(4 * hosts), START_FIRST, max(1, lines // 20 // hosts)),
        make_load(folder, "nine_warm", nine, START + 2 * DAY, 1),
        make_load(folder, "nine", nine, START + 2 * DAY + READING_SECONDS, max(1, readings // 20)),
    )
    return {load.name: load for load in made}


def make_load(
    folder: Path, name: str, shape: Shape, start: int, readings: int, protocol: Protocol = LINE_PROTOCOL
) -> Load:
    """One file."""
    file = folder / f"{name}.bodies"
    save(generate.bodies(shape, start, readings, protocol), file)
    return Load(name, file, "cpu", generate.CPU_FIELDS[0], shape.values_a_line, shape.hosts * readings, protocol)


@contextmanager
def start(name: str, server: Server, folder: Path) -> Iterator[systems.System]:
    """A system, fresh and empty."""
    if name.startswith("tidemark"):
        workers = name.removeprefix(SEVERAL) if name.startswith(SEVERAL) else "1"
        with systems.tidemark(server.database("bench"), server.postmaster, INGEST_WORKERS=workers) as ours:
            yield ours
    elif name == "victoria-metrics":
        with systems.victoria_metrics(folder / name) as peer:
            yield peer
    else:
        with systems.influxdb(folder / name) as other:
            yield other


def run(system: systems.System, load: Load, lines_per_second: float | None = None) -> Figures:
    """Send a load, watch the processes, and count afterwards what is there."""
    before = system.count(load.measurement, load.field) if load.name != "first" else 0
    url = system.json_url if load.protocol.is_json else system.write_url
    arguments = [sys.executable, "-m", "bench.load", url, str(load.file), f"--connections={CONNECTIONS}"]
    arguments += [f"--header={name}: {value}" for name, value in load.protocol.headers.items()]
    if lines_per_second is not None:
        arguments.append(f"--lines-per-second={lines_per_second}")
    holds = system.holds()
    with watched(system.pids) as usage:
        sent = subprocess.run(arguments, check=True, capture_output=True, text=True)
    figures: Figures = json.loads(sent.stdout)
    expected = before + load.rows
    found = system.settled(load.measurement, load.field, expected)
    if holds:
        figures["loop_held_ms"] = 1000 * _longest(holds, system.holds())
    if "ingest" in usage:
        figures["ingest_microseconds_per_line"] = usage["ingest"].cpu_seconds / figures["lines"] * 1e6
    return {
        **figures,
        "values_per_second": figures["lines_per_second"] * load.values_a_line,
        "missing": expected - found,
        "cpu_seconds": {name: one.cpu_seconds for name, one in usage.items()},
        "peak_mib": {name: one.peak_mib for name, one in usage.items()},
    }


def _longest(before: Mapping[float, float], after: Mapping[float, float]) -> float:
    """The bound, in seconds, that the longest of the new holds was within."""
    new = {bound: after[bound] - before[bound] for bound in after}
    return min(bound for bound, count in new.items() if count == new[math.inf])


def limit(server: Server, load: Load, connections: int) -> Figures:
    """Raw COPY of the same rows."""
    url = server.database("limit")
    migrate(url)
    arguments = ["-m", "bench.limit", url, str(load.file), "limit", f"--connections={connections}"]
    with watched({"postgresql": server.postmaster}) as usage:
        copied = subprocess.run([sys.executable, *arguments], check=True, capture_output=True, text=True)
    figures: Figures = json.loads(copied.stdout)
    return {**figures, "cpu_seconds": {"postgresql": usage["postgresql"].cpu_seconds}}


def ratios(steady: dict[str, Figures]) -> dict[str, float]:
    """Tidemark's rate in units of each other's."""
    ours = steady["tidemark"]["lines_per_second"]
    return {name: ours / one["lines_per_second"] for name, one in steady.items() if name != "tidemark"}


COLUMNS = (
    ("lines/s", "lines_per_second", ",.0f"),
    ("values/s", "values_per_second", ",.0f"),
    ("p50 ms", "ack_p50_ms", ".1f"),
    ("p99 ms", "ack_p99_ms", ".1f"),
    ("missing", "missing", ""),
    ("us/line", "ingest_microseconds_per_line", ".2f"),
    ("held ms", "loop_held_ms", ".0f"),
)


def table(figures: Figures) -> str:
    """The figures for people."""
    heads = "".join(f"{title:>11}" for title, _, _ in COLUMNS)
    lines = [f"{'load':8}{'system':18}{heads}  processor seconds and peak MiB of each process"]
    for load in ("steady", "first", "nine", "half", "sent as"):
        for name, one in figures.get(load, {}).items():
            cells = "".join(f"{format(one[key], form) if key in one else '-':>11}" for _, key, form in COLUMNS)
            lines.append(f"{load:8}{name:18}{cells}  {_processes(one)}")
    shown = ", ".join(f"{ratio:.2f} of {name}" for name, ratio in figures["ratios"].items())
    return "\n".join([*lines, f"tidemark, steady: {shown}"])


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(map(int, text.split(",")))


def _processes(one: Figures) -> str:
    peaks = one.get("peak_mib", {})
    return ", ".join(
        f"{name} {seconds:.1f} s" + (f" {peaks[name]:.0f} MiB" if name in peaks else "")
        for name, seconds in one["cpu_seconds"].items()
    )


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")


if __name__ == "__main__":
    main()
