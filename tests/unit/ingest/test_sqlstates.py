from __future__ import annotations

import asyncpg
import pytest

from ingest.sqlstates import (
    DatabaseAwayError,
    Meaning,
    StaleCatalogError,
    UncopiedError,
    is_contention,
    is_for_merge,
    meaning,
    sqlstate,
    summary,
)


def server_error(code: str, message: str = "m") -> asyncpg.PostgresError:
    """What asyncpg raises for an error of the server."""
    fields = {"C": code, "M": message, "D": "the value (secret) is not right", "S": "ERROR"}
    error: asyncpg.PostgresError = asyncpg.PostgresError.new(fields)
    return error


@pytest.mark.parametrize(
    ("codes", "expected"),
    [
        ("08000 08003 08006 40001 40P01 25006 25P03 53100 53300 57P01 57P02 57P03 57P04 57P05 58030", Meaning.AGAIN),
        ("42P01 42703 3F000", Meaning.STALE),
        ("22003 22P05 23505 23514 23502 54000", Meaning.DATA),
        ("53400", Meaning.TOO_MUCH),
        ("08P01 42804 55P03 57014 53200 42501 0A000 P0001 XX000 XX001 F0000 ZZ999 42883", Meaning.UNKNOWN),
    ],
)
def test_what_an_sqlstate_means(codes: str, expected: Meaning) -> None:
    """Each SQLSTATE has one meaning; one that nobody foresaw is unknown, and nothing is dropped for it."""
    assert {code: meaning(server_error(code)) for code in codes.split()} == dict.fromkeys(codes.split(), expected)


def test_what_is_not_an_error_of_the_server() -> None:
    """The network, the driver and a late answer may work in a moment; another catalog is learned."""
    for error in (OSError("x"), TimeoutError(), asyncpg.InterfaceError("x")):
        assert (meaning(error), sqlstate(error)) == (Meaning.AGAIN, "08006")
    assert meaning(StaleCatalogError("x")) is Meaning.STALE


def test_what_was_not_copied_may_be_too_much_to_merge() -> None:
    """Whatever kept it from being copied; that is told."""
    uncopied = UncopiedError()
    uncopied.__cause__ = server_error("23505", "duplicate key")
    assert meaning(uncopied) is Meaning.TOO_MUCH
    assert (sqlstate(uncopied), summary(uncopied)) == ("23505", "duplicate key")


def test_contention_is_what_merging_helps_with() -> None:
    """A duplicate, a deadlock and a lock not granted in time, of the SQLSTATEs there are."""
    assert {code for code in ("23505", "40P01", "55P03", "23514", "40001") if is_contention(server_error(code))} == {
        "23505",
        "40P01",
        "55P03",
    }


def test_merging_helps_with_columns_of_other_types() -> None:
    """What a server says to the bytes of a double that it takes for a numeric, an integer or a text; and contention."""
    codes = ("08P01", "22P03", "22021", "42804", "23505", "23514", "08006", "42703")
    helped = {code for code in codes if is_for_merge(server_error(code))}
    assert helped == {"08P01", "22P03", "22021", "42804", "23505"}


def test_why_there_is_no_connection_is_told_and_means_nothing_else() -> None:
    """A role that does not exist is an invalid value to PostgreSQL, and no fault of what was sent."""
    away = DatabaseAwayError()
    away.__cause__ = server_error("22023", 'role "tidemark_ingest" does not exist')
    assert meaning(away) is Meaning.AGAIN
    assert (sqlstate(away), summary(away)) == ("22023", 'role "tidemark_ingest" does not exist')


def test_the_server_s_last_word_is_told() -> None:
    """What it said before it closed the connection says more than that the connection is closed."""
    lost = asyncpg.ConnectionDoesNotExistError("connection was closed")
    lost.__cause__ = server_error("57P01", "terminating connection due to administrator command")
    lost.__cause__.__cause__ = ConnectionResetError(104, "Connection reset by peer")
    assert (sqlstate(lost), summary(lost)) == ("57P01", "terminating connection due to administrator command")


def test_a_summary_quotes_no_data() -> None:
    """The detail, which may hold a value, is left out; an error without text has its name."""
    assert summary(server_error("23514", "violates check\nand more")) == "violates check"
    assert summary(TimeoutError()) == "TimeoutError"
    assert summary(server_error("P0001", "")) == "RaiseError"
    assert summary(DatabaseAwayError("no address")) == "no address"
    assert summary(ConnectionRefusedError(111, "Connect call failed")) == (
        "ConnectionRefusedError: [Errno 111] Connect call failed"
    )
