"""The spool at work: how fast is it filled while the database is away, and drained when it is back?

    python -m bench.drain [--lines 1000000] [--fresh-lines-per-second 20000] [--fresh-seconds 8]

Every line is of ten fields. While the spool is drained, fresh lines are sent at a steady rate: how long do they take to
be acknowledged? Prints a few lines, and one of JSON; counts in the end what is missing.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import time
import urllib.request
from typing import Any

import psycopg
from prometheus_client.parser import text_string_to_metric_families
from psycopg import sql

from bench import generate, systems
from bench.generate import CPU_FIELDS, READING_SECONDS
from bench.ingest import CONNECTIONS, START, WARM_READINGS, Load, Server, embedded, make_load
from service.settings import MEBIBYTES, home

DATABASE = "drain"
POLL_SECONDS = 0.05
DEADLINE_SECONDS = 300


def main() -> None:
    """Fill, drain, and print the figures."""
    parser = argparse.ArgumentParser(description="Measure the spool.")
    parser.add_argument("--hosts", type=int, default=1000)
    parser.add_argument("--lines", type=int, default=1_000_000)
    parser.add_argument("--fresh-lines-per-second", type=float, default=20_000)
    parser.add_argument("--fresh-seconds", type=float, default=8)
    chosen = parser.parse_args()
    folder = home() / "bench" / "drain"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        cpu = generate.cpu_only(chosen.hosts)
        warm = make_load(folder, "warm", cpu, START, WARM_READINGS)
        began = START + WARM_READINGS * READING_SECONDS
        readings = chosen.lines // chosen.hosts
        spooled = make_load(folder, "spooled", cpu, began, readings)
        fresh_lines = chosen.fresh_lines_per_second * chosen.fresh_seconds
        fresh = make_load(folder, "fresh", cpu, began + readings * READING_SECONDS, int(fresh_lines / chosen.hosts))
        with embedded(folder / "home") as server:
            figures = measure(server, warm, spooled, fresh, chosen.fresh_lines_per_second)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(
        f"spooled {figures['spooled_lines_per_second']:,.0f} lines/s; drained {figures['lines']:,} lines in "
        f"{figures['drain_seconds']:.1f} s, {figures['drained_lines_per_second']:,.0f} lines/s; meanwhile fresh lines "
        f"were acknowledged in {figures['fresh_ack_p50_ms']:.0f} ms (p50), {figures['fresh_ack_p99_ms']:.0f} ms (p99)"
    )
    print(json.dumps(figures))


def measure(server: Server, warm: Load, spooled: Load, fresh: Load, lines_per_second: float) -> dict[str, Any]:
    """All figures."""
    url = server.database(DATABASE)
    with systems.tidemark(url, server.postmaster) as system:
        send(system, warm).wait()
        before = system.count("cpu", CPU_FIELDS[0])
        let_in(server.url, is_allowed=False)
        filled = result(send(system, spooled))
        mebibytes = instrument(system, "ingest_spool_bytes") / MEBIBYTES
        let_in(server.url, is_allowed=True)
        began = time.monotonic()
        sender = send(system, fresh, f"--lines-per-second={lines_per_second}")
        until_drained(system)
        seconds = time.monotonic() - began
        acks = result(sender)
        expected = before + spooled.rows + fresh.rows
        missing = expected - system.settled("cpu", CPU_FIELDS[0], expected)
        if acks["statuses"].keys() != {"204"}:
            raise SystemExit(f"fresh lines were answered with {acks['statuses']}")
    return {
        "lines": spooled.rows,
        "spooled_lines_per_second": filled["lines_per_second"],
        "spool_mib": mebibytes,
        "drain_seconds": seconds,
        "drained_lines_per_second": spooled.rows / seconds,
        "fresh_lines_per_second": acks["lines_per_second"],
        "fresh_ack_p50_ms": acks["ack_p50_ms"],
        "fresh_ack_p99_ms": acks["ack_p99_ms"],
        "missing": missing,
    }


def send(system: systems.System, load: Load, *options: str) -> subprocess.Popen[str]:
    """Send a load, in a process of its own."""
    arguments = ["-m", "bench.load", system.write_url, str(load.file), f"--connections={CONNECTIONS}", *options]
    return subprocess.Popen([sys.executable, *arguments], stdout=subprocess.PIPE, text=True)


def result(sender: subprocess.Popen[str]) -> dict[str, Any]:
    """What the loader tells when it is done."""
    output, _ = sender.communicate()
    if sender.returncode:
        raise SystemExit(f"{sender.args!r} ended with {sender.returncode}")
    figures: dict[str, Any] = json.loads(output)
    return figures


def let_in(url: str, *, is_allowed: bool) -> None:
    """Let the database take connections, or take none and cut those that it has."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS {}").format(sql.Identifier(DATABASE), sql.Literal(is_allowed))
        )
        if not is_allowed:
            connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [DATABASE])


def until_drained(system: systems.System) -> None:
    """Wait until nothing is in the spool."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while instrument(system, "ingest_spool_entries"):
        if time.monotonic() > deadline:
            raise SystemExit(f"the spool was not drained within {DEADLINE_SECONDS} s")
        time.sleep(POLL_SECONDS)


def instrument(system: systems.System, name: str) -> float:
    """An instrument of the spool, of what waits in it."""
    url = system.write_url.replace("/write", "/metrics")
    with urllib.request.urlopen(url, timeout=60) as answer:  # noqa: S310 - our own loopback address
        families = text_string_to_metric_families(answer.read().decode())
    return sum(
        sample.value
        for family in families
        for sample in family.samples
        if sample.name == name and sample.labels.get("kind") == "waiting"
    )


if __name__ == "__main__":
    main()
