"""The agent's input that reads Tidemark's services: against a real ingest, and against servers that do not behave."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from ingest.agent.points import PartlyRead
from ingest.agent.services import Services
from tests.integration.conftest import Ingest

MEBIBYTE = 2**20


@contextmanager
def server(answer: Callable[[BaseHTTPRequestHandler], None]) -> Iterator[str]:
    """The URL of a server that answers each request by `answer`."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer(self)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as served:
        thread = threading.Thread(target=served.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{served.server_port}/metrics"
        finally:
            served.shutdown()
            thread.join()


def says(status: int, body: bytes) -> Callable[[BaseHTTPRequestHandler], None]:
    """An answer of that status with that body."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        handler.end_headers()
        handler.wfile.write(body)

    return answer


async def test_ingest_is_read(ingest: Ingest) -> None:
    """A point that it took shows in what the agent reads of it, by protocol and route."""
    assert (await ingest.send("/write", b"m,host=a f=1")).status == 204
    read = await asyncio.to_thread(Services([f"{ingest.url}/metrics"], MEBIBYTE, 10))
    accepted = {p.tags["protocol"]: p.fields["ingest_points_accepted_total"] for p in read if "protocol" in p.tags}
    assert sum(accepted.values()) == await ingest.counted("ingest_points_accepted_total") == 1
    buckets = [p.tags["le"] for p in read if p.tags.get("route") == "/write" and "le" in p.tags]
    assert "+Inf" in buckets
    assert {p.tags["instance"] for p in read} == {f"127.0.0.1:{ingest.port}"}


def test_one_that_fails_leaves_the_others() -> None:
    """Whatever is wrong with it is said."""

    def endless(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        try:
            while True:
                handler.wfile.write(b"# a comment\n" * 100)
        except OSError:
            pass

    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        gone = f"http://127.0.0.1:{nobody.getsockname()[1]}/metrics"
        with (
            server(says(200, b"a 1\n")) as good,
            server(says(404, b"")) as missing,
            server(says(200, b"<html>")) as other,
            server(says(200, b"\xff\xfe")) as bytes_only,
            server(endless) as large,
            pytest.raises(PartlyRead) as raised,
        ):
            Services([gone, missing, good, other, bytes_only, large], MEBIBYTE, 10)()
    faults = raised.value.faults
    for fault, word in zip(faults, ("refused", "Not Found", "text form", "UTF-8", "1048576 bytes"), strict=True):
        assert word in fault, fault
    assert [point.fields for point in raised.value.points] == [{"a": 1.0}]


def test_a_slow_one_is_given_up() -> None:
    """One that goes on answering, byte by byte, as well as one that says nothing."""
    ended = threading.Event()

    def drip(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        try:
            while not ended.wait(0.02):
                handler.wfile.write(b"#")
        except OSError:
            pass

    def silent(_: BaseHTTPRequestHandler) -> None:
        ended.wait()

    with server(drip) as slow, server(silent) as mute:
        try:
            with pytest.raises(PartlyRead) as raised:
                Services([slow, mute], MEBIBYTE, 0.2)()
        finally:
            ended.set()
    assert ["not done in 0.2 s" in fault or "timed out" in fault for fault in raised.value.faults] == [True, True]
