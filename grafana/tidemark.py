"""The dashboard *Tidemark*: the services themselves, by the instruments that the agent reads, and what is stored."""

from __future__ import annotations

from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models.dashboard import Dashboard, Panel

from grafana.panels import board, curve, measurement_variable, number, percents, rows
from grafana.statements import gauge, quantiles, rate

Panels = list[Builder[Panel]]

FATES = ("accepted", "kept", "rejected", "refused")
WRITES = "(tags->>'route' LIKE '%write' OR tags->>'route' = '/api/v1/points')"
JOBS = """\
SELECT relation, action, state, runs, failures, last_success, next_start, error FROM catalog.job_report()
UNION ALL SELECT 'none', 'the Apache edition has no jobs', 'ok', 0, 0, NULL, NULL, NULL
WHERE NOT EXISTS (SELECT FROM catalog.job_report()) ORDER BY state, relation, action"""
STORED = """\
SELECT measurement, fields, points, chunks, compressed_chunks, due_chunks, raw_bytes, rollup_bytes,
  after_bytes / nullif(compressed_values, 0)::float8 AS bytes_per_value, oldest
FROM catalog.storage_report() WHERE measurement = ANY (ARRAY[${measurement}]::text[]) ORDER BY raw_bytes DESC"""
FAILED = "SELECT count(*) FILTER (WHERE state <> 'ok') AS failed FROM catalog.job_report()"


def _newest(field: str) -> str:
    return (
        f"SELECT time, {field} AS value FROM metrics.tidemark_at('$__interval')\n"
        f"WHERE $__timeFilter(time) AND {field} IS NOT NULL ORDER BY 1 DESC LIMIT 1"
    )


def _largest(field: str, name: str, by: str = "") -> str:
    return gauge("tidemark", f"max({field}) AS {name}", f"{field} IS NOT NULL", by)  # most series lack it


def _counted(counter: str, by: str) -> str:
    return rate("tidemark", (counter,), by=f"tags->>'{by}'")


def tidemark() -> Dashboard:
    """The dashboard."""
    sections = {
        "Now": _now(),
        "Taken": _taken(),
        "Queue and spool": _queued(),
        "Asked": _asked(),
        "Stored": _stored(),
    }
    return board("tidemark-self", "Tidemark", [measurement_variable()], sections)


def _now() -> Panels:
    return [
        number("Database, seen by ingest", "bool_yes_no", _newest("ingest_database_up"), span=6),
        number("Waiting in the spool", "short", _newest("ingest_spool_points"), span=6),
        number("Jobs in trouble", "none", FAILED, percents(1, 1), span=6),
        number("Points stored", "short", _newest("query_storage_points"), span=6),
    ]


def _taken() -> Panels:
    fates = rate("tidemark", [f"ingest_points_{fate}_total" for fate in FATES])
    return [
        curve("Points by fate", "cps", fates, stacked=True),
        curve("Requests acknowledged within", "s", quantiles("ingest_http_request_seconds", WRITES)),
        curve("Ladder", "ops", _counted("ingest_ladder_total", "rung")),
        curve("Committed within", "s", quantiles("ingest_commit_seconds")),
        curve("Waited for a copier", "s", quantiles("ingest_queue_wait_seconds")),
        curve("Requests by status", "reqps", _counted("ingest_http_requests_total", "status"), stacked=True),
        curve("Errors of the database", "ops", _counted("ingest_database_errors_total", "sqlstate")),
        curve("Rejected, by reason", "cps", _counted("ingest_points_rejected_total", "reason")),
    ]


def _queued() -> Panels:
    return [
        curve("Bytes of requests under way", "bytes", _largest("ingest_pending_bytes", "pending")),
        curve("Requests waiting", "short", _largest("ingest_queued_requests", "waiting")),
        curve("Spool", "bytes", _largest("ingest_spool_bytes", "bytes", "tags->>'kind'")),
        curve("Oldest in the spool", "s", _largest("ingest_spool_oldest_seconds", "age")),
        curve("Durable in the spool within", "s", quantiles("ingest_spool_seconds")),
        curve("Series known", "short", _largest("ingest_cached_series", "series")),
    ]


def _asked() -> Panels:
    connections = gauge(
        "tidemark",
        "max(query_connections) AS open, max(query_waiting) AS waiting",
        "(query_connections IS NOT NULL OR query_waiting IS NOT NULL)",
    )
    return [
        curve("Requests", "reqps", _counted("query_http_requests_total", "route")),
        curve("Statements within", "s", quantiles("query_statement_seconds")),
        curve("Connections", "short", connections),
        curve("Rows", "rps", _counted("query_rows_total", "statement")),
    ]


def _stored() -> Panels:
    ratio = _largest("query_storage_bytes_per_value", "bytes", "tags->>'kind'")
    units = {"raw_bytes": "bytes", "rollup_bytes": "bytes", "bytes_per_value": "bytes", "points": "short"}
    return [
        curve("On disk", "bytes", _largest("query_storage_bytes", "bytes", "tags->>'kind'")),
        curve("Chunks", "short", _largest("query_storage_chunks", "chunks", "tags->>'state'")),
        curve("Jobs", "short", _largest("query_jobs", "jobs", "tags->>'state'")),
        curve("Bytes a value, before and after compression", "bytes", ratio),
        rows("Measurements", STORED, units),
        rows("Jobs of the database", JOBS, {}),
    ]
