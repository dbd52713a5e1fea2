"""Every instrument of query, in groups by what they count."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from service.instruments import remember_children

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)

SERVER_FACTS = ("edition", "timescaledb", "postgresql")
"""Members of what `catalog.edition()` tells."""


class Instruments:
    """What query counts."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.requests = _Requests(registry)
        self.statements = _Statements(registry)
        self.cache = _Cache(registry)
        self.redis = _Redis(registry)
        self.servers = _Servers(registry)
        self.storage = _Storage(registry)


class _Requests:
    """How requests are answered, or are not."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.answers = Counter("query_answers", "Answers of rows, by format.", ["format"], registry=registry)
        self.held_bytes = Gauge(
            "query_held_bytes", "Bytes of answers that are made and not sent yet.", registry=registry
        )
        self.cut_off = Counter(
            "query_answers_cut_off",
            "Answers that failed in the middle, by reason: their connection was reset.",
            ["reason"],
            registry=registry,
        )
        self.abandoned = Counter(
            "query_statements_abandoned",
            "Requests whose client went away before the end of the answer: their statement was cancelled.",
            registry=registry,
        )
        self.limited = Counter("query_limited", "Requests past a bound, by setting.", ["setting"], registry=registry)
        self.waiting_for_share = Gauge(
            "query_waiting_for_share", "Requests waiting for others of their client to be answered.", registry=registry
        )
        remember_children(self.answers)


class _Statements:
    """What is asked of the database."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.seconds = Histogram(
            "query_statement_seconds",
            "Time of a statement that succeeded, the wait for a connection included, by statement.",
            ["statement"],
            buckets=SECONDS,
            registry=registry,
        )
        self.rows = Counter(
            "query_rows", "Rows that statements returned, by statement.", ["statement"], registry=registry
        )
        self.errors = Counter(
            "query_database_errors", "Errors of the database, by SQLSTATE.", ["sqlstate"], registry=registry
        )
        remember_children(self.seconds, self.rows)


class _Cache:
    """What is kept of answers, in memory or in Redis."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.requests = Counter(
            "query_cache_requests",
            "Aggregates and points by what was kept of them: all (hit), some (partial), nothing yet (miss), or nothing "
            "can be (bypass).",
            ["outcome"],
            registry=registry,
        )
        self.windows = Counter(
            "query_cache_windows",
            "Windows of such answers: reused, or computed, of which some were kept and then changed late, or expired; "
            "unkeepable have a number that is none.",
            ["outcome"],
            registry=registry,
        )
        self.unsettled = Gauge(
            "query_cache_unsettled_seconds",
            "Age of the latest moment before which all is over that had begun to write: nothing that ended since is "
            "kept. Infinite while it is not known.",
            registry=registry,
        )
        self.bytes = Gauge("query_cache_bytes", "Memory held for what is kept.", registry=registry)
        self.entries = Gauge("query_cache_entries", "Windows kept in memory.", registry=registry)
        self.evicted = Counter("query_cache_evicted", "Windows that had to leave memory for others.", registry=registry)
        remember_children(self.requests, self.windows)


class _Redis:
    """How Redis does, where it keeps them."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.errors = Counter(
            "query_cache_errors",
            "What went wrong with Redis: timeout, broken, refused (full, or a copy), busy (not written), unreadable "
            "(not ours).",
            ["kind"],
            registry=registry,
        )
        self.broken = Gauge(
            "query_cache_broken", "1 while Redis is left alone after an error, else 0.", registry=registry
        )


class _Servers:
    """How the primary and the replica do, and which of them is asked."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.up = Gauge(
            "query_database_up",
            "1 while the server answers and is migrated, else 0; primary or replica.",
            ["server"],
            registry=registry,
        )
        self.info = Gauge(
            "query_database_info",
            "Always 1; the labels say what the server is.",
            ["server", *SERVER_FACTS],
            registry=registry,
        )
        self.connections = Gauge(
            "query_connections", "Database connections, idle ones included, by server.", ["server"], registry=registry
        )
        self.waiting = Gauge(
            "query_waiting", "Requests waiting for a connection, by server.", ["server"], registry=registry
        )
        self.reads = Counter(
            "query_reads",
            "Requests by server, and why it was chosen: the only one, asked for (strong), fresh or reached (a "
            "replica), or what is wrong with the replica (new, away, foreign, promoted, timeline, lagging, "
            "not_reached, failed). What the replica failed to do counts again for the primary.",
            ["server", "reason"],
            registry=registry,
        )
        self.replica_behind = Gauge(
            "query_replica_behind_seconds",
            "How far the replica is behind the primary, at most; 0 without one.",
            registry=registry,
        )
        remember_children(self.reads)


class _Storage:
    """What is stored, and how the database's jobs do."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.jobs = Gauge(
            "query_jobs", "Jobs of the database, by state when last looked at.", ["state"], registry=registry
        )
        self.points = Gauge(
            "query_storage_points",
            "Points stored, by the last look: counted where they are compressed, elsewhere estimated by PostgreSQL's "
            "statistics.",
            registry=registry,
        )
        self.chunks = Gauge(
            "query_storage_chunks",
            "Chunks stored; of these, due are those that should be compressed by now and are not.",
            ["state"],
            registry=registry,
        )
        self.bytes = Gauge(
            "query_storage_bytes",
            "Bytes on disk of raw points and of rollups; and of what is compressed, before and after.",
            ["kind"],
            registry=registry,
        )
        self.bytes_per_value = Gauge(
            "query_storage_bytes_per_value",
            "Bytes on disk for a field of a point, of what is compressed, before and after.",
            ["kind"],
            registry=registry,
        )
