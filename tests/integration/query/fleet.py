"""Some hosts' points over days, their rollups, and what is asked of them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from tests.integration.query.reference import Ask, Point
from tests.integration.query.rolled import WIDTHS, Part, Range

START = datetime(2026, 3, 27, tzinfo=UTC)
"""Two days before clocks change in Europe."""
DAYS = 4
HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)
EVER: tuple[Range, ...] = ((START - 400 * DAYS * HOUR, START + 400 * DAYS * HOUR),)


def at(minutes: float) -> datetime:
    """Some minutes after START."""
    return START + minutes * MINUTE


def fleet(days: float = DAYS, every: float = 7) -> list[Point]:
    """Three hosts' points of two fields, some minutes apart, with gaps of their own."""
    return [
        Point(
            (("host", host), ("region", "eu" if host < "c" else "us")),
            at(minute + rank),
            {"x": float((minute * 31 + rank * 17) % 101 - 20)} | ({"y": minute / 7} if minute % 3 else {}),
        )
        for rank, host in enumerate("abc")
        for minute in range(0, int(days * 24 * 60), int(every))
        if minute // 300 % 5 != rank
    ]


def ask(**changes: Any) -> Ask:
    """The five functions of both fields, by host and hour over all the time."""
    given: dict[str, Any] = {"fields": ("x", "y"), "fns": ("avg", "min", "max", "sum", "count"), "by": ("host",)}
    return Ask(**given | {"start": START, "end": at(DAYS * 24 * 60), "step": "1h"} | changes)


def both(*valid: Range, fields: tuple[str, ...] = ("x", "y")) -> list[Part]:
    """One rollup of each width, valid in these times."""
    return [Part(size, 1, fields, valid or EVER) for size in WIDTHS]
