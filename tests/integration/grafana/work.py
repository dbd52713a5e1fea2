"""How much work a statement is: what PostgreSQL reads for it, which is the same on every machine."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import psycopg

PAGES = 25_000
"""The most that a panel may touch: 200 MB, which no machine that runs a database needs a second for, from memory."""
ROWS = 500_000
"""The most rows that a panel may read from tables and indexes, those that a condition then drops included."""
PAGES_OF_A_CHUNK = 100
"""What the report of what is stored may touch beyond that, for each chunk: it asks for the size of each on disk."""
CHUNKS = "SELECT count(*) FROM timescaledb_information.chunks"


@dataclass(frozen=True)
class Work:
    """What a statement read: pages of 8 KiB, rows of relations, and the relations that were read at all."""

    pages: int
    rows: int
    relations: frozenset[str]


def work(connection: psycopg.Connection, statement: str) -> Work:
    """Run a statement, and count."""
    row = connection.execute(f"EXPLAIN (ANALYZE, BUFFERS, TIMING OFF, FORMAT JSON) {statement}".encode()).fetchone()
    assert row is not None
    top = row[0][0]["Plan"]
    read = [node for node in _nodes(top) if node.get("Relation Name") and node["Actual Loops"]]
    return Work(
        top["Shared Hit Blocks"] + top["Shared Read Blocks"],
        sum(_rows(node) for node in read),
        frozenset(node["Relation Name"] for node in read),
    )


def most_pages(connection: psycopg.Connection, statement: str) -> int:
    """How many pages a statement may touch."""
    if "storage_report()" not in statement:
        return PAGES
    row = connection.execute(CHUNKS).fetchone()
    assert row is not None
    return PAGES + PAGES_OF_A_CHUNK * int(row[0])


def _nodes(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield node
    for child in node.get("Plans", ()):
        yield from _nodes(child)


def _rows(node: dict[str, Any]) -> int:
    each = node["Actual Rows"] + node.get("Rows Removed by Filter", 0)
    return int(each * node["Actual Loops"])
