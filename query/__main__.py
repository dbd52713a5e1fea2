"""`python -m query`: answer questions over HTTP until SIGTERM or SIGINT."""

from __future__ import annotations

from query.app import connections_bound, create_app, server_options
from query.settings import QuerySettings
from service import logs, settings, web

PROG = "python -m query"


def main() -> None:
    """Read the settings and serve until told to stop."""
    chosen = settings.read(QuerySettings, PROG)
    logs.configure(chosen.log_level, chosen.log_format)
    bound = connections_bound(chosen)
    web.run(PROG, lambda: create_app(chosen), chosen.host, chosen.port, bound, **server_options(chosen))


if __name__ == "__main__":
    main()
