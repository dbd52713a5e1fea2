"""What an error of the database means for the write that met it.

The classes are those of "PostgreSQL Error Codes" in its documentation. What is not known is tried again: a
write is given up only when its time is over, and its client is told so.
"""

from __future__ import annotations

import enum

import asyncpg


class Meaning(enum.Enum):
    """What to do next."""

    DUPLICATE = "some point is there already: merge"
    STALE = "what we remember of the catalog is not so any more: learn it again"
    DATA = "some value cannot be stored: find whose it is"
    RETRY = "it may work in a moment"


class StaleCatalogError(Exception):
    """The database is not the one whose series ids we remember."""


_STALE = {"42P01", "42703", "3F000"}  # undefined_table, undefined_column, invalid_schema_name
_DATA_CLASSES = {"22", "23"}  # data exception, integrity constraint violation


def meaning(error: BaseException) -> Meaning:
    """Class `error`, which came from asyncpg, the network or `StaleCatalogError`."""
    if isinstance(error, StaleCatalogError):
        return Meaning.STALE
    code = sqlstate(error)
    if code == "23505":
        return Meaning.DUPLICATE
    if code in _STALE:
        return Meaning.STALE
    if code[:2] in _DATA_CLASSES:
        return Meaning.DATA
    return Meaning.RETRY


def sqlstate(error: BaseException) -> str:
    """The SQLSTATE; 08006, connection failure, for what the network or the driver reports."""
    if isinstance(error, asyncpg.PostgresError):
        return str(error.sqlstate or "XX000")
    return "08006"


def summary(error: BaseException) -> str:
    """What to tell people: the server's message without its detail, which may quote data; never a password."""
    if isinstance(error, asyncpg.PostgresError):
        return str(error).splitlines()[0]
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
