"""Policies on the real server, whichever its edition: which one counts, and that tables are made what it says."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from sql import policies
from sql.addresses import as_role

VALUES = ("chunk_interval", "compress_after", "retain_raw", "rollup_10m", "rollup_1h")
FILL = """
    INSERT INTO points.m (time, series_id, f)
    SELECT now() - interval '1 day' * age, 1, age FROM generate_series(0, 100) age
"""


@pytest.fixture
def owner(database: str) -> Iterator[psycopg.Connection]:
    """A connection with the owner's rights."""
    with psycopg.connect(database, autocommit=True) as connection:
        yield connection


def value(connection: psycopg.Connection, statement: str, *parameters: Any) -> Any:
    """The one value that a statement finds."""
    row = connection.execute(statement.encode(), parameters or None).fetchone()
    assert row is not None
    return row[0]


def policy_of(connection: psycopg.Connection, measurement: str) -> dict[str, str]:
    """What counts for a measurement."""
    row = connection.execute("SELECT * FROM catalog.policy_of(%s)", [measurement]).fetchone()
    assert row is not None
    return dict(zip(VALUES, row, strict=True))


def new_chunks_last(connection: psycopg.Connection, measurement: str) -> str:
    """The length of chunks to come."""
    return str(
        value(
            connection,
            "SELECT time_interval::text FROM timescaledb_information.dimensions "
            "WHERE hypertable_schema = 'points' AND hypertable_name = %s",
            measurement,
        )
    )


def oldest(connection: psycopg.Connection) -> int:
    """The age of the oldest point of `m`, in days."""
    return int(value(connection, "SELECT extract(day FROM now() - min(time)) FROM points.m"))


def test_each_value_comes_from_the_first_row_that_sets_it(owner: psycopg.Connection) -> None:
    """The measurement's own row, then matching patterns, the longest first, then the defaults."""
    defaults = policy_of(owner, "disk_io")
    assert None not in defaults.values()
    policies.put(owner, "*", {"rollup_1h": "2y", "retain_raw": "10d", "rollup_10m": "20d"})
    policies.put(owner, "disk*", {"retain_raw": "20d", "compress_after": "2h", "rollup_1h": None})
    policies.put(owner, "disk_io", {"compress_after": "off"})
    policies.put(owner, "?isk*", {"retain_raw": "30d", "chunk_interval": "1h"})
    policies.put(owner, "other*", {"retain_raw": "40d"})
    assert policy_of(owner, "disk_io") == {
        "compress_after": "off",
        "retain_raw": "30d",
        "chunk_interval": "1h",
        "rollup_10m": "20d",
        "rollup_1h": "2y",
    }
    assert policies.remove(owner, "disk_io")
    assert policy_of(owner, "disk_io")["compress_after"] == "2h"
    assert not policies.remove(owner, "disk_io")


@pytest.mark.parametrize(
    ("pattern", "matched", "unmatched"),
    [
        ("a*c", ["ac", "abc", "a*c", "a.c"], ["abcd", "A*C", ""]),
        ("a?c", ["abc", "a?c"], ["ac", "abbc"]),
        ("a_c%", ["a_c%"], ["abc%", "a_cd"]),
        ("a\\*", ["a\\b", "a\\"], ["a*", "ab"]),
        ("(a|b)", ["(a|b)"], ["a"]),
        ("*", ["anything at all", "ünï"], []),
    ],
)
def test_patterns(owner: psycopg.Connection, pattern: str, matched: list[str], unmatched: list[str]) -> None:
    """Only * and ? mean something else than themselves."""
    for name in [*matched, *unmatched]:
        assert value(owner, "SELECT catalog.matches(%s, %s)", name, pattern) is (name in matched), name


def test_there_is_no_rollup_of_an_hour_without_the_other(owner: psycopg.Connection) -> None:
    """It is made of it."""
    policies.put(owner, "m", {"rollup_10m": "off", "rollup_1h": "forever"})
    assert policy_of(owner, "m")["rollup_1h"] == "off"


@pytest.mark.parametrize(
    ("name", "bad"),
    [
        *(("chunk_interval", bad) for bad in ("1m", "60d", "off", "forever", "6 hours", "")),
        *(("compress_after", bad) for bad in ("1m", "forever")),
        *(("retain_raw", bad) for bad in ("1h", "off", "infinity")),
        *(("rollup_10m", bad) for bad in ("1h", "-1d")),
        *(("rollup_1h", bad) for bad in ("1h", "1mon")),
    ],
)
def test_the_table_refuses_what_makes_no_sense(owner: psycopg.Connection, name: str, bad: str) -> None:
    """Whoever writes to it."""
    with pytest.raises(psycopg.errors.CheckViolation):
        policies.put(owner, "m", {name: bad})


