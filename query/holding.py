"""How much of answers is made and not sent yet, of all requests together. Pure."""

from __future__ import annotations

from query.instruments import Instruments
from query.settings import QuerySettings


class Held:
    """The bytes of one answer."""

    def __init__(self, holding: Holding) -> None:
        self._holding = holding
        self._bytes = 0

    def __enter__(self) -> Held:
        return self

    def __exit__(self, *_: object) -> None:
        self.now(0)

    def now(self, count: int) -> bool:
        """So many are held now; whether there is room for more."""
        self._holding.change(count - self._bytes)
        self._bytes = count
        return self._holding.has_room(count)


class Holding:
    """The bytes of all answers."""

    def __init__(self, settings: QuerySettings, instruments: Instruments) -> None:
        self._most_of_one = settings.max_held_bytes
        self._most = settings.max_all_held_bytes
        self._bytes = 0
        instruments.requests.held_bytes.set_function(lambda: self._bytes)

    def one(self) -> Held:
        """What is held of one answer, within a block."""
        return Held(self)

    def change(self, count: int) -> None:
        """So many more are held."""
        self._bytes += count

    def has_room(self, count: int) -> bool:
        """Whether an answer of which so much is held may hold more."""
        return count < self._most_of_one and self._bytes < self._most
