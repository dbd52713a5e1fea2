"""What an input gives: points, and what it could not read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from service.errors import TidemarkError

Fields = dict[str, int | float]


@dataclass(frozen=True, slots=True)
class Point:
    """The fields of one series: an `int` is sent as an integer, a `float` as a float."""

    measurement: str
    fields: Mapping[str, int | float]
    tags: Mapping[str, str] = field(default_factory=dict)


Input = Callable[[], list[Point]]


class PartlyRead(TidemarkError):
    """An input could be read in part: `points` is what it has, `faults` what is wrong with the rest."""

    def __init__(self, points: list[Point], faults: list[str]) -> None:
        super().__init__("; ".join(faults))
        self.points = points
        self.faults = faults


def attributes(answer: object, names: Mapping[str, str]) -> Fields:
    """The fields of `names` whose attribute `answer` has."""
    return {field: getattr(answer, name) for field, name in names.items() if hasattr(answer, name)}


def percent(part: float, whole: float) -> float:
    """`part` of `whole` in percent; 0 of nothing."""
    return 100 * part / whole if whole else 0.0