def test_the_defaults_are_whole(owner: psycopg.Connection) -> None:
    """Nothing can be taken out of the row in which everything ends."""
    with pytest.raises(psycopg.errors.CheckViolation):
        policies.put(owner, "", {"retain_raw": None})
    assert policies.put_defaults(owner, {"retain_raw": "7d"})
    assert not policies.put_defaults(owner, {"retain_raw": "7d"})
    assert policy_of(owner, "m")["retain_raw"] == "7d"


def test_a_measurement_has_its_policy_at_once(database: str, owner: psycopg.Connection) -> None:
    """Made by ingest, with the rights that ingest has."""
    policies.put(owner, "m", {"chunk_interval": "2h", "retain_raw": "3d"})
    with psycopg.connect(as_role(database, "ingest"), autocommit=True) as ingest:
        ingest.execute("SELECT catalog.ensure_fields('m', '{f}')")
        ingest.execute("SELECT catalog.ensure_fields('n', '{f}')")
    assert new_chunks_last(owner, "m") == "02:00:00"
    assert new_chunks_last(owner, "n") == "06:00:00"
    kept = owner.execute(
        "SELECT now() - catalog.raw_from(id) FROM catalog.measurement WHERE name IN ('m', 'n') ORDER BY name"
    ).fetchall()
    assert [days.days for (days,) in kept] == [3, 90]
    assert policies.apply(owner, "m") == []


def test_applying_alters_what_is_there(owner: psycopg.Connection) -> None:
    """Once; and what is not there is nothing to do for."""
    owner.execute("SELECT catalog.ensure_fields('m', '{f}')")
    policies.put(owner, "m", {"chunk_interval": "1h", "retain_raw": "forever"})
    assert set(policies.apply(owner, "m")) >= {"chunks of 01:00:00", "raw points kept forever"}
    assert policies.apply(owner, "m") == []
    assert new_chunks_last(owner, "m") == "01:00:00"
    assert policies.apply(owner, "not there") == []


def test_what_has_expired_is_dropped(owner: psycopg.Connection) -> None:
    """By whole chunks, a day after their time; nothing while points are kept forever."""
    policies.put(owner, "m", {"chunk_interval": "1d", "retain_raw": "forever", "rollup_10m": "off"})
    owner.execute("SELECT catalog.ensure_fields('m', '{f}')")
    owner.execute(FILL)
    assert value(owner, "SELECT catalog.expire('m')") == 0
    policies.put(owner, "m", {"retain_raw": "90d"})
    policies.apply(owner, "m")
    assert value(owner, "SELECT catalog.expire('m')") in (9, 10)
    assert oldest(owner) in (91, 92)
    assert value(owner, "SELECT catalog.expire('m')") == 0


def test_points_that_were_dropped_stay_expired(owner: psycopg.Connection) -> None:
    """When they are to be kept for longer from now on, it is known from when on they are all there."""
    policies.put(owner, "m", {"chunk_interval": "1d", "retain_raw": "30d", "rollup_10m": "off"})
    owner.execute("SELECT catalog.ensure_fields('m', '{f}')")
    owner.execute(FILL)
    owner.execute("SELECT catalog.expire('m')")
    raw_from = "SELECT extract(day FROM now() - catalog.raw_from(id))::int FROM catalog.measurement"
    assert value(owner, raw_from) == 30
    policies.put(owner, "m", {"retain_raw": "forever"})
    policies.apply(owner, "m")
    assert value(owner, raw_from) == 31
    policies.put(owner, "m", {"retain_raw": "10d"})
    policies.apply(owner, "m")
    assert value(owner, raw_from) == 10
    policies.put(owner, "m", {"retain_raw": "60d"})
    policies.apply(owner, "m")
    assert value(owner, raw_from) == 11


def test_without_a_limit_all_points_are_there(owner: psycopg.Connection) -> None:
    """From ever on; also of a measurement whose policy was never applied."""
    policies.put(owner, "m", {"retain_raw": "forever"})
    owner.execute("SELECT catalog.ensure_fields('m', '{f}')")
    assert value(owner, "SELECT catalog.raw_from(id) = '-infinity' FROM catalog.measurement")
    assert value(owner, "SELECT catalog.raw_from(0) = '-infinity'")
