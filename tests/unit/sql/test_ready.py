from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import SecretStr

from sql import addresses, ready
from sql.migrate import Outcome
from sql.settings import Services


def outcome(edition: str) -> Outcome:
    """What a migration on a server of that edition tells."""
    versions = {"timescaledb": "2.19.3", "postgresql": "17.12 (Debian 17.12-0+deb13u1)"}
    return Outcome((), 3, {"edition": edition, **versions})


def test_the_edition_says_what_it_cannot_do() -> None:
    """The Apache edition has neither compression nor rollups."""
    apache, community = (ready.edition_line(outcome(edition)) for edition in ("apache", "community"))
    assert apache == "2.19.3, Apache edition, on PostgreSQL 17.12: no compression and no rollups"
    assert community == "2.19.3, Community edition, on PostgreSQL 17.12"


def test_the_banner_of_an_embedded_database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its address is shown whole: the password was made up here, for whoever reads this."""
    monkeypatch.delenv("DATABASE_URL", raising=False)
    monkeypatch.delenv("QUERY_DATABASE_URL", raising=False)
    embedded = addresses.create(5000)
    addresses.save(embedded, tmp_path / addresses.FILE)
    settings = Services(home=tmp_path, INGEST_PORT=9001, QUERY_PORT=9002, QUERY_HOST="0.0.0.0")
    lines = ready.banner(settings, outcome("apache"))
    assert f"  SQL          psql '{embedded.url('query')}'" in lines
    assert "  push to      http://127.0.0.1:9001" in lines
    assert "  ask          http://127.0.0.1:9002" in lines
    assert any("curl '127.0.0.1:9002/api/v1/aggregate?" in line for line in lines)


def test_the_banner_of_a_users_server(tmp_path: Path) -> None:
    """Its password is not for showing."""
    settings = Services(home=tmp_path, DATABASE_URL=SecretStr("postgresql://me:secret@db/metrics"))
    banner = "\n".join(ready.banner(settings, outcome("apache")))
    assert "psql 'postgresql://me@db/metrics?options=" in banner
    assert "secret" not in banner


@pytest.mark.parametrize(
    ("host", "shown"),
    [("127.0.0.1", "127.0.0.1:1"), ("0.0.0.0", "127.0.0.1:1"), ("::", "[::1]:1"), ("metrics.lan", "metrics.lan:1")],
)
def test_where_a_service_is_reached(host: str, shown: str) -> None:
    """One that listens everywhere is reached on the loopback interface."""
    assert ready.place(host, 1) == shown
