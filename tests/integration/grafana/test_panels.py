"""Every statement of the dashboards and alerts, as Grafana sends it, against a month of data, with the role it has."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from psycopg import adapters
from psycopg.conninfo import make_conninfo
from ruamel.yaml import YAML

from bench.macros import RANGES, Panel
from grafana.__main__ import FOLDER
from sql.addresses import GRAFANA
from sql.passwords import give
from tests.conftest import copied
from tests.integration.grafana import fleet
from tests.integration.grafana.work import ROWS, Work, most_pages, work

BOARDS = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(FOLDER.iterdir())}
QUERIES = {
    f"{board}: {panel['title']} {target['refId']}": target
    for board, content in BOARDS.items()
    for panel in content["panels"]
    for target in panel.get("targets", ())
}
TARGETS = {name: target["rawSql"] for name, target in QUERIES.items()} | {
    f"{board}: {annotation['name']}": annotation["target"]["rawSql"]
    for board, content in BOARDS.items()
    for annotation in content["annotations"]["list"]
}
RULES = YAML(typ="safe", pure=True).load(FOLDER.parent / "provisioning" / "alerting" / "rules.yaml")["groups"][0][
    "rules"
]


VARIABLES: dict[str, str | Sequence[str]] = {"host": fleet.HOSTS[1], "measurement": ["cpu", "mem"]}


KINDS = {
    **{adapters.types[name].oid: "number" for name in ("float8", "int8", "int4")},
    adapters.types["text"].oid: "text",
    adapters.types["timestamptz"].oid: "time",
}
"""What Grafana makes of the types of columns."""


class Grafana:
    """A connection as Grafana's, and the moment at which its range ends."""

    def __init__(self, connection: psycopg.Connection, owner: str, now: datetime) -> None:
        self._connection = connection
        self.owner = owner
        self.now = now

    def ask(
        self,
        sql: str,
        span: timedelta = timedelta(hours=6),
        interval: str = "10s",
        ahead: timedelta = timedelta(0),
        variables: Mapping[str, str | Sequence[str]] = VARIABLES,
    ) -> Any:
        """The column names and the rows of a statement, over a range that ends `ahead` of now."""
        columns, rows = self.described(Panel(self.now - span, self.now + ahead, interval, variables).expand(sql))
        return list(columns), rows

    def described(self, statement: str) -> tuple[dict[str, int], list[tuple[Any, ...]]]:
        """The columns of an expanded statement with their types, and its rows."""
        cursor = self._connection.execute(statement.encode())
        return {column.name: column.type_code for column in cursor.description or ()}, cursor.fetchall()

    def work(self, sql: str, span: str) -> tuple[Work, int]:
        """What a statement reads over a range, and how many pages it may."""
        length, interval = RANGES[span]
        statement = Panel(self.now - length, self.now, interval, VARIABLES).expand(sql)
        return work(self._connection, statement), most_pages(self._connection, statement)


@pytest.fixture(scope="module")
def grafana(server_url: str, template: str) -> Iterator[Grafana]:
    """Logged in as Grafana does, to a database that has the month."""
    now = datetime.now(UTC)
    password = secrets.token_urlsafe(12)
    with copied(server_url, template) as url:
        give(url, {GRAFANA: password})
        fleet.fill(url, now)
        with psycopg.connect(make_conninfo(url, user=GRAFANA, password=password), autocommit=True) as connection:
            yield Grafana(connection, url, now)


@pytest.mark.parametrize("span", RANGES)
@pytest.mark.parametrize("name", TARGETS)
def test_it_has_rows(grafana: Grafana, name: str, span: str) -> None:
    """Over an hour, a day and a month: rows, with a number in some of them, and in order where they are a series."""
    length, interval = RANGES[span]
    columns, rows = grafana.ask(TARGETS[name], length, interval)
    assert rows
    assert any(
        value is not None for row in rows for value, column in zip(row, columns, strict=True) if column != "time"
    )
    if columns[0] == "time":
        assert [row[0] for row in rows] == sorted(row[0] for row in rows) or len(rows) == 1


@pytest.mark.parametrize("name", [name for name, query in QUERIES.items() if query["format"] == "time_series"])
def test_a_series_can_be_drawn(grafana: Grafana, name: str) -> None:
    """Its rows are what Grafana makes series of: one time in each, texts as labels, and numbers; no label is twice."""
    panel = Panel(grafana.now - timedelta(hours=6), grafana.now, "1m", VARIABLES)
    described, rows = grafana.described(panel.expand(TARGETS[name]))
    kinds = {column: KINDS[code] for column, code in described.items()}
    assert [column for column, kind in kinds.items() if kind == "time"] == ["time"]
    assert "number" in kinds.values()
    keys = [tuple(value for value, kind in zip(row, kinds.values(), strict=True) if kind != "number") for row in rows]
    assert None not in {key for row in keys for key in row}
    assert len(set(keys)) == len(keys) > 0


@pytest.mark.parametrize("name", TARGETS)
def test_it_takes_every_interval(grafana: Grafana, name: str) -> None:
    """Whatever the range and the width of the panel, the interval that Grafana takes for them is one."""
    for interval in ("10ms", "200ms", "1s", "15s", "2m", "20m", "3h", "1d", "7d", "30d", "1y"):
        grafana.ask(f"EXPLAIN {TARGETS[name]}", interval=interval)


