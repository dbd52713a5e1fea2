"""The web shell of a process: probes, instruments, one JSON body for every error, start and stop.

Every process answers `/healthz` (it runs), `/readyz` (it can do its work), `/metrics` (its instruments in
Prometheus' text form) and `/api/v1/status` (what a person wants to know). `create_app` gives these to an
application; `run` serves it until SIGTERM or SIGINT and lets requests under way finish. `service.workers` does the
same with several processes on one port.
"""

from __future__ import annotations

import asyncio
import errno
import gc
import logging
import re
import signal
import socket
import sys
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import orjson
import uvloop
from aiohttp import HttpVersion11, hdrs, web, web_urldispatcher
from aiohttp.http_exceptions import HttpProcessingError, LineTooLong
from aiohttp.log import server_logger
from aiohttp.typedefs import Handler, Middleware
from prometheus_client import CollectorRegistry, Counter, Histogram, disable_created_metrics
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from service import logs
from service.connections import Bound, Connections, Runner
from service.errors import HttpError, Unmet, error_body
from service.instruments import remember_children
from service.siblings import WORKER

log = logs.get(__name__)

BACKLOG = 1024
"""Connections that the kernel may hold until they are accepted: a fleet's agents all push at the same second."""

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)
"""What ends a process in order."""

disable_created_metrics()  # type: ignore[no-untyped-call]  # else every counter has its birth beside it
CONTINUE = "100-continue"
"""What a client may expect: to be asked for its body. To HTTP/1.0 the header means nothing."""
CLIENT_LEFT = 499
"""The status that no client sees, as nginx has it: it left before it was answered."""
CODES = {
    400: "invalid",
    401: "unauthorized",
    403: "forbidden",
    404: "not found",
    405: "method not allowed",
    413: "request too large",
    415: "unsupported media type",
}


CANNOT_LISTEN = (errno.EADDRINUSE, errno.EACCES, errno.EADDRNOTAVAIL)
UNEXPECTED = "an unexpected error; the service's log has it"


def _in_one_line(record: logging.LogRecord) -> bool:
    """Let aiohttp log what a client sent that is no HTTP, but as one line and without a traceback."""
    error = record.exc_info[1] if record.exc_info else None
    if isinstance(error, (HttpProcessingError, web.RequestPayloadError)):
        # Its text quotes the client, and what it quotes may be a secret.
        record.msg, record.args = f"{record.getMessage()}: {type(error).__name__}", ()
        record.levelno, record.levelname = logging.WARNING, "WARNING"
        record.exc_info = None
    return True


server_logger.addFilter(_in_one_line)

QUOTED = re.compile(r":?\s*(?:\n|b'|b\"|bytearray\()")
"""Where aiohttp's account of a fault goes on with what was sent."""

_handle_error = web.RequestHandler.handle_error


def _explain_error(
    handler: web.RequestHandler,
    request: web.BaseRequest,
    status: int = 500,
    exc: BaseException | None = None,
    message: str | None = None,
) -> web.StreamResponse:
    """What aiohttp answers by itself to what is no HTTP, with the one JSON body; it closes the connection as before."""
    response = _handle_error(handler, request, status, exc, message)
    if isinstance(response, web.Response):
        told = error_body("internal error", UNEXPECTED)
        if status < 500:
            reason = QUOTED.split((message or "").strip(), 1)[0]
            if isinstance(exc, LineTooLong):
                reason = f"its URL or a header is longer than {exc.args[1]} bytes; what is long fits into a POST's body"
            told = error_body(CODES.get(status, "invalid"), f"the request cannot be read as HTTP: {reason}")
        response.body = orjson.dumps(told, option=orjson.OPT_APPEND_NEWLINE)
        response.content_type, response.charset = "application/json", None
    return response


# Such a request reaches no middleware, and aiohttp takes no handler of one's own for it.
web.RequestHandler.handle_error = _explain_error  # type: ignore[method-assign, assignment]

_ask_for_body = web_urldispatcher._default_expect_handler


