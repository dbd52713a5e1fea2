"""The judge of the faults: it finds what it is there to find."""

from __future__ import annotations

import pytest

from tests.faults.ledger import Ledger, Point, Row, compare


@pytest.fixture
def ledger() -> Ledger:
    """Of points 1 to 3 the first two were acknowledged, and 4 was sent as a correction of 2."""
    ledger = Ledger()
    points = [ledger.point(("m", "s", time)) for time in (1, 2, 3)]
    ledger.sent(points)
    ledger.acknowledged(points[:2])
    ledger.sent([ledger.point(("m", "s", 2))])
    return ledger


def row(time: int, number: float, *, series: str = "s") -> Row:
    """A row as it should be stored."""
    return ("m", series, time), number, -number


@pytest.mark.parametrize("second", [2, 4])
@pytest.mark.parametrize("others", [[], [row(3, 3)]])
def test_what_may_be_is_clean(ledger: Ledger, second: int, others: list[Row]) -> None:
    """What was not acknowledged may be there or not, and a later correction may have replaced what was."""
    report = compare(ledger, [row(1, 1), row(2, second), *others])
    assert report.is_clean, report
    assert report.acknowledged == 2


@pytest.mark.parametrize(
    ("rows", "kind"),
    [
        ([row(2, 2)], "lost"),
        ([row(1, 1), row(2, 2), row(2, 2)], "doubled"),
        ([row(1, 1), row(2, 1)], "wrong"),
        ([row(1, 1), (("m", "s", 2), 4.0, -2.0)], "wrong"),
        ([row(1, 1), (("m", "s", 2), 2.0, None)], "wrong"),
        ([row(1, 1), row(2, 2), row(3, 9)], "wrong"),
        ([row(1, 1), row(2, 2), row(4, 4)], "foreign"),
        ([row(1, 1), row(2, 2), row(1, 1, series="t")], "foreign"),
    ],
)
def test_what_must_not_be_is_found(ledger: Ledger, rows: list[Row], kind: str) -> None:
    """Each kind of finding is told as what it is, and nothing else."""
    report = compare(ledger, rows)
    assert len(getattr(report, kind)) == 1
    assert [name for name in ("lost", "doubled", "wrong", "foreign") if getattr(report, name)] == [kind]


def test_a_correction_that_was_acknowledged_replaces_what_was(ledger: Ledger) -> None:
    """The value acknowledged before it is wrong from then on."""
    ledger.acknowledged([Point(("m", "s", 2), 4)])
    assert compare(ledger, [row(1, 1), row(2, 4)]).is_clean
    assert compare(ledger, [row(1, 1), row(2, 2)]).wrong


def test_what_is_damaged_may_be_missing_and_nothing_else(ledger: Ledger) -> None:
    """Its value acknowledged before counts then; once it is repaired all must be there, whatever came since."""
    ledger.acknowledged([Point(("m", "s", 2), 4)])
    ledger.aside = {1, 4}
    assert compare(ledger, [row(2, 2)]).is_clean
    assert compare(ledger, [row(1, 1), row(2, 4)]).is_clean
    assert compare(ledger, [row(1, 1)]).lost
    ledger.aside = {1, 2}
    assert compare(ledger, [row(2, 2)]).wrong
    ledger.is_mended = True
    assert compare(ledger, [row(2, 4)]).lost
    assert compare(ledger, [row(1, 1), row(2, 2)]).is_clean
