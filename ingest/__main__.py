"""`python -m ingest`: take metrics over HTTP. `python -m ingest spool`: what waits on disk."""

from __future__ import annotations

import sys

from ingest import commands
from ingest.app import create_app
from ingest.settings import IngestSettings
from ingest.spool.errors import SpoolUnavailable
from service import logs, settings, web

PROG = "python -m ingest"


def main() -> None:
    """Read the settings and serve until told to stop; or look after the spool."""
    if sys.argv[1:2] == ["spool"]:
        commands.main(sys.argv[2:])
        return
    chosen = settings.read(IngestSettings, PROG)
    logs.configure(chosen.log_level, chosen.log_format)
    try:
        web.run(
            PROG,
            lambda: create_app(chosen),
            chosen.host,
            chosen.port,
            shutdown_timeout=chosen.shutdown_seconds,
            auto_decompress=False,
        )
    except SpoolUnavailable as error:
        sys.stderr.write(f"{PROG}: {error}; set INGEST_SPOOL_DIRECTORY, or INGEST_SPOOL=off to do without\n")
        raise SystemExit(1) from None


if __name__ == "__main__":
    main()
