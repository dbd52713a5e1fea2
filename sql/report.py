"""`python -m sql report`: what is stored, how small it is, and how the jobs do."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import psycopg
from psycopg.rows import dict_row

from sql import tables

STORAGE = "SELECT * FROM catalog.storage_report()"
ROLLUPS = "SELECT * FROM catalog.rollup_report()"
JOBS = "SELECT * FROM catalog.job_report()"
EDITION = "SELECT catalog.edition()"

HEADS = (
    *("measurement", "fields", "points", "chunks", "compressed", "due", "on disk"),
    *("before", "after", "bytes/value before", "after", "rollups", "oldest"),
)
ROLLUP_HEADS = ("rollup", "of", "windows", "fields", "chunks", "compressed", "on disk", "settled before")
JOB_HEADS = ("job", "action", "of", "state", "runs", "failures", "last success", "error")

Row = dict[str, Any]


def report(connection: psycopg.Connection) -> Row:
    """Everything: `edition`, `measurements` (bytes, counts and bytes per value), `rollups`, `jobs`."""
    row = connection.execute(EDITION).fetchone()
    assert row is not None
    rows = connection.cursor(row_factory=dict_row)
    storage = rows.execute(STORAGE).fetchall()
    return {
        "edition": row[0],
        "measurements": [{**one, **bytes_per_value(one)} for one in storage],
        "rollups": rows.execute(ROLLUPS).fetchall(),
        "jobs": rows.execute(JOBS).fetchall(),
    }


def bytes_per_value(one: Row) -> dict[str, float | None]:
    """Bytes on disk for a field of a point, indexes included: uncompressed, and compressed; None where nothing is.

    Of what is compressed both are known exactly; where nothing is, the first is by the planner's statistics.
    """
    return {
        "bytes_per_value_before": _ratio(one["before_bytes"], one["compressed_values"])
        or _ratio(one["uncompressed_bytes"], one["uncompressed_values"]),
        "bytes_per_value_after": _ratio(one["after_bytes"], one["compressed_values"]),
    }


def failed_jobs(connection: psycopg.Connection) -> dict[str, str]:
    """The jobs that failed when they ran last, or are late, by name; and why."""
    rows = connection.cursor(row_factory=dict_row).execute(JOBS).fetchall()
    return {
        f"job {row['job_id']} ({row['action']} of {row['relation']})": row["error"] or f"it is {row['state']}"
        for row in rows
        if row["state"] != "ok"
    }


def lines(told: Row) -> Iterator[str]:
    """The report for people."""
    edition = told["edition"]
    yield f"TimescaleDB {edition['timescaledb']}, {edition['edition']} edition, on PostgreSQL {edition['postgresql']}"
    yield ""
    yield from tables.lines(HEADS, [_cells(one) for one in told["measurements"]])
    if told["rollups"]:
        yield ""
        yield from tables.lines(ROLLUP_HEADS, [_rollup_cells(rollup) for rollup in told["rollups"]])
    if told["jobs"]:
        yield ""
        yield from tables.lines(JOB_HEADS, [_job_cells(job) for job in told["jobs"]])


def _cells(one: Row) -> Sequence[object]:
    return (
        *(one["measurement"], one["fields"], one["points"], one["chunks"], one["compressed_chunks"], one["due_chunks"]),
        *(tables.size(one[name]) for name in ("raw_bytes", "before_bytes", "after_bytes")),
        *(one["bytes_per_value_before"], one["bytes_per_value_after"], tables.size(one["rollup_bytes"])),
        one["oldest"] and f"{one['oldest']:%Y-%m-%d %H:%M}",
    )


def _rollup_cells(rollup: Row) -> Sequence[object]:
    return (
        *(rollup["view_name"], rollup["measurement"], rollup["width"], rollup["fields"]),
        *(rollup["chunks"], rollup["compressed_chunks"], tables.size(rollup["bytes"])),
        rollup["settled_before"] and f"{rollup['settled_before']:%Y-%m-%d %H:%M}",
    )


def _job_cells(job: Row) -> Sequence[object]:
    last = job["last_success"] and f"{job['last_success']:%Y-%m-%d %H:%M}"
    return (
        *(job["job_id"], job["action"], job["relation"], job["state"], job["runs"], job["failures"]),
        *(last, job["error"]),
    )


def _ratio(bytes_: int, values: int) -> float | None:
    return bytes_ / values if values else None
