"""The web shell around a small application, over a real connection."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any

import orjson
import pytest
from aiohttp import ClientError, ClientSession, web

from service.errors import BadRequest, Unavailable
from service.web import Shell, create_app

DEADLINE_SECONDS = 30
TOO_LONG = "its URL or a header is longer than 8190 bytes; what is long fits into a POST's body"
PLAIN_ERROR = "an unexpected error; the service's log has it"


@dataclass
class Served:
    """The application, and what it has been told."""

    url: str
    port: int
    client: ClientSession
    shell: Shell
    reason: str | None = None
    """Why it is not ready."""

    def requests(self, route: str, method: str, status: int) -> float:
        """How many requests were counted so."""
        labels = {"route": route, "method": method, "status": str(status)}
        return self.shell.registry.get_sample_value("example_http_requests_total", labels) or 0.0


async def body(request: web.Request) -> web.Response:
    """Answer with the body's size."""
    return web.json_response(len(await request.read()))


async def bad(_: web.Request) -> web.Response:
    """Refuse."""
    raise BadRequest("x is wrong", parameter="x")


async def busy(_: web.Request) -> web.Response:
    """Refuse for now."""
    raise Unavailable("too busy", retry_after_seconds=3)


async def broken(_: web.Request) -> web.Response:
    """Fail in a way that nobody foresaw, with a secret in the error."""
    raise ConnectionRefusedError("password=secret")


async def late(request: web.Request) -> web.StreamResponse:
    """Answer on a connection that is just being closed."""
    response = web.StreamResponse()
    await response.prepare(request)
    assert request.transport is not None
    request.transport.close()
    await response.write(b"x")
    return response


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    """A small application in the shell."""

    async def status() -> Mapping[str, Any]:
        return {"mood": "good"}

    async with ClientSession() as client:
        shell = Shell("example", lambda: example.reason, status)
        app = create_app(shell, max_body_bytes=1000)
        app.router.add_get("/bad", bad)
        app.router.add_get("/busy", busy)
        app.router.add_get("/broken", broken)
        app.router.add_post("/body", body)
        app.router.add_post("/late", late)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        port = runner.addresses[0][1]
        example = Served(f"http://127.0.0.1:{port}", port, client, shell)
        yield example
        await runner.cleanup()


async def get(served: Served, path: str, method: str = "GET", **options: Any) -> tuple[int, Any, Mapping[str, str]]:
    """Status, JSON body and headers."""
    async with served.client.request(method, served.url + path, **options) as response:
        return response.status, await response.json(), response.headers


async def test_probes(served: Served) -> None:
    """`/healthz` says that the process runs, `/readyz` whether it can work, and why not."""
    assert (await get(served, "/healthz"))[:2] == (200, {"status": "ok"})
    assert (await get(served, "/readyz"))[:2] == (200, {"status": "ready"})
    served.reason = "the database is away"
    status, told, _ = await get(served, "/readyz")
    assert (status, told["message"], told["status"]) == (503, "the database is away", "not ready")
    assert (await get(served, "/healthz"))[0] == 200


async def test_status(served: Served) -> None:
    """What a person wants to know, with the process's own members."""
    served.reason = "the database is away"
    status, told, _ = await get(served, "/api/v1/status")
    assert status == 200
    assert told.pop("uptime_seconds") >= 0
    assert told == {"service": "example", "ready": False, "not_ready": "the database is away", "mood": "good"}


async def test_instruments(served: Served) -> None:
    """`/metrics` is Prometheus' text form, and has the shell's own instruments."""
    await get(served, "/healthz")
    async with served.client.get(f"{served.url}/metrics") as response:
        assert response.headers["Content-Type"].startswith("text/plain; version=")
        text = await response.text()
    assert 'example_http_requests_total{method="GET",route="/healthz",status="200"} 1.0' in text
    assert "_created" not in text


async def test_errors_on_purpose(served: Served) -> None:
    """An error's status, body and headers reach the client, and are counted."""
    status, told, _ = await get(served, "/bad")
    assert (status, told) == (
        400,
        {"code": "invalid", "error": "x is wrong", "message": "x is wrong", "parameter": "x"},
    )
    status, told, headers = await get(served, "/busy")
    assert (status, told["code"], headers["Retry-After"]) == (503, "unavailable", "3")
    assert (served.requests("/bad", "GET", 400), served.requests("/busy", "GET", 503)) == (1, 1)


async def test_an_unexpected_error_is_logged_and_not_told(served: Served, capsys: pytest.CaptureFixture[str]) -> None:
    """The client hears that something failed; the log has what; the process goes on."""
    status, told, _ = await get(served, "/broken")
    assert (status, told["code"], told["message"]) == (500, "internal error", PLAIN_ERROR)
    assert "secret" not in str(told)
    assert "ConnectionRefusedError: password=secret" in capsys.readouterr().out
    assert (await get(served, "/healthz"))[0] == 200
    assert served.requests("/broken", "GET", 500) == 1


async def test_unknown_paths(served: Served) -> None:
    """404 names the path, as it was sent; such requests share one label."""
    status, told, _ = await get(served, "/nothing%20here%0D%0A")
    assert (status, told["code"]) == (404, "not found")
    assert told["message"] == "there is nothing at /nothing%20here%0D%0A"
    assert (await get(served, "/" + "x" * 5000))[1]["message"] == "there is nothing at /" + "x" * 199
    assert served.requests("none", "any", 404) == 2


