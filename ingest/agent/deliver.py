"""Bring readings to ingest: oldest first, one request each, again and again until it has taken them.

What an answer means:

- 204: the points are safe
- 4xx: the request would never succeed; its message is logged and the reading is given up. 408 and 429 ask for
  another try
- anything else, a connection that fails, a timeout: the reading goes back to the backlog and is tried again,
  after a pause that doubles with each failure and is never shorter than Retry-After. A point that comes twice
  merges with itself, so sending too often is harmless
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping
from typing import NamedTuple, NoReturn

import aiohttp
import orjson
from yarl import URL

from ingest.agent.backlog import Backlog, Reading
from ingest.agent.instruments import Instruments
from ingest.agent.settings import AgentSettings
from service import logs
from service.errors import TidemarkError

log = logs.get(__name__)

TRY_AGAIN = {408, 429}
"""The 4xx that are about the moment, not about the request."""

ANSWER_BYTES = 4096
"""How much of an answer is read for its message."""


class Undelivered(TidemarkError):
    """A reading could not be delivered now; `retry_after_seconds` is what the server asked for, or 0."""

    def __init__(self, reason: str, retry_after_seconds: int = 0) -> None:
        super().__init__(reason)
        self.retry_after_seconds = retry_after_seconds


class Answer(NamedTuple):
    """What ingest said to one request."""

    status: int
    message: str
    retry_after_seconds: int


class Delivery:
    """Empties the backlog into ingest."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        backlog: Backlog,
        settings: AgentSettings,
        instruments: Instruments,
    ) -> None:
        self._session = session
        self._backlog = backlog
        self._settings = settings
        self._instruments = instruments
        self._url = URL(str(settings.url)) / "write" % {"precision": "ns"}
        self._outage = False
        self._resent = 0
        self._refused = ""

    async def run(self) -> NoReturn:
        """Deliver whatever comes into the backlog, for ever."""
        failures = 0
        while True:
            try:
                await self._deliver_oldest()
                failures = 0
            except Undelivered as error:
                failures += 1
                await asyncio.sleep(
                    pause_seconds(failures, error.retry_after_seconds, self._settings.retry_max_seconds)
                )

    async def finish(self) -> None:
        """Try once more to deliver what is held, within the setting's bound; say what is lost."""
        try:
            async with asyncio.timeout(self._settings.stop_seconds):
                while len(self._backlog):
                    await self._deliver_oldest()
        except (Undelivered, TimeoutError) as error:
            reason = str(error) or f"not done in {self._settings.stop_seconds:g} s"
            log.warning("stopped with readings undelivered", readings=len(self._backlog), reason=reason)

    async def _deliver_oldest(self) -> None:
        reading = await self._backlog.take()
        try:
            await self._send(reading)
        except BaseException as error:  # when cancelled, too: what was taken must not get lost
            self._backlog.put_back(reading)
            if isinstance(error, Undelivered):
                self._failed(error)
            raise
        self._arrived()

    async def _send(self, reading: Reading) -> None:
        answer = await self._post(reading)
        if answer.status == 204:
            self._instruments.metrics_written += reading.points
            self._refused = ""
            return
        said = f"status {answer.status}: {answer.message}"
        if not 400 <= answer.status < 500 or answer.status in TRY_AGAIN:
            raise Undelivered(said, answer.retry_after_seconds)
        self._instruments.metrics_rejected += reading.points
        if said != self._refused:
            self._refused = said
            log.error("ingest refused a reading; it is dropped", answer=said, points=reading.points)

    async def _post(self, reading: Reading) -> Answer:
        headers = {"Content-Type": "text/plain; charset=utf-8"}
        if reading.compressed:
            headers["Content-Encoding"] = "gzip"
        try:
            # A redirect followed would turn the POST into a GET.
            async with self._session.post(
                self._url, data=reading.body, headers=headers, allow_redirects=False
            ) as answer:
                message = _message(await answer.content.read(ANSWER_BYTES))
                return Answer(answer.status, message, _retry_after_seconds(answer.headers))
        except TimeoutError as error:
            raise Undelivered(f"no answer in {self._settings.timeout_seconds:g} s") from error
        except aiohttp.ClientError as error:
            raise Undelivered(str(error) or type(error).__name__) from error

    def _failed(self, error: Undelivered) -> None:
        self._instruments.write_errors += 1
        if not self._outage:
            self._outage, self._resent = True, 0
            url = self._settings.shown_url
            log.warning("delivery fails; readings are kept", url=url, reason=str(error))

    def _arrived(self) -> None:
        if not self._outage:
            return
        self._resent += 1
        if not len(self._backlog):
            self._outage = False
            dropped = self._instruments.metrics_dropped
            log.info("delivery works again", readings_sent=self._resent, points_dropped_so_far=dropped)


def pause_seconds(failures: int, retry_after_seconds: float, longest_seconds: float) -> float:
    """The wait after the `failures`-th failure in a row: 1 s, then twice the last, never below Retry-After.

    Random within half of itself, so that the agents of a fleet do not come back together.
    """
    backoff = 2.0 ** min(failures - 1, 20) * random.uniform(0.5, 1.0)  # noqa: S311 - nothing secret
    asked = retry_after_seconds * random.uniform(1.0, 1.5)  # noqa: S311 - nothing secret
    return min(longest_seconds, max(backoff, asked))


def _retry_after_seconds(headers: Mapping[str, str]) -> int:
    """The header in seconds; 0 without one, and for a date, which ingest never sends."""
    text = headers.get("Retry-After", "")
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 9 else 0


def _message(body: bytes) -> str:
    """What the server said: the `error` of an InfluxDB body, else the text as it is."""
    try:
        parsed = orjson.loads(body)
    except orjson.JSONDecodeError:
        parsed = None
    if isinstance(parsed, dict) and isinstance(parsed.get("error"), str):
        return str(parsed["error"])
    return body.decode("utf-8", "replace").strip()
