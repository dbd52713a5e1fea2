"""Who is asked: each puts a question its own way, and its answer becomes *cells*: (host, moment, field) and a number.

The host is empty where all are taken together, the moment is 0 where the answer has none.
"""

from __future__ import annotations

import http.client
import json
import re
import subprocess
import time
from abc import ABC, abstractmethod
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import psycopg

from bench.questions import Question

Cells = dict[tuple[str, int, str], float]
TIMING = re.compile(rb"^Time: ([0-9.]+) ms", re.MULTILINE)
ANSWER_SECONDS = 300


class Asked(ABC):
    """One that answers questions."""

    name: str
    is_compared = True
    """Whether its answers are to the question as it was put."""

    @abstractmethod
    def ask(self, question: Question) -> tuple[float, Any]:
        """Seconds until the whole answer was there, and the answer as it came."""

    @abstractmethod
    def cells(self, question: Question, answer: Any) -> Cells:
        """What an answer says."""


class OverHttp(Asked):
    """One that is asked over HTTP, on a connection that stays."""

    def __init__(self, name: str, port: int) -> None:
        self.name = name
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=ANSWER_SECONDS)

    @abstractmethod
    def target(self, question: Question) -> str:
        """The path and the query string."""

    def ask(self, question: Question) -> tuple[float, bytes]:
        """Ask and read to the end; once more where the connection was closed: VictoriaMetrics does so with old ones."""
        target = self.target(question)
        try:
            return self._ask(target)
        except http.client.RemoteDisconnected:
            self._connection.close()
            return self._ask(target)

    def _ask(self, target: str) -> tuple[float, bytes]:
        began = time.perf_counter()
        self._connection.request("GET", target)
        answer = self._connection.getresponse()
        body = answer.read()
        seconds = time.perf_counter() - began
        if answer.status != 200:
            raise SystemExit(f"{self.name}: {target[:300]}: {answer.status} {body[:500]!r}")
        return seconds, body


class Tidemark(OverHttp):
    """Our API."""

    def target(self, question: Question) -> str:
        """As a script would ask."""
        return f"{question.path}?{urlencode(question.params)}"

    def cells(self, question: Question, answer: bytes) -> Cells:
        """Of an aggregate, or of points."""
        told = json.loads(answer)
        if question.path.endswith("aggregate"):
            return _of_aggregate(told)
        return _of_points(told) if question.path.endswith("points") else _of_last(told)


class VictoriaMetrics(OverHttp):
    """MetricsQL, with its cache of answers or without."""

    def __init__(self, name: str, port: int, *, cached: bool) -> None:
        super().__init__(name, port)
        self._cached = cached
        self.is_compared = not cached  # with its cache it moves the times to multiples of the step

    def target(self, question: Question) -> str:
        """A range query."""
        prom = question.prom
        params = {
            "query": prom.query,
            "start": f"{prom.start:.3f}",
            "end": f"{prom.end:.3f}",
            "step": f"{prom.step}s",
        }
        if not self._cached:
            params["nocache"] = "1"
        return f"/api/v1/query_range?{urlencode(params)}"

    def cells(self, question: Question, answer: bytes) -> Cells:
        """The moments are those of evaluation, as Prometheus has them."""
        found: Cells = {}
        for series in json.loads(answer)["data"]["result"]:
            name = series["metric"]["__name__"].removeprefix("cpu_")
            for moment, value in series["values"]:
                place = round(moment) - question.prom.shift if question.has_moments else 0
                found[(series["metric"].get("hostname", ""), place, name)] = float(value)
        return found


class InfluxDB(OverHttp):
    """InfluxQL."""

    def target(self, question: Question) -> str:
        """A query with times in seconds."""
        return f"/query?{urlencode({'db': 'bench', 'epoch': 's', 'q': question.influx})}"

    def cells(self, question: Question, answer: bytes) -> Cells:
        """The columns are the time, then the fields in the order in which they were asked for."""
        found: Cells = {}
        for series in json.loads(answer)["results"][0].get("series", []):
            host = series.get("tags", {}).get("hostname", "")
            for moment, *values in series["values"]:
                place = moment if question.has_moments else 0
                for name, value in zip(question.fields, values, strict=True):
                    if value is not None:
                        found[(host, place, name)] = float(value)
        return found


class Psql(Asked):
    """PostgreSQL's own client, on one connection that stays, timed by itself."""

    name = "psql"

    def __init__(self, program: Path, url: str) -> None:
        self._program = program
        self._url = url

    def ask(self, question: Question) -> tuple[float, None]:
        """Run it twice on a new connection; the second time is told, when the catalog has been read."""
        text = question.statement.as_string()
        script = f"\\o /dev/null\n{text};\n\\timing on\n{text};\n"
        done = subprocess.run(
            [self._program, "--no-psqlrc", "--quiet", self._url],
            input=script.encode(),
            capture_output=True,
            check=True,
            timeout=ANSWER_SECONDS,
        )
        if done.stderr:
            raise SystemExit(f"psql: {done.stderr.decode()}")
        return float(TIMING.findall(done.stdout)[-1]) / 1000, None

    def cells(self, question: Question, answer: None) -> Cells:  # noqa: ARG002
        """psql prints for people: the rows are read by a driver, outside the time."""
        found: Cells = {}
        with psycopg.connect(self._url) as connection:
            cursor = connection.execute(question.statement)
            assert cursor.description is not None
            names = [column.name for column in cursor.description]
            for row in cursor:
                told = dict(zip(names, row, strict=True))
                host, moment = told.pop("host", ""), told.pop("t", 0)
                key = (host, moment if question.has_moments else 0)
                found |= {(*key, name): float(value) for name, value in told.items() if value is not None}
        return found


def _of_aggregate(told: Any) -> Cells:
    found: Cells = {}
    names = [metric.removeprefix("cpu.") for metric in told["metric"]]
    for series in told["series"]:
        host = series["tags"].get("host", "")
        if "points" in series:
            for moment, *values in series["points"]:
                key = (host, _seconds(moment))
                found |= {(*key, name): value for name, value in zip(names, values, strict=True) if value is not None}
        elif "value" in series:
            found[(host, 0, names[0])] = series["value"]
        else:
            for name in names:
                found[(host, 0, name)] = series["values"][f"cpu.{name}"][told["fn"][0]]
    return found


def _of_points(told: Any) -> Cells:
    found: Cells = {}
    time, host = told["columns"].index("time"), told["columns"].index("host")
    names = told["columns"][host + 1 :]
    for row in told["points"]:
        key = (row[host], _seconds(row[time]))
        found |= {(*key, name): value for name, value in zip(names, row[host + 1 :], strict=True) if value is not None}
    return found


def _of_last(told: Any) -> Cells:
    return {(series["host"], 0, name): value for series in told["series"] for name, value in series["fields"].items()}


def _seconds(moment: str) -> int:
    return round(datetime.fromisoformat(moment).timestamp())
