"""What `make up` runs beside the services: it migrates, waits until all is ready, and says where everything is."""

from __future__ import annotations

import contextlib
import functools
import http.client
import json
import signal
import time
from collections.abc import Callable

from psycopg.pq import PGconn, Ping

from service.errors import TidemarkError
from sql import addresses
from sql.engine import Say
from sql.migrate import Outcome, migrate
from sql.settings import Services

POLL_SECONDS = 0.1
SAY_SECONDS = 10.0
PROBE_SECONDS = 5.0
WILDCARDS = {"0.0.0.0": "127.0.0.1", "::": "::1"}


class NotReadyError(TidemarkError):
    """Something was not ready in time; the message says what, and what it said last."""


def ready(settings: Services, say: Say) -> None:
    """Wait for the database, migrate it, wait for the services, and say where everything is."""
    deadline = time.monotonic() + settings.ready_seconds
    owner = settings.url("owner")
    _wait("the database", functools.partial(_database_fault, owner), deadline, say)
    outcome = migrate(owner)
    places = {
        "ingest": (settings.ingest_host, settings.ingest_port),
        "query": (settings.query_host, settings.query_port),
    }
    for name, (host, port) in places.items():
        _wait(name, functools.partial(_service_fault, host, port), deadline, say)
    for line in banner(settings, outcome):
        say(line)


def stay() -> None:
    """Do nothing until SIGTERM or SIGINT (as `KeyboardInterrupt`)."""
    with contextlib.suppress(KeyboardInterrupt):
        while True:
            signal.pause()


def banner(settings: Services, outcome: Outcome) -> list[str]:
    """The lines that tell where everything is, and one thing to try."""
    ingest, query = place(settings.ingest_host, settings.ingest_port), place(settings.query_host, settings.query_port)
    return [
        "",
        "Tidemark is ready.",
        f"  push to      http://{ingest}",
        f"  ask          http://{query}",
        f"  SQL          psql '{_shown_url(settings)}'",
        f"  TimescaleDB  {edition_line(outcome)}",
        f"  try          curl '{query}/api/v1/aggregate?metric=cpu.usage_user&by=host&start=-1h'",
        "",
    ]


def edition_line(outcome: Outcome) -> str:
    """What the server is, and what it cannot do."""
    known = outcome.edition
    edition, postgresql = known["edition"], known["postgresql"].split()[0]
    line = f"{known['timescaledb']}, {edition.capitalize()} edition, on PostgreSQL {postgresql}"
    if edition == "apache":
        line += ": no compression and no rollups"
    return line


def _shown_url(settings: Services) -> str:
    """The address for reading; the password in it only where it is one that we have made up."""
    url = settings.url("query")
    made_up = addresses.kept(settings.home / addresses.FILE).get(addresses.VARIABLES["query"])
    return url if url == made_up else addresses.without_password(url)


def _wait(what: str, fault: Callable[[], str | None], deadline: float, say: Say) -> None:
    told = time.monotonic()
    while (reason := fault()) is not None:
        now = time.monotonic()
        if now > deadline:
            raise NotReadyError(f"{what} is not ready in time (TIDEMARK_READY_SECONDS): {reason}")
        if now - told > SAY_SECONDS:
            say(f"waiting for {what}: {reason}")
            told = now
        time.sleep(POLL_SECONDS)


def _database_fault(url: str) -> str | None:
    """Why the server does not take connections; None when it does."""
    answer = Ping(PGconn.ping(url.encode()))
    if answer == Ping.NO_ATTEMPT:
        raise NotReadyError("DATABASE_URL is not an address that PostgreSQL's client library understands")
    return {Ping.OK: None, Ping.REJECT: "it is starting or stopping"}.get(answer, "nothing answers at its address")


def _service_fault(host: str, port: int) -> str | None:
    """Why a service is not ready; None when it is."""
    connection = http.client.HTTPConnection(WILDCARDS.get(host, host), port, timeout=PROBE_SECONDS)
    try:
        connection.request("GET", "/readyz")
        answer = connection.getresponse()
        body = answer.read()
    except (OSError, http.client.HTTPException) as error:
        return f"it does not answer ({error})"
    finally:
        connection.close()
    if answer.status == http.client.OK:
        return None
    try:
        return str(json.loads(body)["message"])
    except (ValueError, KeyError, TypeError):
        return f"it answers {answer.status}"


def place(host: str, port: int) -> str:
    """Where on this host a service is reached that listens on `host`."""
    reached = WILDCARDS.get(host, host)
    return f"[{reached}]:{port}" if ":" in reached else f"{reached}:{port}"
