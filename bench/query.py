"""Measures reading: Tidemark's API against psql with the best SQL, VictoriaMetrics and InfluxDB, in one run.

    python -m bench.query [--hosts 1000] [--hours 72] [--light 50] [--heavy 5] [--pause 0] [--json FILE]

All hold the same lines, and are asked the same questions of `bench.questions`, each question of a kind about its own
hosts and times: all questions of a kind in a row, one system after the other, as TSBS does. What is told is the median,
in milliseconds, until the whole answer was there. *cold* is the first time that a question is asked, with no cache of
answers, *again* the same question once more, with one. With `--pause` there are so many seconds before each question:
processors sleep by then, and must be woken at every step on an answer's way. Before the questions of a kind comes one
more, which is not counted: the answers to it are compared, cell by cell. With `DATABASE_URL` Tidemark's database is a
new one on that server, which may be of the community edition: then it is compressed and rolled up before it is asked.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

from bench import generate, systems
from bench.asked import Asked, Cells, InfluxDB, Psql, Tidemark, VictoriaMetrics
from bench.generate import READING_SECONDS
from bench.ingest import CONNECTIONS, START, Server, embedded, make_load
from bench.questions import HOUR, Data, Kind, Question, Window, kinds
from bench.storage import COMPRESS, REFRESH, run_jobs
from service.settings import home
from sql import engine

SLICE_HOURS = 3
"""How much is generated at a time."""
TOLERANCE = 1e-9
ROOM = {"QUERY_STATEMENT_TIMEOUT_SECONDS": "300"}
"""For the longest questions."""
Figures = dict[str, Any]


@dataclass(frozen=True)
class Options:
    """What is measured."""

    data: Data
    light: int
    heavy: int
    peers: bool
    pause: float
    """Seconds before each question."""

    def times(self, kind: Kind) -> int:
        """How many questions of a kind."""
        return self.heavy if kind.is_heavy else self.light


def main() -> None:
    """Measure, print the table and the JSON."""
    parser = argparse.ArgumentParser(description="Measure reading against psql and against peers.")
    parser.add_argument("--hosts", type=int, default=1000)
    parser.add_argument("--hours", type=int, default=72)
    parser.add_argument("--light", type=int, default=50, help="questions of each kind about a few hosts")
    parser.add_argument("--heavy", type=int, default=5, help="questions of each kind about all hosts")
    parser.add_argument("--pause", type=float, default=0, help="seconds before each question")
    parser.add_argument("--without-peers", action="store_true", help="leave the peers out")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    chosen = parser.parse_args()
    data = Data(START, START + chosen.hours * HOUR, chosen.hosts)
    options = Options(data, chosen.light, chosen.heavy, peers=not chosen.without_peers, pause=chosen.pause)
    folder = home() / "bench" / "query"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        with _server(folder) as server:
            figures = measure(server, folder, options)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(table(figures))
    print(json.dumps(figures))
    if chosen.json:
        chosen.json.write_text(json.dumps(figures, indent=2) + "\n")


@contextmanager
def _server(folder: Path) -> Iterator[Server]:
    if url := os.environ.get("DATABASE_URL"):
        yield Server(url, os.getpid())
    else:
        with embedded(folder / "home") as server:
            yield server


def measure(server: Server, folder: Path, options: Options) -> Figures:
    """All figures, by kind and by who was asked."""
    url = server.database("bench_query")
    with ExitStack() as stack:
        found: list[systems.System] = [stack.enter_context(systems.tidemark(url, server.postmaster))]
        asked: list[Asked] = []
        if options.peers:
            victoria = stack.enter_context(systems.victoria_metrics(folder / "victoria-metrics"))
            influx = stack.enter_context(systems.influxdb(folder / "influxdb"))
            found += [victoria, influx]
            asked = [
                VictoriaMetrics("victoria-metrics cold", victoria.port, cached=False),
                VictoriaMetrics("victoria-metrics again", victoria.port, cached=True),
                InfluxDB("influxdb", influx.port),
            ]
        fill(found, folder, options.data)
        state = settle(url)
        cold = stack.enter_context(systems.query(url, QUERY_CACHE="off", **ROOM))
        again = stack.enter_context(systems.query(url, **ROOM))
        psql = engine.find(home() / "engine", _say).programs / "psql"
        asked = [Psql(psql, url), Tidemark("tidemark cold", cold), Tidemark("tidemark again", again), *asked]
        figures: Figures = {"hosts": options.data.hosts, "seconds": options.data.end - options.data.start, **state}
        figures["kinds"] = {kind.name: of_kind(kind, options, asked) for kind in kinds()}
    return figures


def settle(url: str) -> Figures:
    """Bring a database that was filled at once to where it would have come by itself; what the server is."""
    with psycopg.connect(url, autocommit=True) as connection:
        row = connection.execute("SELECT catalog.edition()").fetchone()
        assert row is not None
        edition: Figures = row[0]
        if edition["edition"] == "community":
            _say("rolling up and compressing")
            edition["refresh_seconds"] = run_jobs(connection, "cpu", REFRESH)
            edition["compress_seconds"] = run_jobs(connection, "cpu", COMPRESS)
        connection.execute("VACUUM (ANALYZE)")
    return edition


def fill(found: Sequence[systems.System], folder: Path, data: Data) -> None:
    """Give all of them the same lines."""
    cpu = generate.cpu_only(data.hosts)
    for start in range(data.start, data.end, SLICE_HOURS * HOUR):
        length = min(SLICE_HOURS * HOUR, data.end - start)
        load = make_load(folder, "slice", cpu, start, length // READING_SECONDS)
        _say(f"{load.rows} lines, {(start + length - data.start) // HOUR} of {(data.end - data.start) // HOUR} hours")
        for system in found:
            arguments = ["-m", "bench.load", system.write_url, str(load.file), f"--connections={CONNECTIONS}"]
            subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
    expected = data.hosts * (data.end - data.start) // READING_SECONDS
    for system in found:
        if (stored := system.settled("cpu", generate.CPU_FIELDS[0], expected)) != expected:
            raise SystemExit(f"{system.name} has {stored} of {expected} lines")


def of_kind(kind: Kind, options: Options, asked: Sequence[Asked]) -> Figures:
    """Ask everybody the same questions: the medians in milliseconds, and whether the answers agree."""
    chance = random.Random(kind.name)
    first, *questions = [kind.make(chance, options.data) for _ in range(options.times(kind) + 1)]
    ms: dict[str, float] = {}
    answers: dict[str, Cells] = {}
    for one in asked:
        _, answer = one.ask(first)
        if one.is_compared:
            answers[one.name] = one.cells(first, answer)
        ms[one.name] = statistics.median(in_a_row(one, questions, options.pause)) * 1000
    different: list[str] = []
    for other, cells in answers.items():
        within = first.whole if other.startswith("victoria") else None
        if fault := difference(answers["psql"], cells, within):
            different.append(f"{other}: {fault}")
    _say(f"{kind.name}: " + ", ".join(f"{name} {one:.1f}" for name, one in ms.items()))
    return {"ms": ms, "different": different}


def in_a_row(one: Asked, questions: Sequence[Question], pause: float) -> list[float]:
    """Put questions to one: the seconds that each took."""
    seconds: list[float] = []
    for question in questions:
        if one.name.endswith("again"):
            one.ask(question)
        time.sleep(pause)
        seconds.append(one.ask(question)[0])
    return seconds


def difference(wanted: Cells, found: Cells, within: Window | None) -> str | None:
    """The first cell that differs, None when all agree; only the moments in `within` count, where that is given."""
    if within is not None:
        wanted, found = (
            {key: value for key, value in cells.items() if within.start <= key[1] < within.end}
            for cells in (wanted, found)
        )
    if not wanted:
        return "there is nothing to compare"
    if apart := wanted.keys() ^ found.keys():
        return f"{len(apart)} of {len(wanted)} cells are only on one side, as {next(iter(apart))}"
    for key, value in wanted.items():
        if not math.isclose(value, found[key], rel_tol=TOLERANCE):
            return f"{key} is {found[key]}, and not {value}"
    return None


def table(figures: Figures) -> str:
    """The figures for people."""
    names = list(next(iter(figures["kinds"].values()))["ms"])
    lines = [f"{'median ms':24}" + "".join(f"{name:>24}" for name in names) + f"{'cold / psql':>14}"]
    for kind, one in figures["kinds"].items():
        cells = "".join(f"{one['ms'][name]:>24.1f}" for name in names)
        lines.append(f"{kind:24}{cells}{one['ms']['tidemark cold'] / one['ms']['psql']:>14.2f}")
        lines += [f"    the answers differ: {text}" for text in one["different"]]
    return "\n".join(lines)


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")


if __name__ == "__main__":
    main()
