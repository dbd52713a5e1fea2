"""The statements of the alert rules: they name what is wrong while it is, as tables that Grafana makes alerts of."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import psutil
import psycopg
import pytest

from ingest.agent.storage import disk_tags, disk_usage
from tests.integration.grafana import fleet
from tests.integration.grafana.boards import KINDS, RULES, Grafana, alert
from tests.small_disk import PIECE_BYTES, fill

SEEN = """
    INSERT INTO points.mem (time, series_id, used_percent)
    SELECT now(), id, 50 FROM catalog.series WHERE host = %s AND id IN (SELECT series_id FROM points.mem)
"""
DELETED = """
    UPDATE points.disk SET free = 1e12 - extract(epoch FROM now() - time) FROM catalog.series s
    WHERE s.id = series_id AND host = %s
"""
DAY_SECONDS = 86_400
READINGS = 8
AFTERWARDS = 64
"""How many readings later what was deleted is noticed at the latest."""


@pytest.fixture
def owner(grafana: Grafana) -> Iterator[psycopg.Connection]:
    """A transaction of the database's owner in which the fleet sends as ever; undone after the test."""
    with psycopg.connect(grafana.owner) as connection:
        for host in fleet.HOSTS:
            connection.execute(SEEN, (host,))
        yield connection
        connection.rollback()


@pytest.mark.parametrize("rule", RULES)
def test_grafana_makes_alerts_of_it(grafana: Grafana, rule: str) -> None:
    """Each row is one: its texts are the labels, which no other has, and it has one number, which is above zero."""
    columns, rows = grafana.described(alert(rule, grafana.now))
    *labels, value = (KINDS[code] for code in columns.values())
    assert (set(labels), value) == ({"text"}, "number")
    assert len({row[:-1] for row in rows}) == len(rows)
    assert all(row[-1] > 0 for row in rows)


@pytest.mark.parametrize(
    ("rule", "wrong"),
    [
        ("tidemark-host-silent", {fleet.SILENT}),
        ("tidemark-disk-full", {fleet.FILLING}),
        ("tidemark-job-failing", set()),
    ],
)
def test_an_alert_names_what_is_wrong(owner: psycopg.Connection, grafana: Grafana, rule: str, wrong: set[str]) -> None:
    """And nothing that is well; without background jobs none of them fails."""
    names = {row[0] for row in owner.execute(alert(rule, grafana.now).encode()).fetchall()}
    assert {name for name in names if not name.startswith("host_")} == wrong


@pytest.mark.parametrize(
    ("rule", "host", "mended"),
    [("tidemark-host-silent", fleet.SILENT, SEEN), ("tidemark-disk-full", fleet.FILLING, DELETED)],
)
def test_an_alert_ends_when_its_cause_does(
    owner: psycopg.Connection, grafana: Grafana, rule: str, host: str, mended: str
) -> None:
    """It names the host before, and not after: it sends again, or files were deleted from reading to reading."""
    statement = alert(rule, grafana.now).encode()
    assert host in {row[0] for row in owner.execute(statement).fetchall()}
    owner.execute(mended.encode(), (host,))
    assert host not in {row[0] for row in owner.execute(statement).fetchall()}


def test_a_real_disk_that_fills(owner: psycopg.Connection, disk: Path) -> None:
    """As the agent reads it: soon full while it fills, full when it is, and well some time after files were deleted."""
    assert read(owner, disk) is None
    with (disk / "growing").open("wb", buffering=0) as stream:
        for _ in range(READINGS):
            stream.write(bytes(PIECE_BYTES))
            soon = read(owner, disk)
            assert soon is not None
            assert 0 < soon < DAY_SECONDS
    fill(disk / "ballast")
    assert read(owner, disk) == 1
    (disk / "growing").unlink()
    (disk / "ballast").unlink()
    assert any(read(owner, disk) is None for _ in range(AFTERWARDS))


def read(connection: psycopg.Connection, disk: Path) -> float | None:
    """Store a reading of a disk, and tell in how many seconds the alert sees it full."""
    (mount,) = [one for one in psutil.disk_partitions(all=True) if one.mountpoint == str(disk)]
    tags = {**disk_tags(mount), "host": "real"}
    fleet.store_rows(connection, "disk", [fleet.Row(datetime.now(UTC), tags, disk_usage(os.statvfs(disk)))])
    rows = connection.execute(alert("tidemark-disk-full", datetime.now(UTC)).encode()).fetchall()
    return {(host, path): value for host, path, value in rows}.get(("real", str(disk)))
