"""`python -m sql policy` and `python -m sql report` as a person or a script uses them."""

from __future__ import annotations

import json
import re
from typing import Any

import psycopg
import pytest

from tests.conftest import ROOT, Commands

README = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.fixture
def on_database(commands: Commands, database: str) -> Commands:
    """Commands on a database with three measurements."""
    with psycopg.connect(database) as connection:
        for name in ("cpu", "disk", "diskio"):
            connection.execute("SELECT catalog.ensure_fields(%s, '{f}')", [name])
        connection.execute(
            "INSERT INTO points.cpu (time, series_id, f) SELECT now(), n, n FROM generate_series(1, 9) n"
        )
    commands.environment["DATABASE_URL"] = database
    return commands


def told(commands: Commands, *arguments: str) -> Any:
    """What a command that succeeds says with --json."""
    done = commands.run("sql", *arguments, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def kept(commands: Commands) -> dict[str, str]:
    """How long the points of each measurement are kept."""
    return {row["measurement"]: row["retain_raw"] for row in told(commands, "policy", "list")["measurements"]}


def test_set_applies_to_what_matches(on_database: Commands) -> None:
    """What changes is shown, for people and for programs, and what is not changed is not."""
    done = on_database.run("sql", "policy", "set", "disk*", "retain_raw=7d")
    assert done.returncode == 0
    assert done.stdout.splitlines()[:3] == [
        "measurement  value       was  is",
        "disk         retain_raw  90d  7d",
        "diskio       retain_raw  90d  7d",
    ]
    assert kept(on_database) == {"cpu": "90d", "disk": "7d", "diskio": "7d"}
    answer = told(on_database, "policy", "set", "disk", "retain_raw=forever", "compress-after=off")
    assert answer["changes"] == [
        {"measurement": "disk", "value": "compress_after", "was": "1h", "becomes": "off"},
        {"measurement": "disk", "value": "retain_raw", "was": "7d", "becomes": "forever"},
    ]
    assert "raw points kept forever" in answer["applied"]["disk"]["done"]
    assert told(on_database, "policy", "set", "disk", "retain_raw=inherit")["changes"][0]["becomes"] == "7d"
    assert kept(on_database)["disk"] == "7d"


def test_what_has_to_wait_is_told(on_database: Commands, database: str) -> None:
    """A shorter time is not in force before rollups have what would be dropped by it; then maintenance applies it."""
    with psycopg.connect(database, autocommit=True) as connection:
        rolled_up = "CREATE OR REPLACE FUNCTION catalog.is_rolled_up(wanted catalog.measurement, before timestamptz) "
        connection.execute(rolled_up.encode() + b"RETURNS boolean LANGUAGE sql AS $$ SELECT false $$")
        waits = (
            "raw points are kept 90 days until all that is older than 1d is rolled up and settled, "
            "and 1d from the next round of maintain on"
        )
        done = on_database.run("sql", "policy", "set", "cpu", "retain_raw=1d")
        assert done.stdout.splitlines()[-1] == f"cpu: {waits}"
        answer = told(on_database, "policy", "set", "cpu", "chunk_interval=1h")
        assert answer["applied"]["cpu"] == {"done": ["chunks of 01:00:00"], "waiting": [waits]}
        connection.execute(rolled_up.encode() + b"RETURNS boolean LANGUAGE sql AS $$ SELECT true $$")
        assert on_database.run("sql", "maintain", "--once").returncode == 0
        answer = told(on_database, "policy", "set", "cpu", "chunk_interval=2h")
        assert answer["applied"]["cpu"] == {"done": ["chunks of 02:00:00"], "waiting": []}


def test_a_dry_run_changes_nothing(on_database: Commands, database: str) -> None:
    """It shows what would be."""
    before = told(on_database, "policy", "list")
    done = on_database.run("sql", "policy", "set", "cpu", "retain_raw=1d", "--dry-run")
    assert done.stdout.splitlines() == ["measurement  value       was  would be", "cpu          retain_raw  90d  1d"]
    told(on_database, "policy", "set", "cpu", "chunk_interval=1h", "--dry-run")
    assert told(on_database, "policy", "list") == before
    with psycopg.connect(database) as connection:
        assert connection.execute("SELECT DISTINCT retained::text FROM catalog.retention").fetchall() == [("90 days",)]


def test_unset_takes_it_back(on_database: Commands) -> None:
    """What others say counts again; and what is not set cannot be unset."""
    told(on_database, "policy", "set", "cpu", "retain_raw=7d")
    assert told(on_database, "policy", "unset", "cpu", "--dry-run")["changes"][0]["becomes"] == "90d"
    assert kept(on_database)["cpu"] == "7d"
    assert told(on_database, "policy", "unset", "cpu")["changes"][0]["becomes"] == "90d"
    assert kept(on_database)["cpu"] == "90d"
    again = on_database.run("sql", "policy", "unset", "cpu")
    assert again.returncode == 1
    assert again.stderr == "python -m sql: nothing is set for 'cpu'; there is nothing set yet\n"


def test_for_what_is_to_come(on_database: Commands) -> None:
    """A pattern may match nothing yet."""
    done = on_database.run("sql", "policy", "set", "net*", "retain_raw=7d")
    assert done.stdout == "nothing changes for the measurements that there are; those to come will have it\n"
    listed = [line.split() for line in on_database.run("sql", "policy", "list").stdout.splitlines()]
    assert listed[0] == ["policy", "chunk_interval", "compress_after", "retain_raw", "rollup_10m", "rollup_1h"]
    assert [words[0] for words in listed if words] == [
        *("policy", "(default)", "net*"),
        *("measurement", "cpu", "disk", "diskio"),
    ]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (
            ["cpu", "retain_raw=3x"],
            "retain_raw: '3x' is not allowed; allowed: a number and m, h, d, w or y (365 days) of 1d ",
        ),
        (["cpu", "retain_raw=off"], "retain_raw: 'off' is not allowed; "),
        (["cpu", "keep=3d"], "'keep=3d' is not of the form name=value; the names are chunk_interval, "),
        (["x" * 64, "retain_raw=3d"], "a pattern has 1 to 63 bytes"),
    ],
)
def test_what_makes_no_sense(on_database: Commands, arguments: list[str], expected: str) -> None:
    """One line says what was wrong and what is allowed, and nothing is set."""
    done = on_database.run("sql", "policy", "set", *arguments)
    assert (done.returncode, done.stdout) == (1, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"python -m sql: {expected}")
    assert len(told(on_database, "policy", "list")["policies"]) == 1


