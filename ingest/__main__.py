"""`python -m ingest`: take metrics over HTTP. `python -m ingest spool`: what waits on disk."""

from __future__ import annotations

import sys

from ingest import commands
from ingest.app import create_app
from ingest.settings import IngestSettings
from ingest.spool.errors import SpoolFailed
from ingest.spool.store import require
from service import logs, settings, workers
from service.connections import Bound

PROG = "python -m ingest"


def main() -> None:
    """Read the settings and serve until told to stop; or look after the spool."""
    if sys.argv[1:2] == ["spool"]:
        commands.main(sys.argv[2:])
        return
    chosen = settings.read(IngestSettings, PROG)
    logs.configure(chosen.log_level, chosen.log_format)
    try:
        if chosen.spool == "on":
            require(chosen.spool_directory)
    except SpoolFailed as error:
        sys.stderr.write(f"{PROG}: {error}: set INGEST_SPOOL_DIRECTORY, or do without by INGEST_SPOOL=off\n")
        raise SystemExit(1) from None
    workers.run(
        PROG,
        lambda: create_app(chosen),
        chosen.host,
        chosen.port,
        chosen.workers,
        Bound(
            chosen.max_client_connections,
            "INGEST_MAX_CLIENT_CONNECTIONS",
            send_seconds=chosen.send_timeout_seconds,
        ),
        keepalive_timeout=chosen.idle_seconds,
        shutdown_timeout=chosen.shutdown_seconds,
        auto_decompress=False,
    )


if __name__ == "__main__":
    main()
