"""Where entries are kept: in this process, the longest unused leave first when there are too many bytes."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Protocol

from query.entries import Entry
from query.instruments import Instruments

OVERHEAD_BYTES = 500
"""What an entry takes beside its rows and its key, at most: objects, and its places in the table."""


class Cache(Protocol):
    """Keeps entries by their keys, for as long as it likes."""

    async def get(self, keys: Sequence[bytes]) -> Mapping[bytes, Entry]:
        """The entries that are there. Never raises: what cannot be had is not there."""

    async def put(self, entries: Mapping[bytes, Entry]) -> None:
        """Keep entries, in place of those of the same keys. Never raises, and never waits for long."""

    async def close(self) -> None:
        """Let go of what it has."""


class Memory:
    """Keeps entries in this process."""

    def __init__(self, max_bytes: int, instruments: Instruments) -> None:
        self._max_bytes = max_bytes
        self._evicted = instruments.cache.evicted
        self._entries: OrderedDict[bytes, Entry] = OrderedDict()
        self._bytes = 0
        instruments.cache.bytes.set_function(lambda: self._bytes)
        instruments.cache.entries.set_function(lambda: len(self._entries))

    async def get(self, keys: Sequence[bytes]) -> Mapping[bytes, Entry]:
        """The entries that are there."""
        found = {key: entry for key in keys if (entry := self._entries.get(key)) is not None}
        for key in found:
            self._entries.move_to_end(key)
        return found

    async def put(self, entries: Mapping[bytes, Entry]) -> None:
        """Keep entries; those unused for longest leave."""
        for key, entry in entries.items():
            self._remove(key)
            self._entries[key] = entry
            self._bytes += _size(key, entry)
        while self._bytes > self._max_bytes:
            self._remove(next(iter(self._entries)))
            self._evicted.inc()

    async def close(self) -> None:
        """Nothing to let go of."""

    def _remove(self, key: bytes) -> None:
        if (entry := self._entries.pop(key, None)) is not None:
            self._bytes -= _size(key, entry)


def _size(key: bytes, entry: Entry) -> int:
    return len(key) + len(entry.rows) + OVERHEAD_BYTES