async def test_wrong_methods(served: Served) -> None:
    """405 says which methods there are, in the body and in `Allow`."""
    status, told, headers = await get(served, "/body", "DELETE")
    assert (status, told["code"], headers["Allow"]) == (405, "method not allowed", "POST")
    assert told["message"] == "/body takes POST, not DELETE"


async def test_large_bodies(served: Served) -> None:
    """413 in the same form when aiohttp itself finds a body too large."""
    assert (await get(served, "/body", "POST", data=b"x" * 1000))[:2] == (200, 1000)
    status, told, _ = await get(served, "/body", "POST", data=b"x" * 1001)
    assert (status, told["code"]) == (413, "request too large")


async def connect(served: Served, head: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection on which the beginning of a request has been sent, and been taken up."""
    reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
    writer.write(head)
    await writer.drain()
    return reader, writer


async def until_counted(served: Served, status: int, route: str = "/body") -> None:
    """Wait for a request on a route to end so."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not served.requests(route, "POST", status):
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


@pytest.mark.parametrize(("path", "route", "method"), [("/body", "/body", "POST"), ("/nothing", "none", "any")])
async def test_expectations(served: Served, path: str, route: str, method: str) -> None:
    """An Expect other than 100-continue gets 417 in the same form, and is counted, wherever it goes."""
    for expected in ("foo", "100-continue, foo"):
        status, told, _ = await get(served, path, "POST", data=b"hello", headers={"Expect": expected})
        assert (status, told["code"]) == (417, "expectation failed")
        assert told["message"] == f"Expect '{expected}' is not met here, allowed is 100-continue"
    assert served.requests(route, method, 417) == 2


async def test_a_client_that_waits_to_be_asked_for_its_body(served: Served) -> None:
    """Expect: 100-continue, in any case, has it asked, and the body is read; of HTTP/1.0 no expectation is heeded."""
    head = b"POST /body HTTP/%s\r\nHost: x\r\nConnection: close\r\nExpect: %s\r\nContent-Length: 5\r\n\r\n"
    for expected in (b"100-continue", b"100-Continue"):
        reader, writer = await connect(served, head % (b"1.1", expected))
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(b"hello")
        assert (await reader.read()).startswith(b"HTTP/1.1 200 ")
        writer.close()
    reader, writer = await connect(served, head % (b"1.0", b"foo") + b"hello")
    assert (await reader.read()).startswith(b"HTTP/1.0 200 ")
    writer.close()


async def test_a_client_that_leaves(served: Served, caplog: pytest.LogCaptureFixture) -> None:
    """A connection that is dropped in the middle of a body is counted as 499, and is no error of ours."""
    head = b"POST /body HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 100\r\n\r\n"
    reader, writer = await connect(served, head)
    assert (await reader.readline()).startswith(b"HTTP/1.1 100")  # now it is being handled
    writer.write(b"begin")
    writer.transport.abort()
    await until_counted(served, 499)
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


async def test_a_client_that_is_just_leaving(served: Served, caplog: pytest.LogCaptureFixture) -> None:
    """Nor is it an error of ours when its connection is closing, and not closed yet, while it is answered."""
    with pytest.raises(ClientError):
        await get(served, "/late", "POST")
    await until_counted(served, 499, "/late")
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


async def test_a_body_that_is_not_what_its_encoding_says(served: Served, caplog: pytest.LogCaptureFixture) -> None:
    """A body that aiohttp cannot decompress is a bad request, and is no error of ours."""
    status, told, _ = await get(served, "/body", "POST", data=b"nonsense", headers={"Content-Encoding": "gzip"})
    assert (status, told["code"]) == (400, "invalid")
    assert told["message"].startswith("the body cannot be read: ")
    assert all(record.exc_info is None for record in caplog.records)


@pytest.mark.parametrize(
    ("request_bytes", "reason"),
    [
        (b"\x16\x03\x01\x02\x00\x01\r\n\r\n", "Received HTTPS traffic on an HTTP port"),
        (b"G@T / HTTP/1.1\r\n\r\n", "Invalid method encountered"),
        (b"GET /\xff HTTP/1.1\r\nHost: x\r\n\r\n", "Invalid char in url path"),
        (b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 100_000 + b"\r\n\r\n", TOO_LONG),
        (b"GET / HTTP/1.1\r\nHost: x\r\n" + b"X: a\r\n" * 1000 + b"\r\n", "Too many headers received"),
        (b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", TOO_LONG),
        (b"POST /body HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", "Invalid character in Content-Length"),
        (
            b"POST /body HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
            "Duplicate Content-Length",
        ),
        (
            b"POST /body HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            "Transfer-Encoding can't be present with Content-Length",
        ),
    ],
)
async def test_what_is_no_http(
    served: Served, caplog: pytest.LogCaptureFixture, request_bytes: bytes, reason: str
) -> None:
    """It is answered with 400, in the same form, and the connection is closed; the log has a line, not a traceback."""
    reader, writer = await connect(served, request_bytes)
    head, _, answer = (await reader.read()).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.0 400")
    assert b"Content-Type: application/json\r\n" in head
    told = orjson.loads(answer)
    assert told["code"] == "invalid"
    assert told["error"] == told["message"]
    assert told["message"] == f"the request cannot be read as HTTP: {reason}"
    assert all(record.exc_info is None for record in caplog.records if record.levelno >= logging.WARNING)
    assert (await get(served, "/healthz"))[0] == 200
    writer.close()
