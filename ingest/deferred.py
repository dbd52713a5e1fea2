"""Entries of the spool that let others go first: refused for now, or behind one that is.

1. An entry that the database refuses while it takes others steps back, for twice as long each time.
2. An entry that has points of the same series and times as one before it that has stepped back waits behind that one:
   of two values of one point, the later one is to stay.
3. What is remembered for this is bounded. Past the bound no further entry steps back.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ingest.points import Batch
from ingest.spool.slot import Entry

FIRST_BREAK_SECONDS = 1.0
LONGEST_BREAK_SECONDS = 60.0
"""Between two tries of an entry that the database refuses while it takes others."""

MAX_SERIES = 200_000
"""Of all that are remembered, an entry each time that it has it: some 50 MB."""

Extent = Mapping[tuple[str, str], tuple[int, int]]
"""By measurement and tags: the earliest and the latest time of a series, in microseconds since the Unix epoch."""


def extent(batches: Iterable[Batch]) -> Extent:
    """Which series have points in these, and when."""
    found: dict[tuple[str, str], tuple[int, int]] = {}
    for batch in batches:
        for rows in batch.rows:
            for series, time in zip(rows.series, rows.times, strict=True):
                key = series.measurement, series.tags
                first, last = found.get(key, (time, time))
                found[key] = min(first, time), max(last, time)
    return found


def meet(one: Extent | None, other: Extent | None) -> bool:
    """Whether both may have the same point; None has all points."""
    if one is None or other is None:
        return True
    few, many = sorted((one, other), key=len)
    return any(key in many and first <= many[key][1] and many[key][0] <= last for key, (first, last) in few.items())


def joined(one: Extent, other: Extent) -> Extent:
    """The points of both."""
    both = dict(one)
    for key, (first, last) in other.items():
        known = both.get(key, (first, last))
        both[key] = min(first, known[0]), max(last, known[1])
    return both


class NoPlace(Exception):
    """As many entries let others go first as can be remembered: this one cannot."""


@dataclass(slots=True)
class _Place:
    """An entry that lets others go first."""

    entry: Entry
    extent: Extent | None
    behind: Path | None = None
    """The entry that must be gone first, while it is there."""
    since: float | None = None
    """When it was first refused, by `time.monotonic`."""
    seconds: float = FIRST_BREAK_SECONDS / 2
    ends_at: float = 0.0
    """Of its break."""
    done: set[int] = field(default_factory=set)
    """Which of its requests are committed or set aside already."""


class Deferred:
    """The entries that let others go first, in their order."""

    def __init__(self, max_series: int = MAX_SERIES) -> None:
        self._max_series = max_series
        self._places: dict[Path, _Place] = {}

    def __len__(self) -> int:
        return len(self._places)

    def resting(self, now: float) -> dict[Path, float | None]:
        """Those that are not to be tried now, with the time at which their break ends; None while behind others."""
        resting: dict[Path, float | None] = {}
        for path, place in self._places.items():
            if place.behind in self._places:
                resting[path] = None
            elif place.ends_at > now:
                resting[path] = place.ends_at
        return resting

    def may_meet(self, entry: Entry) -> bool:
        """Whether `entry` may have points of one that is before it, as far as can be told without reading it."""
        return any(
            entry.first_us <= place.entry.last_us and place.entry.first_us <= entry.last_us
            for place in self._before(entry)
        )

    def ahead_of(self, entry: Entry, of_it: Extent | None) -> Path | None:
        """The first one before `entry` that has points of it."""
        return next((place.entry.path for place in self._before(entry) if meet(place.extent, of_it)), None)

    def put_behind(self, entry: Entry, of_it: Extent | None, ahead: Path) -> None:
        """Let `entry` wait until the one at `ahead` is gone. Raises `NoPlace`."""
        self._place(entry, of_it).behind = ahead

    def step_back(self, entry: Entry, of_it: Extent | None, done: set[int], now: float) -> float:
        """Let others go before `entry`, of whose requests those numbered `done` need not be written again.

        Returns for how many seconds. Raises `NoPlace`.
        """
        place = self._place(entry, of_it)
        place.done = done
        place.since = now if place.since is None else place.since
        place.seconds = min(2 * place.seconds, LONGEST_BREAK_SECONDS)
        place.ends_at = now + place.seconds
        return place.seconds

    def refused_seconds(self, entry: Entry, now: float) -> float:
        """How long `entry` has been refused; 0 for one that was not before."""
        place = self._places.get(entry.path)
        return 0.0 if place is None or place.since is None else now - place.since

    def done(self, entry: Entry) -> set[int]:
        """The numbers of its requests that are committed or set aside already."""
        place = self._places.get(entry.path)
        return set() if place is None else place.done

    def leave(self, entry: Entry) -> None:
        """It is gone, and those behind it may go."""
        self._places.pop(entry.path, None)

    def _place(self, entry: Entry, of_it: Extent | None) -> _Place:
        """The entry's place, made if it has none and the bound allows it."""
        place = self._places.get(entry.path)
        if place is None:
            if sum(1 + len(one.extent or ()) for one in self._places.values()) >= self._max_series:
                raise NoPlace
            place = self._places[entry.path] = _Place(entry, of_it)
        return place

    def _before(self, entry: Entry) -> Iterable[_Place]:
        for path, place in self._places.items():
            if path == entry.path:
                return
            yield place
