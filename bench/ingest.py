"""Measures writing: raw COPY, Tidemark, VictoriaMetrics and InfluxDB, on the same lines, in one run.

    python -m bench.ingest [--hosts 1000] [--lines 1000000] [--json FILE]

Each system gets the same files by the same loader. *steady* is with every series known, *first* with every series new,
*nine* the nine measurements of a host; of Tidemark alone, *json* is the points of *steady* as JSON, and *half* its load
at half of the rate that it took.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from bench import generate, systems
from bench.generate import READING_SECONDS, Shape
from bench.load import load as saved
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

Figures = dict[str, Any]


@dataclass(frozen=True)
class Load:
    """One file of bodies, and how to count what came of it."""

    name: str
    file: Path
    measurement: str
    field: str
    values_a_line: float


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
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    parser.add_argument("--without-peers", action="store_true", help="leave the peers out")
    chosen = parser.parse_args()
    folder = home() / "bench" / "run"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        with embedded(folder / "home") as server:
            figures = measure(server, folder, chosen.hosts, chosen.lines, peers=not chosen.without_peers)
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


def measure(server: Server, folder: Path, hosts: int, lines: int, *, peers: bool) -> Figures:
    """All figures, by load and system."""
    _say("making the loads")
    warm, steady, first, nine_warm, nine = make_loads(folder, hosts, lines)
    figures: Figures = {"hosts": hosts, "lines": lines, "steady": {}, "first": {}, "nine": {}}
    for connections in (1, 2):
        _say(f"raw COPY, {connections} connection(s)")
        figures["steady"][f"copy x{connections}"] = limit(server, steady, connections)
    for name in ("tidemark", *(("victoria-metrics", "influxdb") if peers else ())):
        with ExitStack() as stack:
            system = stack.enter_context(start(name, server, folder))
            _say(f"{name}: first")
            figures["first"][name] = run(system, first)
            _say(f"{name}: steady")
            run(system, warm)
            figures["steady"][name] = run(system, steady)
            _say(f"{name}: nine")
            run(system, nine_warm)
            figures["nine"][name] = run(system, nine)
            if name == "tidemark":
                _say("tidemark: half")
                rate = figures["steady"][name]["lines_per_second"] / 2
                _say("tidemark: json")
                json_load = make_load(
                    folder, "json", generate.cpu_only(hosts), START_JSON, max(1, lines // 10 // hosts)
                )
                figures["json"] = {name: run(system, json_load)}
                half = make_load(folder, "half", generate.cpu_only(hosts), START_HALF, int(rate * 10 / hosts))
                figures["half"] = {name: run(system, half, lines_per_second=rate)}
    figures["ratios"] = ratios(figures["steady"])
    return figures


START = int(time.time()) // DAY * DAY - 3 * DAY
START_FIRST = START - DAY
START_HALF = START + DAY
START_JSON = START + DAY // 2


def make_loads(folder: Path, hosts: int, lines: int) -> tuple[Load, Load, Load, Load, Load]:
    """The loads that every system gets; `first` is of hosts that no other has."""
    cpu, nine = generate.cpu_only(hosts), generate.nine(hosts)
    readings = lines // hosts
    start = START + WARM_READINGS * READING_SECONDS
    return (
        make_load(folder, "warm", cpu, START, WARM_READINGS),
        make_load(folder, "steady", cpu, start, readings),
        make_load(folder, "first", generate.cpu_only(4 * hosts), START_FIRST, max(1, lines // 20 // hosts)),
        make_load(folder, "nine_warm", nine, START + 2 * DAY, 1),
        make_load(folder, "nine", nine, START + 2 * DAY + READING_SECONDS, max(1, readings // 20)),
    )


def make_load(folder: Path, name: str, shape: Shape, start: int, readings: int) -> Load:
    """One file."""
    file = folder / f"{name}.bodies"
    made = generate.json_bodies if name == "json" else generate.bodies
    save(made(shape, start, readings), file)
    return Load(name, file, "cpu", generate.CPU_FIELDS[0], shape.values_a_line)


@contextmanager
def start(name: str, server: Server, folder: Path) -> Iterator[systems.System]:
    """A system, fresh and empty."""
    if name == "tidemark":
        with systems.tidemark(server.database("bench"), server.postmaster) as ours:
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
    url = system.json_url if load.name == "json" else system.write_url
    arguments = [sys.executable, "-m", "bench.load", url, str(load.file), f"--connections={CONNECTIONS}"]
    if lines_per_second is not None:
        arguments.append(f"--lines-per-second={lines_per_second}")
    with watched(system.pids) as usage:
        sent = subprocess.run(arguments, check=True, capture_output=True, text=True)
    figures: Figures = json.loads(sent.stdout)
    expected = before + _lines_of(load)
    found = system.settled(load.measurement, load.field, expected)
    return {
        **figures,
        "values_per_second": figures["lines_per_second"] * load.values_a_line,
        "missing": expected - found,
        "cpu_seconds": {name: one.cpu_seconds for name, one in usage.items()},
        "peak_mib": {name: one.peak_mib for name, one in usage.items()},
    }


def _lines_of(load: Load) -> int:
    """How many lines of a load have its measurement."""
    if load.name == "json":
        return sum(count for _, count in saved(load.file))
    prefix = f"{load.measurement},".encode()
    return sum(
        body.count(b"\n" + prefix) + body.startswith(prefix) for body in (bytes(view) for view, _ in saved(load.file))
    )


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
)


def table(figures: Figures) -> str:
    """The figures for people."""
    heads = "".join(f"{title:>11}" for title, _, _ in COLUMNS)
    lines = [f"{'load':8}{'system':18}{heads}  processor seconds and peak MiB of each process"]
    for load in ("steady", "first", "nine", "json", "half"):
        for name, one in figures.get(load, {}).items():
            cells = "".join(f"{format(one[key], form) if key in one else '-':>11}" for _, key, form in COLUMNS)
            lines.append(f"{load:8}{name:18}{cells}  {_processes(one)}")
    shown = ", ".join(f"{ratio:.2f} of {name}" for name, ratio in figures["ratios"].items())
    return "\n".join([*lines, f"tidemark, steady: {shown}"])


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
