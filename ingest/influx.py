"""What InfluxDB's clients and Telegraf ask before they write: is a server there, which version, is my database there.

Their databases, retention policies, organisations and buckets mean nothing here: every point goes into the one
database that ingest has. So any database can be made, and the names that were made since the start are listed.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import parse_qs

from aiohttp import web

from service.errors import BadRequest, TooLarge
from service.web import json_response

INFLUX_VERSION = "1.8.10"
"""What clients are told: of version 1 the last, which has the endpoints of version 2 as well."""

MAX_DATABASES, MAX_NAME_LENGTH = 1000, 255
"""Names remembered, of which the oldest is forgotten first, and the characters of one."""
MAX_STATEMENTS = 20
"""Of a query: each may list all names."""

MAX_QUERY_BYTES = 64 * 1024
"""Of a query in a body; those of a URL are bounded by HTTP."""

CREATE = re.compile(r'CREATE\s+DATABASE\s+("(?:[^"\\]|\\.)+"|\w+)(?:\s+WITH\s+.*)?', re.IGNORECASE | re.DOTALL)
SHOW = re.compile(r"SHOW\s+DATABASES", re.IGNORECASE)

Result = dict[str, Any]


def add_routes(app: web.Application, read: Callable[[web.Request], Awaitable[bytes]]) -> None:
    """Give `app` the endpoints; `read` reads a request's body within the bounds of all bodies."""
    databases = Databases()

    async def query(request: web.Request) -> web.Response:
        text = request.query.get("q")
        if text is None and request.method == "POST":
            form = await read(request)
            if len(form) > MAX_QUERY_BYTES:
                raise TooLarge(f"the query is larger than {MAX_QUERY_BYTES} bytes")
            text = parse_qs(form.decode(errors="replace")).get("q", [None])[0]
        if not text:
            raise BadRequest('missing required parameter "q"', parameter="q")
        return json_response({"results": databases.answer(text)})

    app.router.add_get("/ping", _ping)
    app.router.add_get("/health", _health)
    app.router.add_get("/query", query)
    app.router.add_post("/query", query)


class Databases:
    """The names of databases that clients have made."""

    def __init__(self) -> None:
        self._names: dict[str, None] = {"tidemark": None}

    def answer(self, text: str) -> list[Result]:
        """The results of InfluxQL statements. Raises `BadRequest` for any but the two that are known, and too many."""
        statements = [one for part in text.split(";") if (one := part.strip())]
        if len(statements) > MAX_STATEMENTS:
            raise BadRequest(
                f"{len(statements)} statements, at most {MAX_STATEMENTS} are allowed in a query", parameter="q"
            )
        return [{"statement_id": number, **self._run(one)} for number, one in enumerate(statements)]

    def _run(self, statement: str) -> Result:
        if SHOW.fullmatch(statement):
            names = [[name] for name in self._names]
            return {"series": [{"name": "databases", "columns": ["name"], "values": names}]}
        if created := CREATE.fullmatch(statement):
            self._create(re.sub(r"\\(.)", r"\1", created[1].strip('"')))
            return {}
        raise BadRequest(
            f"error parsing query: {statement[:80]!r} is not known here, only CREATE DATABASE and SHOW DATABASES are; "
            "ask the query service (/api/v1/aggregate), or in SQL",
            parameter="q",
        )

    def _create(self, name: str) -> None:
        if len(name) > MAX_NAME_LENGTH:
            raise BadRequest(
                f"the database's name has {len(name)} characters, at most {MAX_NAME_LENGTH} are allowed", parameter="q"
            )
        while len(self._names) >= MAX_DATABASES:
            del self._names[next(iter(self._names))]
        self._names[name] = None


async def _ping(request: web.Request) -> web.Response:
    """With nothing to read, unless `verbose` asks for the version in the body too."""
    headers = {"X-Influxdb-Version": INFLUX_VERSION, "X-Influxdb-Build": "OSS"}
    if request.query.get("verbose", "") in ("", "0", "false"):
        return web.Response(status=204, headers=headers)
    return json_response({"version": INFLUX_VERSION}, headers=headers)


async def _health(_: web.Request) -> web.Response:
    """The process answers, whatever the database does."""
    return json_response(
        {
            "name": "influxdb",
            "message": "ready for queries and writes",
            "status": "pass",
            "checks": [],
            "version": INFLUX_VERSION,
        }
    )
