"""Every statement of the dashboards and alerts, as Grafana sends it, against a month of data, with the role it has."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
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
TARGETS = {
    f"{board}: {panel['title']} {target['refId']}": target["rawSql"]
    for board, content in BOARDS.items()
    for panel in content["panels"]
    for target in panel.get("targets", ())
} | {
    f"{board}: {annotation['name']}": annotation["target"]["rawSql"]
    for board, content in BOARDS.items()
    for annotation in content["annotations"]["list"]
}
RULES = YAML(typ="safe", pure=True).load(FOLDER.parent / "provisioning" / "alerting" / "rules.yaml")["groups"][0][
    "rules"
]


VARIABLES = {"host": [fleet.HOSTS[1]], "measurement": ["cpu", "mem"]}


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
        **variables: list[str],
    ) -> Any:
        """The column names and the rows of a statement, over a range that ends `ahead` of now."""
        panel = Panel(self.now - span, self.now + ahead, interval, variables)
        cursor = self._connection.execute(panel.expand(sql).encode())
        return [column.name for column in cursor.description or ()], cursor.fetchall()

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
    columns, rows = grafana.ask(TARGETS[name], length, interval, timedelta(0), **VARIABLES)
    assert rows
    assert any(
        value is not None for row in rows for value, column in zip(row, columns, strict=True) if column != "time"
    )
    if columns[0] == "time":
        assert [row[0] for row in rows] == sorted(row[0] for row in rows) or len(rows) == 1


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
    columns, rows = grafana.ask(asked["model"]["rawSql"], span)
    assert columns[-1] == "value"
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
    _, rows = grafana.ask(sql, timedelta(days=30), "30m", ahead, host=[fleet.HOSTS[1]])
    assert all(metric.endswith(" forecast") for _, metric, _ in rows)
    last, _, value = rows[-1]
    assert value == pytest.approx(80 + 40 * (last - grafana.now) / timedelta(days=90), abs=0.1)
    if ahead < timedelta(days=45):
        assert last == grafana.now + ahead
    else:
        assert value > 95
