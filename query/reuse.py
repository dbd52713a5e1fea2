"""Reuses what was computed before, where it still holds, and computes the rest (cache-aside).

1. An answer's slots (`slots`) are looked for in the cache. Where nothing is found, the answer is computed as if there
   were no cache; what was dear is kept, and what was cheap is not looked for next time.
2. Where something is found, the server is asked what was changed late (`changes`): what that meets is computed anew, so
   that a point is in every answer that is asked for after its acknowledgement. So is what is older than a maximum age:
   who writes into the points around ingest notes nothing.
3. Only the other slots are computed, the open ones each time. What is kept is stamped with what was known before it
   was computed: later it may be taken to lack too much, never too little.
4. Of several who lack the same at a time, one computes it; the others wait, look again, and ask what was changed since.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal

from query import changes, reach
from query.assumptions import Assumption
from query.cache import Cache
from query.cheap import Cheap
from query.entries import Entry, Stamp, UnkeepableError, in_order, packed
from query.instruments import Instruments
from query.ranges import Range
from query.reach import Reach
from query.servers import Servers
from query.settings import QuerySettings
from query.slots import Slots, runs
from query.tables import BATCH_ROWS, Batches, Row, Short, digest_of

MOST_RUNS = 3
"""Statements that compute what is missing of an answer; where it would take more, some of what is there is computed."""
SMALL_ROWS = 2000
"""So few rows of an answer are told from others by themselves; of more, the parts that they are kept in are."""
MOST_FLIGHTS = 3
"""How often somebody waits for others who compute the same."""

Compute = Callable[[datetime, datetime], Awaitable[Batches]]
"""The rows of a range, sorted as the answer's; they tell their reach where the slots say since when points matter."""
Outcome = Literal["hit", "partial", "miss", "bypass"]
"""All was there; some; nothing that could have been; nothing can be."""


@dataclass(frozen=True, slots=True)
class Reused:
    """The rows of an answer."""

    batches: Batches
    outcome: Outcome | None = None
    """None where there is no cache."""
    tag: str | None = None
    """The same for the same rows, where the whole range is settled."""
    packed: bytes | None = None
    """The rows as JSON, where the answer was kept as a whole."""


@dataclass(frozen=True, slots=True)
class Computed:
    """The rows of a slot."""

    rows: list[Row]
    reach: Reach | None = None
    """Of a window that depends on points before it."""


@dataclass(slots=True)
class Wanted:
    """An answer that can be kept, at least in part."""

    slots: Slots
    measurement_id: int
    compute: Compute
    max_rows: int
    """More cannot be an answer."""
    stamp: Stamp
    raw_from: datetime | None
    """Of the points before it some may have been dropped; None when all are kept."""
    assumed: Assumption | None
    is_settled: bool
    """Whether all of it can be kept."""
    found: dict[int, Entry] = field(default_factory=dict)
    """By place, what was kept and holds."""
    rows: dict[int, list[Row]] = field(default_factory=dict)
    """By place, the same unpacked."""

    def is_right(self, told: Reach | None) -> bool:
        """Whether rows that were computed just now are those that the window has in this range."""
        since = self.slots.since
        return since is None or (told is not None and told.holds(since, None))

    def is_right_still(self, told: Reach | None) -> bool:
        """The same for rows that were computed a while ago."""
        since = self.slots.since
        return since is None or (told is not None and told.holds(since, self.raw_from))

    def times(self, place: int, told: Reach | None) -> Range:
        """Of which times points matter to the rows of a slot."""
        start, end = self.slots.ranges[place]
        if self.slots.since is None or told is None:
            return start - self.slots.lookback, end
        return told.begin(start, self.slots.since), end

    def drop(self) -> None:
        """Use nothing of what was found."""
        self.found.clear()
        self.rows.clear()


