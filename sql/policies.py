"""The policies of stored data: read, changed, and applied to what is there. `catalog.apply_policy` does the work."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql
from psycopg.rows import dict_row

from service.errors import TidemarkError
from sql.durations import KINDS

DEFAULT = ""
"""The pattern of the row that holds the defaults, which are settings."""
INHERIT = "inherit"
LONGEST_PATTERN_BYTES = 63

COLUMNS = sql.SQL(", ").join(map(sql.Identifier, KINDS))
OWN = sql.SQL("SELECT pattern, {} FROM catalog.policy ORDER BY pattern").format(COLUMNS)
EFFECTIVE = sql.SQL(
    "SELECT m.name AS measurement, {} FROM catalog.measurement m, catalog.policy_of(m.name) p ORDER BY m.name"
).format(COLUMNS)
UPDATE = sql.SQL("UPDATE catalog.policy SET {updates} WHERE pattern = {pattern}")
INSERT = sql.SQL(
    "INSERT INTO catalog.policy AS p (pattern, {names}) VALUES ({values}) ON CONFLICT (pattern) DO UPDATE SET {updates}"
)
WAITING = """
    SELECT p.retain_raw, coalesce(r.retained::text, 'forever')
    FROM catalog.measurement m CROSS JOIN catalog.policy_of(m.name) p
    LEFT JOIN catalog.retention r ON r.measurement_id = m.id
    WHERE m.name = %s AND r.retained IS DISTINCT FROM catalog.span(p.retain_raw)
"""
BUSY = "somebody uses its table for long; maintain will try again"

Row = dict[str, Any]


class PolicyError(TidemarkError):
    """A policy cannot be read or changed; the message says what was wrong and what is allowed."""


@dataclass(frozen=True)
class Change:
    """One value of one measurement's policy."""

    measurement: str
    value: str
    was: str
    becomes: str


def given(assignments: Sequence[str]) -> dict[str, str | None]:
    """Values of a policy from `name=value`; None for one to inherit. Raises `PolicyError` for what is neither."""
    values: dict[str, str | None] = {}
    for assignment in assignments:
        name, is_one, text = assignment.partition("=")
        name = name.replace("-", "_")
        if not is_one or name not in KINDS:
            raise PolicyError(f"{assignment[:80]!r} is not of the form name=value; the names are {', '.join(KINDS)}")
        if text != INHERIT and (fault := KINDS[name].fault(text)):
            raise PolicyError(f"{name}: {fault}, or {INHERIT}")
        values[name] = None if text == INHERIT else text
    if not values:
        raise PolicyError(f"nothing to set; name one or more of {', '.join(KINDS)}, as retain_raw=30d")
    return values


def checked_pattern(pattern: str) -> str:
    """`pattern`, if it can be one. Raises `PolicyError`."""
    if not 1 <= len(pattern.encode()) <= LONGEST_PATTERN_BYTES or "\0" in pattern:
        raise PolicyError(
            f"a pattern has 1 to {LONGEST_PATTERN_BYTES} bytes: a measurement's name, or with * and ? for any of them"
        )
    return pattern


def own(connection: psycopg.Connection) -> list[Row]:
    """The rows that were set; the one of the defaults, whose pattern is empty, comes first."""
    return connection.cursor(row_factory=dict_row).execute(OWN).fetchall()


def effective(connection: psycopg.Connection) -> list[Row]:
    """The policy of every measurement."""
    return connection.cursor(row_factory=dict_row).execute(EFFECTIVE).fetchall()


def put(connection: psycopg.Connection, pattern: str, values: Mapping[str, str | None]) -> None:
    """Set values of a pattern's row, which is made where there is none."""
    parts = {
        "names": sql.SQL(", ").join(map(sql.Identifier, values)),
        "values": sql.SQL(", ").join(map(sql.Literal, [pattern, *values.values()])),
        "updates": sql.SQL(", ").join(
            sql.SQL("{} = {}").format(sql.Identifier(name), sql.Literal(value)) for name, value in values.items()
        ),
        "pattern": sql.Literal(pattern),
    }
    # What is inserted must be whole by itself, even where it would be an update in the end.
    if connection.execute(UPDATE.format(**parts)).rowcount == 0:
        connection.execute(INSERT.format(**parts))


def put_defaults(connection: psycopg.Connection, values: Mapping[str, str]) -> bool:
    """Make the defaults these; whether they were others."""
    (row,) = [row for row in own(connection) if row["pattern"] == DEFAULT]
    if all(row[name] == value for name, value in values.items()):
        return False
    put(connection, DEFAULT, values)
    return True


def remove(connection: psycopg.Connection, pattern: str) -> bool:
    """Take a pattern's row away; whether there was one."""
    return connection.execute("DELETE FROM catalog.policy WHERE pattern = %s", [pattern]).rowcount == 1


def changes(before: Sequence[Row], after: Sequence[Row]) -> list[Change]:
    """What the policies of measurements were and are."""
    was = {row["measurement"]: row for row in before}
    return [
        Change(row["measurement"], value, was[row["measurement"]][value], row[value])
        for row in after
        for value in KINDS
        if row["measurement"] in was and was[row["measurement"]][value] != row[value]
    ]


def apply(connection: psycopg.Connection, measurement: str) -> list[str]:
    """Make a measurement's tables and jobs what its policy says; what that changed, in words.

    Raises `psycopg.errors.LockNotAvailable` when somebody uses the table for long.
    """
    row = connection.execute("SELECT catalog.apply_policy(%s)", [measurement]).fetchone()
    assert row is not None
    changed: list[str] = row[0]
    return changed


def waiting(connection: psycopg.Connection, measurement: str) -> list[str]:
    """What of a policy that was applied is not in force yet, and until when, in words.

    Points are not dropped before they are rolled up, and the rollups are settled: until then they are kept as before.
    """
    rows = connection.execute(WAITING, [measurement]).fetchall()
    return [
        f"raw points are kept {in_force} until all that is older than {wanted} is rolled up and settled, "
        f"and {wanted} from the next round of maintain on"
        for wanted, in_force in rows
    ]
