"""One of several workers on a port: its number, and the instruments of all of them.

Which worker a client reaches is chance, so every one can give the instruments of all. Each gives its own to the others
on a Unix socket in a folder that only their account can enter; nothing is kept in between, and nothing is added up.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from aiohttp import ClientError, ClientSession, ClientTimeout, UnixConnector, web
from prometheus_client import CollectorRegistry, Counter
from prometheus_client.exposition import generate_latest

from service import logs
from service.exposition import merged

log = logs.get(__name__)

ANSWER_SECONDS = 1.0
"""How long a sibling may take; a scrape is itself waited for no longer than some seconds."""


class Worker:
    """One of `count` workers, which are numbered from 0; `name` and `registry` are those of its shell.

    `restarts` is how often a worker of this number has ended unexpectedly before.
    """

    def __init__(
        self, number: int, count: int, folder: Path, *, name: str, registry: CollectorRegistry, restarts: int
    ) -> None:
        self.number = number
        self.count = count
        self._folder = folder
        self._registry = registry
        self._silent: set[int] = set()
        self._unanswered = Counter(
            f"{name}_sibling_unanswered",
            "Times that another worker did not give its instruments, by its number.",
            ["sibling"],
            registry=registry,
        )
        Counter(
            f"{name}_worker_restarts",
            "Times that this worker was started anew after an unexpected end.",
            registry=registry,
        ).inc(restarts)

    @asynccontextmanager
    async def answering(self) -> AsyncIterator[None]:
        """Give this worker's instruments to the others, within the block."""

        async def own(_: web.Request) -> web.Response:
            return web.Response(body=generate_latest(self._registry))

        app = web.Application()
        app.router.add_get("/", own)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=ANSWER_SECONDS)
        await runner.setup()
        try:
            await web.UnixSite(runner, self._address(self.number)).start()
            yield
        finally:
            await runner.cleanup()

    async def instruments_of_all(self) -> bytes:
        """The instruments of all workers that answer, each sample with its worker's number as the label `worker`."""
        siblings = [number for number in range(self.count) if number != self.number]
        answers = await asyncio.gather(*map(self._ask, siblings))
        texts = dict(zip(siblings, answers, strict=True))
        texts[self.number] = generate_latest(self._registry).decode()
        answered = {str(number): text for number, text in sorted(texts.items()) if text is not None}
        return merged(answered, "worker").encode()

    async def _ask(self, sibling: int) -> str | None:
        """Another worker's instruments; None, counted, and logged at the first time, when it does not answer."""
        try:
            async with (
                ClientSession(
                    connector=UnixConnector(self._address(sibling)), timeout=ClientTimeout(total=ANSWER_SECONDS)
                ) as client,
                client.get("http://sibling/") as answer,
            ):
                text = await answer.text()
        except (ClientError, TimeoutError, OSError) as error:
            self._unanswered.labels(str(sibling)).inc()
            if sibling not in self._silent:
                self._silent.add(sibling)
                log.warning("another worker does not give its instruments", sibling=sibling, error=repr(error))
            return None
        self._silent.discard(sibling)
        return text

    def _address(self, number: int) -> str:
        return str(self._folder / f"{number}.sock")


WORKER = web.AppKey("worker", Worker)
"""In the application of a worker that is one of several."""