@pytest.mark.parametrize("name", [name for name, sql in TARGETS.items() if "${" in sql])
def test_nobody_there_is_no_error(grafana: Grafana, name: str) -> None:
    """A variable without a value, as where nothing is stored yet, finds nothing."""
    grafana.ask(TARGETS[name], variables={"host": "", "measurement": []})


@pytest.mark.parametrize("span", RANGES)
def test_it_is_little_work(grafana: Grafana, span: str) -> None:
    """However fast the machine is, what a panel reads is no more than any of them reads within a second."""
    for name, sql in TARGETS.items():
        done, most = grafana.work(sql, span)
        assert done.pages <= most, name
        assert done.rows <= ROWS, name


@pytest.mark.parametrize("board", BOARDS)
def test_variables_have_values(grafana: Grafana, board: str) -> None:
    """The hosts and the measurements that there are."""
    for variable in BOARDS[board]["templating"]["list"]:
        if variable["type"] == "query":
            _, rows = grafana.ask(variable["query"])
            assert {"host": (fleet.HOSTS[0],), "measurement": ("cpu",)}[variable["name"]] in rows


@pytest.mark.parametrize(
    ("rule", "wrong"),
    [
        ("tidemark-host-silent", {fleet.SILENT}),
        ("tidemark-disk-full", {fleet.FILLING}),
        ("tidemark-job-failing", set()),
    ],
)
def test_an_alert_names_what_is_wrong(grafana: Grafana, rule: str, wrong: set[str]) -> None:
    """And nothing that is well; without background jobs none of them fails."""
    (found,) = [one for one in RULES if one["uid"] == rule]
    asked = found["data"][0]
    span = timedelta(seconds=asked["relativeTimeRange"]["from"])
    panel = Panel(grafana.now - span, grafana.now, "1m", {})
    columns, rows = grafana.described(panel.expand(asked["model"]["rawSql"]))
    *labels, value = (KINDS[code] for code in columns.values())
    assert (set(labels), value) == ({"text"}, "number")  # of other tables Grafana makes no alerts
    assert len({row[:-1] for row in rows}) == len(rows)
    generated = {row[0] for row in rows if row[0].startswith("host_")}
    assert {row[0] for row in rows} - generated == wrong
    assert all(row[-1] > 0 for row in rows)


MENDED = {
    "tidemark-host-silent": """
        INSERT INTO points.mem (time, series_id, used_percent)
        SELECT now(), id, 50 FROM catalog.series WHERE host = %s AND id IN (SELECT series_id FROM points.mem)
    """,
    "tidemark-disk-full": """
        UPDATE points.disk SET free = 1e12 - extract(epoch FROM now() - time) FROM catalog.series s
        WHERE s.id = series_id AND host = %s
    """,
}
"""The host sends again; files were deleted, so that more is free from reading to reading."""


@pytest.mark.parametrize(
    ("rule", "host"), [("tidemark-host-silent", fleet.SILENT), ("tidemark-disk-full", fleet.FILLING)]
)
def test_an_alert_ends_when_its_cause_does(grafana: Grafana, rule: str, host: str) -> None:
    """It names the host before, and not after."""
    (found,) = [one for one in RULES if one["uid"] == rule]
    asked = found["data"][0]
    span = timedelta(seconds=asked["relativeTimeRange"]["from"])
    statement = Panel(grafana.now - span, grafana.now, "1m", {}).expand(asked["model"]["rawSql"]).encode()
    with psycopg.connect(grafana.owner) as connection:
        assert host in {row[0] for row in connection.execute(statement).fetchall()}
        connection.execute(MENDED[rule].encode(), (host,))
        assert host not in {row[0] for row in connection.execute(statement).fetchall()}
        connection.rollback()


def test_quantiles_are_those_of_what_was_observed(grafana: Grafana) -> None:
    """Of 2, 30, 30, 400 ms and 20 s in each reading: within the median's bucket, and the last bound for p99."""
    _, rows = grafana.ask(TARGETS["tidemark: Committed within A"], timedelta(minutes=50), "1m")
    assert all(0.025 <= median <= 0.05 and highest == 10 for _, median, highest in rows)
    assert len(rows) > 40


def test_rates_are_increases_a_second(grafana: Grafana) -> None:
    """Ten points a reading, a reading a minute."""
    _, rows = grafana.ask(TARGETS["tidemark: Points by fate A"], timedelta(minutes=50), "1m")
    assert {round(value, 6) for _, _, *fates in rows for value in fates} == {round(10 / 60, 6)}


@pytest.mark.parametrize("ahead", [timedelta(0), timedelta(days=30), timedelta(days=60)])
def test_a_forecast_goes_on_to_the_end_of_the_range(grafana: Grafana, ahead: timedelta) -> None:
    """From 40 to 80 percent in ninety days: as straight as it was, and no further than to the brim."""
    sql = TARGETS["host: Full, and where it goes B"]
    _, rows = grafana.ask(sql, timedelta(days=30), "30m", ahead)
    assert all(metric.endswith(" forecast") for _, metric, _ in rows)
    last, _, value = rows[-1]
    assert value == pytest.approx(80 + 40 * (last - grafana.now) / timedelta(days=90), abs=0.1)
    if ahead < timedelta(days=45):
        assert last == grafana.now + ahead
    else:
        assert value > 95
