"""What query tells of what is stored, and of the database's jobs: at /api/v1/status and by its instruments."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

from tests.integration.query.conftest import DEADLINE_SECONDS, Database, Query, ServeQuery
from tests.integration.query.reference import Point

JOB_REPORT = """
    CREATE OR REPLACE FUNCTION catalog.job_report() RETURNS TABLE (
        job_id int, action text, relation text, state text, runs bigint, failures bigint,
        last_success timestamptz, next_start timestamptz, error text
    ) LANGUAGE sql STABLE AS $$
        SELECT n, 'compression', 'points.m', CASE WHEN n <= 30 THEN 'failed' WHEN n = 31 THEN 'late' ELSE 'ok' END,
               1, 1, NULL::timestamptz, now(), CASE WHEN n <= 30 THEN 'cannot drop portal' END
        FROM generate_series(1, 33) n
    $$
"""


async def storage(query: Query, known: bool = True) -> Any:
    """What /api/v1/status tells of what is stored, once it does."""
    async with asyncio.timeout(DEADLINE_SECONDS):
        while True:
            _, status = await query.get("/api/v1/status")
            if (status["storage"] is not None) is known:
                return status["storage"]
            await asyncio.sleep(0.02)


async def test_what_is_stored(stored: Database, serve_query: ServeQuery) -> None:
    """Points, chunks and bytes; the instruments say the same."""
    moment = datetime(2026, 11, 22, tzinfo=UTC)
    stored.store("m", [Point((("host", "a"),), moment, {"f": 1.0})])
    stored.execute("ANALYZE")
    query = await serve_query(stored.url)
    told = await storage(query)
    assert (told["measurements"], told["points"]) == (1, 1)
    assert told["chunks"] == {"compressed": 0, "uncompressed": 1, "due": told["chunks"]["due"]}
    assert told["bytes"]["raw"] > 0
    assert told["bytes_per_value"] == {"before_compression": None, "after_compression": None}
    assert told["jobs_in_trouble"] == []
    assert await query.counted("query_storage_bytes", kind="raw") == told["bytes"]["raw"]
    assert await query.counted("query_storage_chunks", state="uncompressed") == 1
    assert await query.counted("query_storage_points") == 1


async def test_jobs_in_trouble_are_told(stored: Database, serve_query: ServeQuery) -> None:
    """All are counted by state; as many are named as fit into a status."""
    stored.execute(JOB_REPORT)
    query = await serve_query(stored.url)
    told = await storage(query)
    assert told["jobs"] == {"ok": 2, "failed": 30, "late": 1}
    assert len(told["jobs_in_trouble"]) == 20
    assert told["jobs_in_trouble"][0] == {
        "job": 1,
        "action": "compression",
        "relation": "points.m",
        "state": "failed",
        "error": "cannot drop portal",
    }
    assert await query.counted("query_jobs", state="failed") == 30
    assert await query.counted("query_jobs", state="late") == 1


async def test_an_older_schema_is_no_fault(stored: Database, serve_query: ServeQuery) -> None:
    """A database that is not migrated yet answers questions; what is stored is told when it can be."""
    stored.execute("ALTER FUNCTION catalog.storage_report RENAME TO later")
    query = await serve_query(stored.url, storage_seconds=1)
    await query.until_ready()
    await query.until_counted("query_database_errors_total", 1.0, sqlstate="42883")
    assert await storage(query, known=False) is None
    stored.execute("ALTER FUNCTION catalog.later RENAME TO storage_report")
    assert (await storage(query))["measurements"] == 0
