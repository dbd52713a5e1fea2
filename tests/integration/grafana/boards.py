"""What the dashboards and the alert rules ask, and a connection that asks it as Grafana does."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import psycopg
from psycopg import adapters
from ruamel.yaml import YAML

from bench.macros import RANGES, Panel
from grafana.__main__ import FOLDER
from tests.integration.grafana import fleet
from tests.integration.grafana.work import Work, most_pages, work

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
LISTS = {
    variable["name"]: variable["query"]
    for content in BOARDS.values()
    for variable in content["templating"]["list"]
    if variable["type"] == "query"
}
"""What variables may be, by their names."""
ONE_OF = {"host": fleet.HOSTS[1], "measurement": "cpu"}
VARIABLES: dict[str, str | Sequence[str]] = {"host": fleet.HOSTS[1], "measurement": ["cpu", "mem"]}
RULES = {
    rule["uid"]: rule["data"][0]
    for rule in YAML(typ="safe", pure=True).load(FOLDER.parent / "provisioning" / "alerting" / "rules.yaml")["groups"][
        0
    ]["rules"]
}
"""The queries of the alert rules."""
KINDS = {
    **{adapters.types[name].oid: "number" for name in ("float8", "int8", "int4")},
    adapters.types["text"].oid: "text",
    adapters.types["timestamptz"].oid: "time",
}
"""What Grafana makes of the types of columns."""


def alert(rule: str, now: datetime) -> str:
    """The statement of an alert rule."""
    asked = RULES[rule]
    span = timedelta(seconds=asked["relativeTimeRange"]["from"])
    return Panel(now - span, now, "1m", {}).expand(asked["model"]["rawSql"])


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
