"""The address of a database: what every driver reads alike is taken, and nothing else."""

from __future__ import annotations

import pytest

from service.database_url import is_database_url


@pytest.mark.parametrize(
    "address",
    [
        "postgresql://me:secret@db:5432/metrics",
        "postgres://me@db/metrics",
        "postgresql://db",
        "postgresql:///metrics",
        "postgresql://me:a:b%40c%2Fd%25@127.0.0.1/metrics",
        "postgresql://me:secret@[::1]:5432/metrics",
        "postgresql://me@one:5432,two,[::1]:5433/metrics?target_session_attrs=read-write",
        "postgresql://me@/metrics?host=/var/run/postgresql&password=a@b",
        "postgresql://me@db/metrics?options=-c%20work_mem%3D64MB&sslmode=verify-full",
    ],
)
def test_addresses_are_taken(address: str) -> None:
    """With and without each part, with several hosts, and with the signs of a password encoded."""
    assert is_database_url(address)


@pytest.mark.parametrize(
    "address",
    [
        "",
        " ",
        "rubbish",
        "mysql://me:secret@db/metrics",
        "host=db password=secret",
        "postgresql://me:sec@ret@db/metrics",
        "postgresql://me:sec/ret@db/metrics",
        "postgresql://me:12/ret@db/metrics",
        "postgresql://me:sec?ret@db/metrics",
        "postgresql://me:sec#ret@db/metrics",
        "postgresql://me:sec%ret@db/metrics",
        "postgresql://me:secret@db:port/metrics",
        "postgresql://me:secret@db:0/metrics",
        "postgresql://me:secret@db:65536/metrics",
        "postgresql://me:secret@one:1,two:99999/metrics",
        "postgresql://me:secret@[db/metrics",
    ],
)
def test_others_are_refused(address: str) -> None:
    """Of other forms, and of passwords a part of which some driver would take for a host, a port or a database."""
    assert not is_database_url(address)
