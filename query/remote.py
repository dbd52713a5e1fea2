"""Entries kept in Redis, for several processes together and for longer than one lives.

Whatever Redis does, an answer does not wait for it: what is not there within a moment is not there, what cannot be
written is not written. After an error nothing is asked of it for a while, longer each time (a circuit breaker). One
that is full, or a copy, refuses what it is given and still has what it has: then only the writing stops for a while.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import InvalidResponse, RedisError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from query.entries import Entry
from query.instruments import Instruments
from query.settings import QuerySettings
from service import logs

log = logs.get(__name__)

PREFIX = b"tidemark:"
KEYS_A_CALL = 1000
CONNECTIONS = 16
MAX_WRITES = 8
"""Writes under way; what comes beside them is not kept."""

FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 30.0

FAILURES = (RedisError, OSError, TimeoutError, ValueError, TypeError, LookupError, RecursionError)
"""What can come of asking: the last four are what the driver makes of bytes that are no reply."""


class Breaker:
    """Lets nothing through for a while after an error, longer each time until something works."""

    def __init__(self) -> None:
        self._pause_seconds = 0.0
        self._opens_until = 0.0

    @property
    def is_broken(self) -> bool:
        """Whether nothing has worked since the last error."""
        return self._pause_seconds > 0

    def is_open(self, now: float) -> bool:
        """Whether nothing is let through at `now`, by `time.monotonic`."""
        return now < self._opens_until

    def failed(self, now: float) -> None:
        """Something did not work."""
        self._pause_seconds = min(LONGEST_PAUSE_SECONDS, max(FIRST_PAUSE_SECONDS, 2 * self._pause_seconds))
        self._opens_until = now + self._pause_seconds

    def worked(self) -> bool:
        """Something worked; True when that is news."""
        was_broken, self._pause_seconds = self.is_broken, 0.0
        return was_broken


class Remote:
    """Keeps entries in Redis."""

    def __init__(self, url: str, settings: QuerySettings, instruments: Instruments) -> None:
        self._seconds = settings.cache_timeout_seconds
        self._keep_seconds = max(1, round(settings.cache_max_age_seconds))
        self._errors = instruments.redis.errors
        self._breaker = Breaker()
        self._writing = Breaker()
        """For a server that answers, and refuses what it is given."""
        instruments.redis.broken.set_function(lambda: self._breaker.is_open(time.monotonic()))
        self._writes: set[asyncio.Task[None]] = set()
        self._redis = Redis.from_pool(
            BlockingConnectionPool.from_url(
                url,
                socket_timeout=self._seconds,
                socket_connect_timeout=self._seconds,
                retry=Retry(NoBackoff(), 0),
                max_connections=CONNECTIONS,
                timeout=self._seconds,
            )
        )

    async def get(self, keys: Sequence[bytes]) -> Mapping[bytes, Entry]:
        """The entries that are there, and could be had in time."""
        found: dict[bytes, Entry] = {}
        if self._breaker.is_open(time.monotonic()):
            return found
        try:
            async with asyncio.timeout(self._seconds):
                for first in range(0, len(keys), KEYS_A_CALL):
                    some = keys[first : first + KEYS_A_CALL]
                    found |= self._read(some, await self._redis.mget([PREFIX + key for key in some]))
        except FAILURES as error:
            self._failed(error)
            return {}
        self._worked()
        return found

    async def put(self, entries: Mapping[bytes, Entry]) -> None:
        """Begin to write entries."""
        now = time.monotonic()
        if self._breaker.is_open(now) or self._writing.is_open(now):
            return
        if len(self._writes) >= MAX_WRITES:
            self._errors.labels("busy").inc()
            return
        task = asyncio.create_task(self._write(dict(entries)))
        self._writes.add(task)
        task.add_done_callback(self._writes.discard)

    async def close(self) -> None:
        """Let go of the connections."""
        for task in self._writes:
            task.cancel()
        await asyncio.gather(*self._writes, return_exceptions=True)
        await self._redis.aclose()

    def _read(self, keys: Sequence[bytes], values: object) -> dict[bytes, Entry]:
        """The entries that a reply has."""
        if not isinstance(values, list) or len(values) != len(keys):
            raise InvalidResponse("not a value for each key")
        found = {}
        for key, value in zip(keys, values, strict=True):
            if value is not None:
                try:
                    found[key] = Entry.from_bytes(key, value)
                except (ValueError, TypeError):  # somebody else writes into the same Redis
                    self._errors.labels("unreadable").inc()
        return found

    async def _write(self, entries: Mapping[bytes, Entry]) -> None:
        try:
            pipeline = self._redis.pipeline(transaction=False)
            for key, entry in entries.items():
                pipeline.set(PREFIX + key, entry.to_bytes(key), ex=self._keep_seconds)
            replies = await pipeline.execute(raise_on_error=False)
        except FAILURES as error:
            self._failed(error)
        else:
            refusal = next((one for one in replies if isinstance(one, ResponseError)), None)
            if refusal is None:
                self._worked()
                self._writing.worked()
            else:
                self._refused(refusal)

    def _failed(self, error: Exception) -> None:
        kind = "timeout" if isinstance(error, TimeoutError | RedisTimeoutError) else "broken"
        self._errors.labels(kind).inc()
        if not self._breaker.is_broken:
            log.warning("the cache does not answer, and is left alone for a while", error=_summary(error))
        self._breaker.failed(time.monotonic())

    def _refused(self, refusal: ResponseError) -> None:
        self._errors.labels("refused").inc()
        if not self._writing.is_broken:
            log.warning("the cache refuses what it is given, and is given nothing for a while", error=_summary(refusal))
        self._writing.failed(time.monotonic())

    def _worked(self) -> None:
        if self._breaker.worked():
            log.info("the cache answers again")


def _summary(error: Exception) -> str:
    """The kind and the first line; redis-py names the host there, and no password."""
    text = str(error).partition("\n")[0]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
