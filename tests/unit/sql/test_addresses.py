from __future__ import annotations

from pathlib import Path

import pytest
from psycopg.conninfo import conninfo_to_dict

from sql import addresses
from sql.addresses import Addresses, Role


def test_new_passwords_are_long_and_of_one_use() -> None:
    """No two roles and no two databases share one."""
    made = [addresses.create(5000) for _ in range(2)]
    passwords = [password for each in made for password in each.passwords.values()]
    assert len(set(passwords)) == 6
    assert min(map(len, passwords)) >= 32


def test_what_was_saved_is_loaded(tmp_path: Path) -> None:
    """Passwords of any characters come back; the port is the one of this start."""
    file = tmp_path / addresses.FILE
    passwords: dict[Role, str] = {"owner": "p@ss/w:rd?#%=", "ingest": "ü b", "query": "plain"}
    addresses.save(Addresses(5000, passwords), file)
    assert addresses.load(file, 6000) == Addresses(6000, passwords)


def test_the_file_is_for_its_owner_alone(tmp_path: Path) -> None:
    """Also where there was one that others could read, and the draft of an interrupted start."""
    file = tmp_path / addresses.FILE
    for path in (file, file.with_name(f"{file.name}.new")):
        path.touch(0o644)
    addresses.save(addresses.create(5000), file)
    assert file.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize("text", ["", "DATABASE_URL=postgresql://tidemark:x@127.0.0.1/db\n", "\n\nno lines of ours"])
def test_a_file_that_is_not_whole_has_no_addresses(tmp_path: Path, text: str) -> None:
    """Passwords are known for all roles or for none."""
    file = tmp_path / addresses.FILE
    assert addresses.load(file, 5000) is None
    file.write_text(text)
    assert addresses.load(file, 5000) is None


def test_a_url_is_what_clients_read() -> None:
    """PostgreSQL's own library finds every part of it."""
    known = Addresses(5000, {"owner": "a/b@c", "ingest": "i", "query": "q"})
    assert conninfo_to_dict(known.url("owner")) == {
        "user": "tidemark",
        "password": "a/b@c",
        "host": "127.0.0.1",
        "port": "5000",
        "dbname": "tidemark",
    }
    assert known.variables().keys() == {"DATABASE_URL", "INGEST_DATABASE_URL", "QUERY_DATABASE_URL"}


def test_a_role_is_taken_on_beside_other_options() -> None:
    """The parameters that the user gave stay; the owner's address is the one given."""
    url = "postgresql://me:p%40ss@db:5433/metrics?sslmode=require&options=-c%20jit%3Doff"
    assert addresses.as_role(url, "owner") == url
    assert conninfo_to_dict(addresses.as_role(url, "query")) == {
        "user": "me",
        "password": "p@ss",
        "host": "db",
        "port": "5433",
        "dbname": "metrics",
        "sslmode": "require",
        "options": "-c jit=off -c role=tidemark_query -c search_path=metrics,public",
    }


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://me:secret@db:5433/metrics", "postgresql://me@db:5433/metrics"),
        ("postgresql://me:sec%40ret@db/metrics", "postgresql://me@db/metrics"),
        ("postgresql://me@db/metrics?sslmode=require", "postgresql://me@db/metrics?sslmode=require"),
        ("postgresql://db/metrics?user=me&password=secret", "postgresql://db/metrics?user=me"),
        ("postgresql://db/metrics?sslpassword=secret", "postgresql://db/metrics"),
    ],
)
def test_what_is_shown_has_no_password(url: str, shown: str) -> None:
    """Wherever the address carries it."""
    assert addresses.without_password(url) == shown
