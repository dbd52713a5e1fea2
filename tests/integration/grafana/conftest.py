"""A fleet's database, once for all tests of it."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from datetime import UTC, datetime

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from sql.addresses import GRAFANA
from sql.passwords import give
from tests.conftest import copied
from tests.integration.grafana import fleet
from tests.integration.grafana.boards import Grafana


@pytest.fixture(scope="package")
def grafana(server_url: str, template: str) -> Iterator[Grafana]:
    """Logged in as Grafana does, to a database that has the ninety days."""
    now = datetime.now(UTC)
    password = secrets.token_urlsafe(12)
    with copied(server_url, template) as url:
        give(url, {GRAFANA: password})
        fleet.fill(url, now)
        with psycopg.connect(make_conninfo(url, user=GRAFANA, password=password), autocommit=True) as connection:
            yield Grafana(connection, url, now)
