"""The dashboard *Tidemark*: the services themselves, by the instruments that the agent reads, and what is stored."""

from __future__ import annotations

from grafana_foundation_sdk.models.dashboard import Dashboard

from grafana.panels import board, curve, measurement_variable, number, percents, rows
from grafana.statements import gauge, quantiles, rate

FATES = ("accepted", "kept", "rejected", "refused")
WRITES = "(tags->>'route' LIKE '%write' OR tags->>'route' = '/api/v1/points')"
JOBS = """\
SELECT relation, action, state, runs, failures, last_success, next_start, error FROM catalog.job_report()
UNION ALL SELECT 'none', 'the Apache edition has no jobs', 'ok', 0, 0, NULL, NULL, NULL
WHERE NOT EXISTS (SELECT FROM catalog.job_report()) ORDER BY state, relation, action"""
STORED = """\
SELECT measurement, fields, points, chunks, compressed_chunks, due_chunks, raw_bytes, rollup_bytes,
  after_bytes / nullif(compressed_values, 0)::float8 AS bytes_per_value, oldest
FROM catalog.storage_report() WHERE measurement IN (${measurement:sqlstring}) ORDER BY raw_bytes DESC"""
FAILED = "SELECT count(*) FILTER (WHERE state <> 'ok') AS failed FROM catalog.job_report()"


def _newest(field: str) -> str:
    return (
        f"SELECT time, {field} AS value FROM metrics.tidemark_at('$__interval')\n"
        f"WHERE $__timeFilter(time) AND {field} IS NOT NULL ORDER BY 1 DESC LIMIT 1"
    )


def tidemark() -> Dashboard:
    """The dashboard."""
    fates = [rate("tidemark", (f"ingest_points_{fate}_total",)) for fate in FATES]
    return board(
        "tidemark-self",
        "Tidemark",
        [measurement_variable()],
        {
            "Now": [
                number("Database, seen by ingest", "bool_yes_no", _newest("ingest_database_up"), span=6),
                number("Waiting in the spool", "short", _newest("ingest_spool_points"), span=6),
                number("Jobs in trouble", "none", FAILED, percents(1, 1), span=6),
                number("Points stored", "short", _newest("query_storage_points"), span=6),
            ],
            "Taken": [
                curve("Points by fate", "cps", fates, stacked=True),
                curve("Requests acknowledged within", "s", quantiles("ingest_http_request_seconds", WRITES)),
                curve("Ladder", "ops", rate("tidemark", ("ingest_ladder_total",), by="tags->>'rung'")),
                curve("Committed within", "s", quantiles("ingest_commit_seconds")),
                curve("Waited for a copier", "s", quantiles("ingest_queue_wait_seconds")),
                curve(
                    "Requests by status",
                    "reqps",
                    rate("tidemark", ("ingest_http_requests_total",), by="tags->>'status'"),
                    stacked=True,
                ),
                curve(
                    "Errors of the database",
                    "ops",
                    rate("tidemark", ("ingest_database_errors_total",), by="tags->>'sqlstate'"),
                ),
                curve(
                    "Rejected, by reason",
                    "cps",
                    rate("tidemark", ("ingest_points_rejected_total",), by="tags->>'reason'"),
                ),
            ],
            "Queue and spool": [
                curve(
                    "Bytes of requests under way", "bytes", gauge("tidemark", "max(ingest_pending_bytes) AS pending")
                ),
                curve("Requests waiting", "short", gauge("tidemark", "max(ingest_queued_requests) AS waiting")),
                curve("Spool", "bytes", gauge("tidemark", "max(ingest_spool_bytes) AS bytes", by="tags->>'kind'")),
                curve("Oldest in the spool", "s", gauge("tidemark", "max(ingest_spool_oldest_seconds) AS age")),
                curve("Durable in the spool within", "s", quantiles("ingest_spool_seconds")),
                curve("Series known", "short", gauge("tidemark", "max(ingest_cached_series) AS series")),
            ],
            "Asked": [
                curve("Requests", "reqps", rate("tidemark", ("query_http_requests_total",), by="tags->>'route'")),
                curve("Statements within", "s", quantiles("query_statement_seconds")),
                curve(
                    "Connections",
                    "short",
                    gauge("tidemark", "max(query_connections) AS open, max(query_waiting) AS waiting"),
                ),
                curve("Rows", "rps", rate("tidemark", ("query_rows_total",), by="tags->>'statement'")),
            ],
            "Stored": [
                curve("On disk", "bytes", gauge("tidemark", "max(query_storage_bytes) AS bytes", by="tags->>'kind'")),
                curve("Chunks", "short", gauge("tidemark", "max(query_storage_chunks) AS chunks", by="tags->>'state'")),
                curve("Jobs", "short", gauge("tidemark", "max(query_jobs) AS jobs", by="tags->>'state'")),
                curve(
                    "Bytes a value, before and after compression",
                    "bytes",
                    gauge("tidemark", "max(query_storage_bytes_per_value) AS bytes", by="tags->>'kind'"),
                ),
                rows(
                    "Measurements",
                    STORED,
                    {"raw_bytes": "bytes", "rollup_bytes": "bytes", "bytes_per_value": "bytes", "points": "short"},
                ),
                rows("Jobs of the database", JOBS, {}),
            ],
        },
    )
