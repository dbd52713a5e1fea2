"""What clients have sent and what was acknowledged, and how a database is judged by it.

Every value is written once: the field `a` is a running number, `b` the same with the other sign. So a value that is
found tells which sending it came from, and a row whose fields come from two sendings shows itself.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import count

Key = tuple[str, str, int]
"""Measurement, series and time in seconds: what a row is known by."""
Row = tuple[Key, float | None, float | None]
"""A row that was found: its key, and its fields `a` and `b`."""

SHOWN = 5
"""How many findings of a kind are told."""


@dataclass(frozen=True, slots=True)
class Point:
    """One point as it is sent."""

    key: Key
    number: int


@dataclass(slots=True)
class Cell:
    """What is known of a key. Its numbers grow in the order in which they were sent."""

    sent: list[int] = field(default_factory=list)
    acknowledged: list[int] = field(default_factory=list)


class Ledger:
    """Every point sent. A key is one client's, which sends a correction only when it has heard of the value before."""

    def __init__(self) -> None:
        self.cells: dict[Key, Cell] = {}
        self.acknowledged_points = 0
        self.aside: set[int] = set()
        """Numbers that lay in what a fault has damaged: they cannot be stored unless that is repaired."""
        self.damaged_entries = 0
        self.is_mended = False
        """Whether all of that was repaired and written: then it must be there, and may have replaced later ones."""
        self._numbers = count(1)

    def point(self, key: Key) -> Point:
        """A point with a new value."""
        return Point(key, next(self._numbers))

    def sent(self, points: Iterable[Point]) -> None:
        """These are about to be sent for the first time."""
        for point in points:
            self.cells.setdefault(point.key, Cell()).sent.append(point.number)

    def acknowledged(self, points: Iterable[Point]) -> None:
        """These have been promised; what was sent before them does not count any more."""
        for point in points:
            self.cells[point.key].acknowledged.append(point.number)
            self.acknowledged_points += 1

    def damaged(self, numbers: Iterable[int]) -> None:
        """One more entry is damaged, in which these lie."""
        self.aside.update(numbers)
        self.damaged_entries += 1

    def promised(self, cell: Cell) -> int | None:
        """The number that was acknowledged last, but for what is damaged; None when nothing need be stored."""
        return max((number for number in cell.acknowledged if number not in self.aside), default=None)


@dataclass(frozen=True)
class Report:
    """How a database agrees with a ledger; every list should be empty."""

    acknowledged: int
    """Points that were acknowledged, corrections included."""
    aside: int
    """Points of entries that a fault has damaged, which were set aside."""
    lost: list[str]
    """Acknowledged, and not there."""
    doubled: list[str]
    """There more than once."""
    wrong: list[str]
    """There with a value that is neither the one acknowledged last nor a later one."""
    foreign: list[str]
    """There, and never sent."""

    @property
    def is_clean(self) -> bool:
        """Whether everything agrees."""
        return not (self.lost or self.doubled or self.wrong or self.foreign)

    def __str__(self) -> str:
        found = [f"{self.acknowledged} points acknowledged", f"{self.aside} in damaged entries"]
        for name in ("lost", "doubled", "wrong", "foreign"):
            cases: list[str] = getattr(self, name)
            found.append(f"{len(cases)} {name}" + "".join(f"\n    {case}" for case in cases[:SHOWN]))
        return ", ".join(found)


def compare(ledger: Ledger, rows: Iterable[Row]) -> Report:
    """Judge the rows that were found."""
    found = list(rows)
    times = Counter(key for key, _, _ in found)
    lost, wrong = [], []
    for key, cell in ledger.cells.items():
        promised = ledger.promised(cell)
        if key not in times and (cell.acknowledged if ledger.is_mended else promised is not None):
            lost.append(f"{key}: acknowledged {cell.acknowledged}")
    for key, a, b in found:
        if (known := ledger.cells.get(key)) is not None:
            least = ledger.promised(known) or 0
            allowed = [one for one in known.sent if one >= least or (ledger.is_mended and one in ledger.aside)]
            if a not in allowed or b is None or a != -b:
                wrong.append(f"{key}: a={a} b={b}, acknowledged {known.acknowledged}, of {known.sent} sent")
    return Report(
        acknowledged=ledger.acknowledged_points,
        aside=len(ledger.aside),
        lost=lost,
        doubled=[f"{key}: {number} times" for key, number in times.items() if number > 1],
        wrong=wrong,
        foreign=[f"{key}" for key in times if key not in ledger.cells],
    )
