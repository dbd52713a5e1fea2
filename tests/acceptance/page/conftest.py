"""The page in a real browser: Debian's Chromium, driven over its own protocol, and real services behind it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.error import URLError
from urllib.request import Request, urlopen

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, expect, sync_playwright

from tests.conftest import (
    POLL_SECONDS,
    Commands,
    Running,
    commands_in,
    copied,
    engine_folder,
    open_folder,
)
from tests.workers import port_nobody_has

ARGUMENTS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)

DEADLINE_SECONDS = 60.0
"""For conditions that come about in moments; only a fault takes this long."""

expect.set_options(timeout=DEADLINE_SECONDS * 1000)


@pytest.fixture(scope="session")
def chromium() -> str:
    """The path of Debian's Chromium, installed where that can be done; the tests are skipped where it cannot."""
    path = shutil.which("chromium")
    if path is None:
        reason = install_chromium()
        path = shutil.which("chromium")
        if path is None:
            pytest.skip(f"the page's tests need Debian's package chromium: {reason}")
    return path


def install_chromium() -> str:
    """Install Chromium as Debian has it; what kept it from being installed, in a line."""
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        return "it is not installed, and only root can install it, with apt-get"
    for command in (["apt-get", "update"], ["apt-get", "install", "-y", "--no-install-recommends", "chromium"]):
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            return f"{' '.join(command)} failed: {(done.stderr.strip() or 'without a word').splitlines()[-1]}"
    return "it was installed, and cannot be found"


@pytest.fixture(scope="module")
def browser(chromium: str) -> Iterator[Browser]:
    """A browser with a profile of its own. It is not the session's: while it runs, no test may have an event loop."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS)
        yield browser
        browser.close()


@dataclass
class Site:
    """Services on a database, on ports of their own."""

    commands: Commands
    database: str
    """With its owner's rights."""
    ingest_port: int = field(default_factory=port_nobody_has)
    query_port: int = field(default_factory=port_nobody_has)

    @property
    def url(self) -> str:
        """Where the page is."""
        return f"http://127.0.0.1:{self.query_port}/"

    def start(self, module: str, **settings: str) -> Running:
        """Start a process; when it is a service that has its database, wait until it is ready."""
        own = {
            "DATABASE_URL": self.database,
            "INGEST_PORT": str(self.ingest_port),
            "QUERY_PORT": str(self.query_port),
            "AGENT_URL": f"http://127.0.0.1:{self.ingest_port}",
            "AGENT_INTERVAL_SECONDS": "0.5",
            "AGENT_RETRY_MAX_SECONDS": "0.5",
            "AGENT_HOSTNAME": "this-host",
        }
        running = self.commands.start(module, env=self.commands.environment | own | settings)
        port = {"ingest": self.ingest_port, "query": self.query_port}.get(module)
        if port is not None:
            path = "healthz" if "DATABASE_URL" in settings else "readyz"
            until(lambda: answers(f"http://127.0.0.1:{port}/{path}"), running)
        return running

    def push(self, points: list[dict[str, Any]]) -> None:
        """Push points to ingest: `{"measurement", "tags", "fields"}`, and `time` in seconds since 1970, or now."""
        body = "\n".join(json.dumps(point) for point in points).encode()
        address = f"http://127.0.0.1:{self.ingest_port}/api/v1/points?precision=s"
        request = Request(address, body, {"Content-Type": "application/x-ndjson"})
        with urlopen(request, timeout=DEADLINE_SECONDS) as answer:
            assert answer.status == 204


def until(holds: Callable[[], bool], running: Running | None = None) -> None:
    """Wait for something that comes about, while a process runs if one is given."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not holds():
        assert running is None or running.process.poll() is None, running.text()
        assert time.monotonic() < deadline, running.text() if running else "not in time"
        time.sleep(POLL_SECONDS)


def answers(url: str) -> bool:
    """Whether a GET succeeds."""
    try:
        with urlopen(url, timeout=DEADLINE_SECONDS):
            return True
    except (URLError, ConnectionError):
        return False


@contextmanager
def opened_site(server_url: str, template: str) -> Iterator[Site]:
    """A site with a database of its own, and nothing started yet; in the end all that was started is stopped."""
    with open_folder() as folder, copied(server_url, template) as database:
        commands = commands_in(folder, engine_folder(), port_nobody_has())
        try:
            yield Site(commands, database)
        finally:
            commands.close()


@pytest.fixture
def site(server_url: str, template: str) -> Iterator[Site]:
    """A site of the test's own."""
    with opened_site(server_url, template) as site:
        yield site


@dataclass
class Tab:
    """A page that is looked at, and what went wrong in it."""

    page: Page
    faults: list[str] = field(default_factory=list)
    """What the console has of errors, what was thrown, and what the policy refused."""

    def hear(self, message: ConsoleMessage) -> None:
        """Keep what the console says of errors."""
        if message.type == "error":
            self.faults.append(message.text)


OpenTab = Callable[..., Page]


@pytest.fixture
def open_tab(browser: Browser) -> Iterator[OpenTab]:
    """Open an address in a context of its own, with options of Playwright's. A fault in the page fails the test.

    `may_fail` is for tests that take the service away: the console then has an error for each request.
    """
    contexts = []
    strict: list[Tab] = []

    def open_tab(address: str, *, may_fail: bool = False, **options: Any) -> Page:
        context = browser.new_context(**{"timezone_id": "UTC", "locale": "de-DE", **options})
        context.set_default_timeout(DEADLINE_SECONDS * 1000)
        contexts.append(context)
        tab = Tab(context.new_page())
        tab.page.on("pageerror", lambda error: tab.faults.append(str(error)))
        if not may_fail:
            tab.page.on("console", tab.hear)
        strict.append(tab)
        tab.page.goto(address)
        return tab.page

    yield open_tab
    for context in contexts:
        context.close()
    assert [tab.faults for tab in strict if tab.faults] == []