async def _meet_expectation(request: web.Request) -> None:
    """Let a client go on that waits for that; who expects anything else is refused where every refusal is counted."""
    with suppress(web.HTTPExpectationFailed):
        await _ask_for_body(request)


# aiohttp refuses before the middleware, and what answers unknown paths takes no handler of one's own for it.
web_urldispatcher._default_expect_handler = _meet_expectation


@dataclass(frozen=True)
class Shell:
    """What the shell has to be told by the process it wraps."""

    name: str
    """`ingest` or `query`: the prefix of the shell's own instruments."""
    not_ready: Callable[[], str | None]
    """Why the process cannot do its work now; None when it can."""
    status: Callable[[], Awaitable[Mapping[str, Any]]]
    """The process's own members of `/api/v1/status`."""
    registry: CollectorRegistry = field(default_factory=CollectorRegistry)
    """Where the process's instruments live."""


SHELL = web.AppKey("shell", Shell)
"""What `create_app` was told, in the application."""
STARTED = web.AppKey("started", float)
"""When the application was made, as a Unix time."""


def json_response(body: Any, *, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    """A JSON answer; times are RFC 3339 in UTC."""
    return web.Response(
        body=orjson.dumps(body, option=orjson.OPT_UTC_Z | orjson.OPT_APPEND_NEWLINE),
        status=status,
        headers=headers,
        content_type="application/json",
    )


def create_app(shell: Shell, *, max_body_bytes: int) -> web.Application:
    """An application with the shell's endpoints and middleware; the caller adds its own routes."""
    app = web.Application(middlewares=[_instrumented(shell), _explained], client_max_size=max_body_bytes)
    app[SHELL] = shell
    app[STARTED] = time.time()
    app.on_startup.append(_freeze)
    app.router.add_get("/healthz", _healthz)
    app.router.add_get("/readyz", _readyz)
    app.router.add_get("/metrics", _metrics)
    app.router.add_get("/api/v1/status", _status)
    return app


async def _healthz(_: web.Request) -> web.Response:
    return json_response({"status": "ok"})


async def _readyz(request: web.Request) -> web.Response:
    reason = request.app[SHELL].not_ready()
    if reason is None:
        return json_response({"status": "ready"})
    return json_response(error_body("unavailable", reason, status="not ready"), status=503)


async def _metrics(request: web.Request) -> web.Response:
    worker = request.app.get(WORKER)
    text = generate_latest(request.app[SHELL].registry) if worker is None else await worker.instruments_of_all()
    return web.Response(body=text, headers={"Content-Type": CONTENT_TYPE_LATEST})


async def _status(request: web.Request) -> web.Response:
    shell, worker = request.app[SHELL], request.app.get(WORKER)
    reason = shell.not_ready()
    body = {
        "service": shell.name,
        **({} if worker is None else {"worker": worker.number, "workers": worker.count}),
        "ready": reason is None,
        "not_ready": reason,
        "uptime_seconds": round(time.time() - request.app[STARTED], 3),
        **await shell.status(),
    }
    return json_response(body)


async def _freeze(_: web.Application) -> None:
    """Let what was imported and made so far stay: to look at it again and again takes the collector 30 ms each time."""
    gc.freeze()


def _instrumented(shell: Shell) -> Middleware:
    requests = Counter(
        f"{shell.name}_http_requests",
        "Requests answered, by route and status.",
        ["route", "method", "status"],
        registry=shell.registry,
    )
    seconds = Histogram(
        f"{shell.name}_http_request_seconds",
        "Time from a request's head to its answer, in seconds, by route.",
        ["route"],
        registry=shell.registry,
    )
    remember_children(requests, seconds)

    @web.middleware
    async def instrumented(request: web.Request, handler: Handler) -> web.StreamResponse:
        began = time.perf_counter()
        response = await handler(request)
        resource = request.match_info.route.resource
        route = resource.canonical if resource is not None else "none"
        method = request.method if resource is not None else "any"
        requests.labels(route, method, response.status).inc()
        seconds.labels(route).observe(time.perf_counter() - began)
        return response

    return instrumented


@web.middleware
async def _explained(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Give every error the one JSON body; log the unexpected once, and leak nothing of it."""
    try:
        _check_expectation(request)
        return await handler(request)
    except HttpError as error:
        return json_response(error.body(), status=error.status, headers=error.headers)
    except web.HTTPException as error:
        if error.status < 400:
            raise
        return _from_aiohttp(request, error)
    except web.RequestPayloadError as error:
        return json_response(error_body("invalid", f"the body cannot be read: {error}"), status=400)
    except Exception as error:
        if isinstance(error, OSError) and (request.transport is None or request.transport.is_closing()):
            # The client left while it was being read, or answered; nobody hears this, but it is counted.
            return json_response(error_body("client closed request", "the client left"), status=CLIENT_LEFT)
        log.exception("a request failed unexpectedly", method=request.method, path=request.path)
        return json_response(error_body("internal error", UNEXPECTED), status=500)


def _check_expectation(request: web.Request) -> None:
    expected = request.headers.get(hdrs.EXPECT, CONTINUE)
    if expected.lower() not in ("", CONTINUE) and request.version == HttpVersion11:
        raise Unmet(f"Expect {expected[:60]!r} is not met here, allowed is {CONTINUE}")


def _from_aiohttp(request: web.Request, error: web.HTTPException) -> web.Response:
    message = error.text or error.reason
    path = request.rel_url.raw_path[:200]
    headers = {}
    if isinstance(error, web.HTTPNotFound):
        message = f"there is nothing at {path}"
    elif isinstance(error, web.HTTPMethodNotAllowed):
        allowed = ", ".join(sorted(error.allowed_methods))
        message = f"{path} takes {allowed}, not {error.method}"
        headers["Allow"] = allowed
    code = CODES.get(error.status, error.reason.lower())
    return json_response(error_body(code, message), status=error.status, headers=headers)


def run(
    prog: str, make_app: Callable[[], web.Application], host: str, port: int, bound: Bound, **server_options: Any
) -> None:
    """Serve until SIGTERM or SIGINT; then refuse new connections and finish what is under way.

    The application is made inside the event loop, which pools and locks belong to. A port that cannot be taken
    ends the process with status 1 and one line.
    """

    async def serving() -> None:
        await serve(
            make_app(),
            lambda runner: [web.TCPSite(runner, host, port, backlog=BACKLOG)],
            prog,
            url,
            bound,
            server_options,
        )

    url = f"http://{host}:{port}"
    with refused_in_one_line(prog, host, port):
        uvloop.run(serving())


@contextmanager
def refused_in_one_line(prog: str, host: str, port: int) -> Iterator[None]:
    """End the process with status 1 and one line when the host is none or the port cannot be taken within the block."""
    try:
        yield
    except OSError as error:
        if not isinstance(error, socket.gaierror) and error.errno not in CANNOT_LISTEN:
            raise
        settings = " or ".join(f"{prog.rpartition(' ')[2].upper()}_{name}" for name in ("HOST", "PORT"))
        sys.stderr.write(f"{prog}: cannot listen on {host}:{port}: {error.strerror}: set {settings}\n")
        raise SystemExit(1) from None


async def serve(
    app: web.Application,
    make_sites: Callable[[web.AppRunner], Iterable[web.BaseSite]],
    prog: str,
    url: str,
    bound: Bound,
    server_options: Mapping[str, Any],
) -> None:
    """Serve an application on sites until SIGTERM or SIGINT, then let requests under way finish."""
    shell = app[SHELL]
    runner = Runner(app, Connections(shell.name, bound, shell.registry), access_log=None, **server_options)
    await runner.setup()
    try:
        for site in make_sites(runner):
            await site.start()
        log.info("listening", process=prog, url=url)
        await _stop_signal()
        log.info("stopping", process=prog)
    finally:
        await runner.cleanup()


async def _stop_signal() -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in STOP_SIGNALS:
        loop.add_signal_handler(number, stop.set)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)  # a worker has them wait until they are heard
    await stop.wait()
