"""Every instrument of ingest, in groups by what they count."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

SIZES = (1, 10, 100, 1_000, 10_000, 100_000)
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


class Instruments:
    """What ingest counts."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.points = _Points(registry)
        self.writer = _Writer(registry)
        self.ladder = _Ladder(registry)
        self.spool = _Spool(registry)
        self.drainer = _Drainer(registry)
        self.series = _Series(registry)
        self.process = _Process(registry)
        self.database = _Database(registry)


class _Points:
    """What requests bring: every point received is counted once as accepted, kept, rejected or refused."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.accepted = Counter(
            "ingest_points_accepted", "Points committed and acknowledged.", ["protocol"], registry=registry
        )
        self.kept = Counter("ingest_points_kept", "Points spooled and acknowledged.", ["protocol"], registry=registry)
        self.rejected = Counter(
            "ingest_points_rejected", "Points that cannot be taken, by reason.", ["reason"], registry=registry
        )
        self.refused = Counter(
            "ingest_points_refused", "Points answered with 503: send them again.", ["protocol"], registry=registry
        )
        self.skipped_fields = Counter(
            "ingest_fields_skipped", "Fields left out of their point: not a number.", registry=registry
        )
        self.body_bytes = Counter(
            "ingest_body_bytes", "Bytes of request bodies, decompressed.", ["protocol"], registry=registry
        )


class _Writer:
    """How long requests wait for the database, and how many do."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.wait_seconds = Histogram(
            "ingest_queue_wait_seconds",
            "Time a request's points wait for a copier.",
            buckets=SECONDS,
            registry=registry,
        )
        self.commit_seconds = Histogram(
            "ingest_commit_seconds",
            "Time from a copier's start with a group of requests to the end of its last transaction.",
            buckets=SECONDS,
            registry=registry,
        )
        self.queued_requests = Gauge("ingest_queued_requests", "Requests waiting for a copier.", registry=registry)
        self.split_requests = Gauge(
            "ingest_split_requests", "Requests waiting for their next portion to be merged.", registry=registry
        )


class _Ladder:
    """What is committed, and what becomes of that which is not at once."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.batch_points = Histogram(
            "ingest_batch_points", "Points committed in one transaction.", buckets=SIZES, registry=registry
        )
        self.late_stretches = Counter(
            "ingest_late_stretches",
            "Stretches of time noted for readers because points older than a minute were committed.",
            registry=registry,
        )
        self.rungs = Counter(
            "ingest_ladder",
            "Steps of the write ladder: groups committed by copy or by merge, groups taken apart (isolate), requests "
            "merged in portions because they change much compressed data (split), tries made again (retry, relearn), "
            "requests refused for good (reject) or because their time was over (give_up).",
            ["rung"],
            registry=registry,
        )
        self.errors = Counter(
            "ingest_database_errors", "Errors of the database, by SQLSTATE.", ["sqlstate"], registry=registry
        )


class _Spool:
    """What is spooled, and what waits there."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.seconds = Histogram(
            "ingest_spool_seconds",
            "Time until a request is durable in the spool.",
            buckets=SECONDS,
            registry=registry,
        )
        self.refused = Counter(
            "ingest_spool_refused",
            "Requests that the spool could not take, by reason: full, age, or the operating system's word.",
            ["reason"],
            registry=registry,
        )
        self.bytes = Gauge("ingest_spool_bytes", "Bytes of the spool on disk, by kind.", ["kind"], registry=registry)
        self.entries = Gauge("ingest_spool_entries", "Entries of the spool, by kind.", ["kind"], registry=registry)
        self.points = Gauge("ingest_spool_points", "Points that wait in the spool.", registry=registry)
        self.oldest = Gauge(
            "ingest_spool_oldest_seconds",
            "Age of the oldest entry that waits in the spool; 0 without any.",
            registry=registry,
        )


class _Drainer:
    """What becomes of that which was spooled."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.drained = Counter(
            "ingest_spool_drained_points", "Points of the spool that were committed.", registry=registry
        )
        self.quarantined = Counter(
            "ingest_spool_quarantined",
            "Entries and requests of the spool set aside: damaged, or refused by the database for good.",
            registry=registry,
        )
        self.lost = Counter(
            "ingest_spool_lost_points",
            "Points of entries of the spool whose file was gone: somebody has removed it, or the disk has lost it.",
            registry=registry,
        )
        self.deferred = Gauge(
            "ingest_spool_deferred",
            "Entries of the spool that let others go first: refused for now, or behind one that is.",
            registry=registry,
        )


class _Series:
    """What this process knows of series."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.cached = Gauge("ingest_cached_series", "Series known to this process.", registry=registry)
        self.bytes = Gauge("ingest_cache_bytes", "Memory held for known series.", registry=registry)
        self.misses = Counter(
            "ingest_cache_misses",
            "Series that were not known to this process and were looked up, or made, in the catalog.",
            registry=registry,
        )


class _Process:
    """How much this process has in hand."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.pending_bytes = Gauge(
            "ingest_pending_bytes",
            "Bytes held by requests not yet answered, and by spooled ones while they are written.",
            registry=registry,
        )
        self.loop_held = Histogram(
            "ingest_loop_held_seconds",
            "Time for which the event loop was at work on one thing after the other, looked at every 10 ms.",
            buckets=SECONDS,
            registry=registry,
        )


class _Database:
    """Whether the database is there, and what it is."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.up = Gauge("ingest_database_up", "1 while the database answers, else 0.", registry=registry)
        self.info = Gauge(
            "ingest_database_info",
            "Always 1; the labels say what the server is.",
            ["edition", "timescaledb", "postgresql"],
            registry=registry,
        )
