"""What an error of the database means for the points that met it.

The classes are those of "PostgreSQL Error Codes" in its documentation. What is not known is tried again, each
request by itself: points are never dropped because of an error that nobody foresaw.
"""

from __future__ import annotations

import enum

import asyncpg


class Meaning(enum.Enum):
    """What to do next."""

    AGAIN = "it fails for all or for none, and may work in a moment: try again"
    STALE = "what we remember of the catalog is not so any more: learn it again"
    DATA = "something sent cannot be stored: find whose it is, and refuse it"
    TOO_MUCH = "it changes more compressed data than one statement may: go on in portions"
    UNKNOWN = "it may be due to one request: try each by itself"


class StaleCatalogError(Exception):
    """The catalog is not the one whose series ids we remember."""


class UncopiedError(Exception):
    """Points could not be copied, and merging them may be too much for one statement; the cause says why not."""


class DatabaseAwayError(Exception):
    """No connection could be made; the cause, or the text, says why, whatever its SQLSTATE means elsewhere."""


_CONTENTION = {"23505", "40P01", "55P03"}  # unique_violation, deadlock_detected, lock_not_available
_STALE = {"42P01", "42703", "3F000"}  # undefined_table, undefined_column, invalid_schema_name
_TOO_MUCH = "53400"  # configuration_limit_exceeded
_DATA_CLASSES = {"22", "23", "54"}  # data exception, integrity constraint violation, program limit exceeded
_AGAIN_CLASSES = {"08", "40", "58"}  # connection exception, transaction rollback, system error
_OTHER_TYPE = {"42804", "08P01"}  # datatype_mismatch; protocol_violation, of a binary COPY that is too short for a type
_AGAIN = {
    "25006",  # read_only_sql_transaction
    "25P03",  # idle_in_transaction_session_timeout
    "53100",  # disk_full
    "53300",  # too_many_connections
    "57P01",  # admin_shutdown
    "57P02",  # crash_shutdown
    "57P03",  # cannot_connect_now
    "57P04",  # database_dropped
    "57P05",  # idle_session_timeout
}


def meaning(error: BaseException) -> Meaning:
    """Class `error`, which came from asyncpg, the network or `ingest.database`."""
    if isinstance(error, StaleCatalogError):
        return Meaning.STALE
    if isinstance(error, UncopiedError):
        return Meaning.TOO_MUCH
    code = sqlstate(error)
    if code in _OTHER_TYPE and not isinstance(error, DatabaseAwayError):
        return Meaning.UNKNOWN
    if isinstance(error, DatabaseAwayError) or code in _AGAIN or code[:2] in _AGAIN_CLASSES:
        return Meaning.AGAIN
    if code in _STALE:
        return Meaning.STALE
    if code == _TOO_MUCH:
        return Meaning.TOO_MUCH
    if code[:2] in _DATA_CLASSES:
        return Meaning.DATA
    return Meaning.UNKNOWN


def is_contention(error: BaseException) -> bool:
    """Whether somebody else writes, or wrote, the same points, so that merging with them will help."""
    return sqlstate(error) in _CONTENTION


def is_for_merge(error: BaseException) -> bool:
    """Whether merging may help with what a COPY met: contention, or columns of another type, since it casts."""
    code = sqlstate(error)
    return is_contention(error) or code in _OTHER_TYPE or code.startswith("22")


def sqlstate(error: BaseException) -> str:
    """The SQLSTATE; 08006, connection failure, for what the network or the driver reports."""
    origin = _origin(error)
    if isinstance(origin, asyncpg.PostgresError):
        return str(origin.sqlstate or "XX000")
    return "08006"


def summary(error: BaseException) -> str:
    """What to tell people: the server's message without its detail, which may quote data; never a password."""
    origin = _origin(error)
    name, text = type(origin).__name__, str(origin).partition("\n")[0]
    if text and isinstance(origin, (asyncpg.PostgresError, DatabaseAwayError)):
        return text
    return f"{name}: {text}" if text else name


def _origin(error: BaseException) -> BaseException:
    """What the server said last before it closed the connection; else why there was none."""
    causes = [error]
    while cause := causes[-1].__cause__:
        causes.append(cause)
    return next((one for one in reversed(causes) if isinstance(one, asyncpg.PostgresError)), causes[-1])
