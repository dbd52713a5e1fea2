"""The page while things happen: the first point, the agent's readings, and services that end and come back."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from socketserver import BaseRequestHandler, ThreadingTCPServer
from threading import Thread

from playwright.sync_api import Page, expect

from tests.acceptance.page.conftest import OpenTab, Site

HOST = "this-host"


def last_seen(page: Page) -> int:
    """When the fleet's first host was last seen, in milliseconds since 1970."""
    return int(page.locator("td[data-seen]").first.get_attribute("data-seen") or 0)


def wait_for_newer(page: Page, than: int) -> None:
    """Wait until the host was seen later than that."""
    page.wait_for_function("than => Number(document.querySelector('td[data-seen]').dataset.seen) > than", arg=than)


def test_from_an_empty_database_to_a_host(site: Site, open_tab: OpenTab) -> None:
    """Without points it says how to push the first one; the agent's real numbers then appear by themselves."""
    site.start("query")
    page = open_tab(site.url)
    expect(page.get_by_role("heading", name="No host has sent anything yet")).to_be_visible()
    expect(page.locator("pre").first).to_contain_text("curl 127.0.0.1:8086/api/v1/points")
    site.start("ingest")
    site.start("ingest.agent")
    row = page.locator("tbody tr")
    expect(row.locator("th")).to_have_text(HOST)
    for cell in row.locator("td.share").all():
        expect(cell).to_have_text(re.compile(r"^\d+\.\d %$"))
    wait_for_newer(page, last_seen(page))
    page.get_by_role("link", name=HOST).click()
    expect(page.get_by_role("heading", level=1)).to_have_text(HOST)
    for title in ("CPU", "Memory", "Disk space", "Load"):
        expect(page.get_by_role("heading", name=title, exact=True)).to_be_visible()
    memory = page.locator("figure", has=page.get_by_role("heading", name="Memory"))
    expect(memory.locator(".legend")).to_contain_text(re.compile(r"used\s*[\d,.]+ [MG]iB"))
    memory.get_by_text("Table").click()
    rows = memory.locator("tbody tr")
    expect(rows.first).to_contain_text("iB")
    expect(rows.first).not_to_have_text(rows.first.inner_text(), use_inner_text=True)


def test_a_restart_of_query_is_told_and_got_over(site: Site, open_tab: OpenTab) -> None:
    """What failed, why and when it is tried again is said; what was shown stays; then all goes on by itself."""
    site.start("ingest")
    site.start("ingest.agent")
    query = site.start("query")
    page = open_tab(site.url, may_fail=True)
    expect(page.locator("tbody th")).to_have_text(HOST)
    seen = last_seen(page)
    query.stop()
    trouble = page.get_by_role("alert")
    expect(trouble).to_contain_text("The query service does not answer.")
    expect(trouble).to_contain_text("GET api/v1/hosts: no connection")
    expect(trouble).to_contain_text(re.compile(r"Trying again in \d+ s"))
    expect(page.locator("#contact")).to_contain_text("No contact since")
    expect(page.locator("tbody th")).to_have_text(HOST)
    site.start("query")
    expect(trouble).to_be_hidden()
    expect(page.locator("#contact")).to_contain_text("Live")
    wait_for_newer(page, seen)


def test_a_restart_of_ingest_is_got_over(site: Site, open_tab: OpenTab) -> None:
    """Without ingest the host ages before one's eyes; when it is back, new points are shown by themselves."""
    ingest = site.start("ingest")
    site.start("ingest.agent")
    site.start("query")
    page = open_tab(site.url)
    expect(page.locator("tbody th")).to_have_text(HOST)
    ingest.stop()
    page.wait_for_function("() => parseInt(document.querySelector('td[data-seen]').innerText) >= 4")
    expect(page.locator("#contact")).to_contain_text("Live")
    seen = last_seen(page)
    site.start("ingest")
    wait_for_newer(page, seen)


def test_a_database_that_is_away_is_told(site: Site, open_tab: OpenTab) -> None:
    """The service runs and has no database: its own words are on the page."""
    site.start("query", DATABASE_URL="postgresql://127.0.0.1:1/x")
    page = open_tab(site.url, may_fail=True)
    expect(page.get_by_role("alert")).to_contain_text("Not everything could be asked.")
    expect(page.get_by_role("alert")).to_contain_text("503, the database")


class BreaksOff(BaseRequestHandler):
    """Promises more than it sends."""

    def handle(self) -> None:
        """Answer one request."""
        self.request.recv(65536)
        head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n"
        self.request.sendall(head + b'{"hosts": [')


@contextmanager
def breaking_off() -> Iterator[str]:
    """The address of a server whose answers break off."""
    with ThreadingTCPServer(("127.0.0.1", 0), BreaksOff) as server:
        Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/"
        server.shutdown()


def test_an_answer_that_breaks_off_is_told(site: Site, open_tab: OpenTab) -> None:
    """It is no faulty answer, and half of it is not shown; the next one is."""
    site.start("ingest")
    site.start("query")
    site.push([{"measurement": "mem", "tags": {"host": HOST}, "fields": {"used_percent": 50}}])
    page = open_tab("about:blank", may_fail=True)
    with breaking_off() as address:
        page.route("**/api/v1/hosts", lambda route: route.continue_(url=address))
        page.goto(site.url)
        expect(page.get_by_role("alert")).to_contain_text("GET api/v1/hosts: 200, and the answer broke off")
        expect(page.locator("tbody tr")).to_have_count(0)
        page.unroute("**/api/v1/hosts")
        expect(page.locator("tbody th")).to_have_text(HOST)
        expect(page.get_by_role("alert")).to_be_hidden()