def test_a_default_that_makes_no_sense(on_database: Commands) -> None:
    """The line names the setting."""
    on_database.environment["TIDEMARK_ROLLUP_1H"] = "soon"
    done = on_database.run("sql", "migrate")
    assert done.returncode == 2
    assert done.stderr.startswith("python -m sql: TIDEMARK_ROLLUP_1H=soon: ")


def test_the_report(on_database: Commands) -> None:
    """One row a measurement, with numbers for programs and a table for people."""
    answer = told(on_database, "report")
    cpu = answer["measurements"][0]
    assert cpu["measurement"] == "cpu"
    assert (cpu["fields"], cpu["chunks"], cpu["compressed_chunks"], cpu["due_chunks"]) == (1, 1, 0, 0)
    assert cpu["raw_bytes"] >= cpu["uncompressed_bytes"] > 0
    assert answer["edition"]["edition"] in ("apache", "community")
    lines = on_database.run("sql", "report").stdout.splitlines()
    assert lines[0].startswith("TimescaleDB ")
    assert lines[2].split()[:4] == ["measurement", "fields", "points", "chunks"]
    assert [line.split()[0] for line in lines[3:6]] == ["cpu", "disk", "diskio"]


def test_the_readmes_commands(on_database: Commands) -> None:
    """Those that show and set policies run as they stand there."""
    ((block),) = [block for block in re.findall(r"```sh\n(.*?)```", README, re.DOTALL) if "sql policy" in block]
    lines = [line.partition(" #")[0].split() for line in block.splitlines()]
    assert len(lines) == 5
    for words in lines:
        assert words[:3] == ["python", "-m", "sql"]
        done = on_database.run("sql", *[word.strip("'") for word in words[3:]])
        assert done.returncode == 0, done.stderr