class Reuse:
    """Answers, from the cache as far as that goes."""

    def __init__(self, cache: Cache, servers: Servers, settings: QuerySettings, instruments: Instruments) -> None:
        self._cache = cache
        self._servers = servers
        self._settings = settings
        self._windows = instruments.cache.windows
        self._errors = instruments.redis.errors
        self._flights: dict[bytes, asyncio.Future[Mapping[bytes, Entry] | None]] = {}
        self._cheap = Cheap(settings.cache_min_seconds)

    async def rows(
        self,
        slots: Slots,
        measurement_id: int,
        raw_from: datetime | None,
        max_rows: int,
        compute: Compute,
        assumed: Assumption | None,
    ) -> Reused:
        """The rows of an answer. Raises what computing them does, `OutdatedError` when what is `assumed` is not so.

        `raw_from` is from when on points are kept, `max_rows` the most that may be answered: what has more is not kept.
        """
        settled = self._servers.settled()
        if settled is None:
            return await _bypassed(slots, compute)
        stamp, before = settled
        before -= timedelta(seconds=self._settings.cache_settle_seconds)
        most, is_settled = min(max_rows, self._settings.cache_max_rows), slots.is_settled(before, raw_from)
        wanted = Wanted(slots, measurement_id, compute, most, stamp, raw_from, assumed, is_settled)
        if slots.windows is None and not is_settled:
            return await _bypassed(slots, compute)
        if slots.question in self._cheap:
            return await self._anew(wanted)
        if keepable := slots.settled(before, raw_from):
            return await self._reused(wanted, keepable)
        return await _bypassed(slots, compute)

    async def _anew(self, wanted: Wanted) -> Reused:
        """The answer as if there were no cache: to look for many windows takes longer than to compute cheap ones."""
        slots = wanted.slots
        began = time.perf_counter()
        rows, rest = await self._gathered(wanted, slots.start, slots.end)
        seconds = time.perf_counter() - began
        if rest is not None or len(rows) > SMALL_ROWS or self._cheap.is_dear(slots.count, seconds):
            self._cheap.forget(slots.question)
        if rest is not None:
            return Reused(_streamed(slots, rows, rest), "miss")
        self._windows.labels("computed").inc(slots.count)
        answer = rows if slots.since is None else reach.without(rows)
        return Reused(_in_batches(answer), "miss", _tag(wanted, answer, {}))

    async def _reused(self, wanted: Wanted, keepable: Sequence[int]) -> Reused:
        fresh: Mapping[bytes, Entry] | None = {}
        for _ in range(MOST_FLIGHTS):
            assert fresh is not None, "else the loop has ended"
            await self._find(wanted, keepable, fresh)
            if 2 * len(wanted.found) >= len(keepable):
                break
            flight = self._flights.get(wanted.slots.common)
            if flight is None:
                async with self._flight(wanted.slots.common) as land:
                    reused, kept = await self._complete(wanted, keepable)
                    land(kept)
                return reused
            fresh = await self._landed(flight)
            if fresh is None:
                break
        return (await self._complete(wanted, keepable))[0]

    @asynccontextmanager
    async def _flight(self, common: bytes) -> AsyncIterator[Callable[[Mapping[bytes, Entry] | None], None]]:
        """Let others wait for what is computed within the block, which hands it over."""
        flight: asyncio.Future[Mapping[bytes, Entry] | None] = asyncio.get_running_loop().create_future()
        self._flights[common] = flight
        try:
            yield flight.set_result
        finally:
            del self._flights[common]
            if not flight.done():
                flight.set_result({})  # it came to nothing: somebody else may try

    async def _landed(self, flight: asyncio.Future[Mapping[bytes, Entry] | None]) -> Mapping[bytes, Entry] | None:
        """What somebody else has computed; None when they kept nothing, or it takes too long."""
        try:
            async with asyncio.timeout(self._settings.wait_seconds):
                return await asyncio.shield(flight)
        except TimeoutError:
            return None

    async def _find(self, wanted: Wanted, keepable: Sequence[int], fresh: Mapping[bytes, Entry]) -> None:
        """Fill `found` with what is kept, or in `fresh`, and holds."""
        slots = wanted.slots
        places = {slots.key(place): place for place in keepable}
        kept = {**await self._cache.get(list(places)), **{key: one for key, one in fresh.items() if key in places}}
        wanted.drop()
        entries = {places[key]: entry for key, entry in kept.items() if wanted.is_right_still(entry.reach)}
        if not entries:
            return
        seen = await self._look(wanted, entries)
        if wanted.assumed is not None:
            wanted.assumed.check(seen.epoch, seen.raw_from, seen.fields)
        wanted.stamp = Stamp(seen.epoch, seen.xmin, seen.at)
        oldest = seen.at - timedelta(seconds=self._settings.cache_max_age_seconds)
        for place, entry in entries.items():
            if seen.is_changed(entry, wanted.times(place, entry.reach)):
                self._windows.labels("changed").inc()
            elif entry.stamp.at < oldest:
                self._windows.labels("expired").inc()
            else:
                self._use(wanted, place, entry)

    async def _look(self, wanted: Wanted, entries: Mapping[int, Entry]) -> changes.Seen:
        ranges = [wanted.times(place, entry.reach) for place, entry in entries.items()]
        return await changes.look(
            self._servers,
            wanted.measurement_id,
            min(entry.stamp.xmin for entry in entries.values()),
            (min(start for start, _ in ranges), max(end for _, end in ranges)),
        )

    def _use(self, wanted: Wanted, place: int, entry: Entry) -> None:
        slots = wanted.slots
        if slots.starts is not None:  # else they are read when they are looked at
            try:
                wanted.rows[place] = slots.form.unpack(entry.rows, slots.starts[place])
            except (ValueError, TypeError):  # somebody else writes into the same cache
                self._errors.labels("unreadable").inc()
                return
        wanted.found[place] = entry
        self._windows.labels("reused").inc()

    async def _complete(self, wanted: Wanted, keepable: Sequence[int]) -> tuple[Reused, Mapping[bytes, Entry] | None]:
        """The answer, what is not found computed; and what of it is kept, None for nothing."""
        slots = wanted.slots
        if slots.starts is None and wanted.found:
            packed = wanted.found[0].rows
            return Reused(_unpacked(slots, packed), "hit", _tag(wanted, [], {}), packed), None
        began = time.perf_counter()
        computed = await self._computed(wanted)
        if not isinstance(computed, dict):
            return Reused(computed, "miss"), None
        seconds = time.perf_counter() - began
        outcome: Outcome = "hit" if not computed else "partial" if wanted.found else "miss"
        self._windows.labels("computed").inc(len(computed))
        rows_of = {**wanted.rows, **{place: one.rows for place, one in computed.items()}}
        ordered = [rows_of[place] for place in range(len(slots.ranges))]
        answer = ordered[0] if len(ordered) == 1 else in_order(ordered, slots.form.tags)
        is_kept = bool(wanted.found) or self._cheap.is_dear(slots.count, seconds)
        if not is_kept and len(answer) <= SMALL_ROWS:
            self._cheap.remember(slots.question)
        # To pack what is not kept would take longer than to compute it did.
        entries = self._packed(wanted, keepable, computed) if is_kept or len(answer) > SMALL_ROWS else {}
        kept = {slots.key(place): entry for place, entry in entries.items()} if is_kept else None
        if kept:
            await self._cache.put(kept)
        return Reused(_in_batches(answer), outcome, _tag(wanted, answer, entries)), kept

    async def _computed(self, wanted: Wanted) -> dict[int, Computed] | Batches:
        """By place, what is not found; or the rows of the whole answer as they come, when they are too many to hold."""
        slots = wanted.slots
        everything = (0, len(slots.ranges))
        missing = [place for place in range(len(slots.ranges)) if place not in wanted.found]
        computed: dict[int, Computed] = {}
        for run in runs(slots.ranges, missing, MOST_RUNS):
            start, end = slots.ranges[run[0]][0], slots.ranges[run[1] - 1][1]
            rows, rest = await self._gathered(wanted, start, end)
            if rest is not None:
                if run != everything:
                    await rest.aclose()
                    rest, rows = await wanted.compute(slots.start, slots.end), []
                return _streamed(slots, rows, rest)
            parts = _parted(slots, range(*run), rows)
            if run != everything and not all(wanted.is_right(one.reach) for one in parts.values()):
                # Points count from such as lie further back in the range than these were looked for.
                wanted.drop()
                return await self._computed(wanted)
            computed |= parts
        return computed

    async def _gathered(self, wanted: Wanted, start: datetime, end: datetime) -> tuple[list[Row], Batches | None]:
        """The rows of a range, and what more there is of them when they are too many to be held."""
        batches = await wanted.compute(start, end)
        rows: list[Row] = []
        try:
            async for batch in batches:
                rows += batch
                if len(rows) > wanted.max_rows:
                    return rows, batches
        except BaseException:
            await batches.aclose()
            raise
        return rows, None

    def _packed(self, wanted: Wanted, keepable: Sequence[int], computed: Mapping[int, Computed]) -> dict[int, Entry]:
        """The entries of what was computed and can be kept."""
        entries = {}
        for place in keepable:
            if place in computed:
                one = computed[place]
                try:
                    entries[place] = Entry(wanted.stamp, wanted.slots.form.pack(one.rows), one.reach)
                except UnkeepableError:
                    self._windows.labels("unkeepable").inc()
        return entries


