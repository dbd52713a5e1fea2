"""Applies the migrations: numbered SQL files, forward only, each once, each in a transaction of its own.

An advisory lock lets any number of migrations start at once; the first does the work and the others find it
done. A file that was applied must never change: its checksum is kept and compared.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import psycopg

from service import logs
from service.errors import TidemarkError

log = logs.get(__name__)

NAME = re.compile(r"(\d{4})_([a-z0-9_]+)\.sql")

RIGHTS = ": the account needs CREATEROLE, or roles that a superuser has made (docs/operating.md)"
"""What is said where a role lacks a right: of all that is made here, only roles need more than to own the database."""

LOCK = "SELECT pg_advisory_lock(hashtextextended('tidemark.migrate', 0))"
LOCK_CATALOG = "SELECT pg_advisory_xact_lock(hashtextextended('tidemark.catalog', 0))"
"""As `catalog.lock_catalog`, which the first files lack: nobody makes measurements or fields while one is applied."""

LEDGER = """
    CREATE SCHEMA IF NOT EXISTS catalog;
    CREATE TABLE IF NOT EXISTS catalog.migration (
        number     int PRIMARY KEY,
        name       text NOT NULL,
        checksum   text NOT NULL,
        applied_at timestamptz NOT NULL DEFAULT now()
    );
"""


class MigrationError(TidemarkError):
    """The schema cannot be brought up to date; the message says why and what to do."""


@dataclass(frozen=True)
class Migration:
    """One file of `migrations/`."""

    number: int
    name: str
    text: str

    @property
    def checksum(self) -> str:
        """The SHA-256 of the text, in hexadecimal."""
        return hashlib.sha256(self.text.encode()).hexdigest()


@dataclass(frozen=True)
class Outcome:
    """What a run did."""

    applied: tuple[str, ...]
    """The files applied now."""
    version: int
    """The highest migration that the database has."""
    edition: dict[str, Any]
    """What `catalog.edition()` says of the server."""


def migrations() -> list[Migration]:
    """The files, in order. Raises `MigrationError` when they are not numbered 1, 2, 3, ..."""
    found = []
    for file in files("sql").joinpath("migrations").iterdir():
        if match := NAME.fullmatch(file.name):
            found.append(Migration(int(match[1]), file.name, file.read_text(encoding="utf-8")))
        elif file.name.endswith(".sql"):
            raise MigrationError(f"{file.name} is not named NNNN_verb_noun.sql")
    found.sort(key=lambda migration: migration.number)
    if [migration.number for migration in found] != list(range(1, len(found) + 1)):
        raise MigrationError("the migrations are not numbered 1, 2, 3, ... without gaps")
    return found


def migrate(url: str) -> Outcome:
    """Bring the database at `url` up to date. Harmless when it is, and when others do the same.

    Raises `MigrationError` when the server lacks TimescaleDB, a file failed (nothing of it stays), or a file
    that was applied has changed; `psycopg.OperationalError` when the server cannot be reached.
    """
    with psycopg.connect(url, autocommit=True, application_name="tidemark migrate") as connection:
        connection.execute("SET client_min_messages = warning")
        connection.add_notice_handler(_pass_on)
        connection.execute(LOCK)
        _require_timescaledb(connection)
        connection.execute(LEDGER)
        wanted = migrations()
        known = _known(connection)
        _verify(wanted, known)
        applied = [migration for migration in wanted if migration.number not in known]
        for migration in applied:
            _apply(connection, migration)
        row = connection.execute("SELECT catalog.edition(), max(number) FROM catalog.migration").fetchone()
        assert row is not None
        return Outcome(tuple(migration.name for migration in applied), row[1], row[0])


def _pass_on(notice: psycopg.errors.Diagnostic) -> None:
    """Log what a migration warns of."""
    log.warning("the migration warns", message=notice.message_primary)


def _require_timescaledb(connection: psycopg.Connection) -> None:
    try:
        connection.execute("CREATE EXTENSION IF NOT EXISTS timescaledb")
    except (psycopg.errors.FeatureNotSupported, psycopg.errors.UndefinedFile) as error:
        raise MigrationError("this PostgreSQL server has no TimescaleDB installed") from error
    except psycopg.errors.InsufficientPrivilege as error:
        raise MigrationError(
            "TimescaleDB is not in this database yet, and this role may not create it: "
            "run CREATE EXTENSION timescaledb as a superuser once"
        ) from error
    except psycopg.Error as error:
        raise MigrationError(f"CREATE EXTENSION timescaledb failed: {_first_line(error)}") from error


def _known(connection: psycopg.Connection) -> dict[int, tuple[str, str]]:
    rows = connection.execute("SELECT number, name, checksum FROM catalog.migration").fetchall()
    return {number: (name, checksum) for number, name, checksum in rows}


def _verify(wanted: list[Migration], known: dict[int, tuple[str, str]]) -> None:
    for migration in wanted:
        if migration.number in known and known[migration.number][1] != migration.checksum:
            raise MigrationError(
                f"{migration.name} has changed since it was applied; migrations only go forward: "
                "restore the file and put the change into a new one"
            )
    if ahead := sorted(set(known) - {migration.number for migration in wanted}):
        log.warning("the database is ahead of this code", code=len(wanted), database=ahead[-1])


def _apply(connection: psycopg.Connection, migration: Migration) -> None:
    try:
        with connection.transaction():
            connection.execute(LOCK_CATALOG)
            # The text is a file of this package, not anybody's input.
            connection.execute(migration.text)
            connection.execute(
                "INSERT INTO catalog.migration (number, name, checksum) VALUES (%s, %s, %s)",
                (migration.number, migration.name, migration.checksum),
            )
    except psycopg.Error as error:
        remedy = RIGHTS if isinstance(error, psycopg.errors.InsufficientPrivilege) else ""
        raise MigrationError(f"{migration.name} failed and was undone: {_first_line(error)}{remedy}") from error


def _first_line(error: psycopg.Error) -> str:
    return (error.diag.message_primary or str(error)).splitlines()[0]