def _parted(slots: Slots, places: range, rows: list[Row]) -> dict[int, Computed]:
    """The rows of a run by the place of their slot."""
    if slots.starts is None:
        return {0: Computed(rows)}
    column = slots.form.tags
    by_start: dict[datetime, list[Row]] = {slots.starts[place]: [] for place in places}
    for row in rows:
        by_start[row[column]].append(row)
    near = slots.looked_at(slots.ranges[places[0]][0])
    parts = (_told(part, near, slots.since) for part in by_start.values())
    return dict(zip(places, parts, strict=True))


def _told(rows: list[Row], near: datetime | None, far: datetime | None) -> Computed:
    if near is None or far is None:
        return Computed(rows)
    return Computed(reach.without(rows), reach.told(rows, near, far))


def _tag(wanted: Wanted, answer: Sequence[Row], entries: Mapping[int, Entry]) -> str | None:
    """What tells the rows of a settled range from others."""
    if not wanted.is_settled:
        return None
    slots, parts = wanted.slots, {**wanted.found, **entries}
    if slots.windows is None and parts:  # then this is how they are kept
        return digest_of(slots.fingerprint, parts[0].rows)
    if len(answer) <= SMALL_ROWS:
        try:
            return digest_of(slots.fingerprint, packed(answer))
        except UnkeepableError:
            return None
    if len(parts) < len(slots.ranges):
        return None
    return digest_of(slots.fingerprint, *(parts[place].rows for place in range(len(slots.ranges))))


async def _bypassed(slots: Slots, compute: Compute) -> Reused:
    """The answer of which nothing can be kept now."""
    batches = await compute(slots.start, slots.end)
    return Reused(batches if slots.since is None else _streamed(slots, [], batches), "bypass")


async def _streamed(slots: Slots, rows: list[Row], rest: Batches) -> Batches:
    async with aclosing(rest):
        for batch in _chunks(rows):
            yield batch if slots.since is None else reach.without(batch)
        async for batch in rest:
            yield batch if slots.since is None else reach.without(batch)


async def _unpacked(slots: Slots, packed: bytes) -> Batches:
    for batch in _chunks(slots.form.unpack(packed, None)):
        yield batch


def _in_batches(rows: list[Row]) -> Batches:
    return Short(rows) if len(rows) <= BATCH_ROWS else _one_by_one(rows)


async def _one_by_one(rows: list[Row]) -> Batches:
    for batch in _chunks(rows):
        yield batch


def _chunks(rows: list[Row]) -> list[list[Row]]:
    return [rows[first : first + BATCH_ROWS] for first in range(0, len(rows), BATCH_ROWS)]
