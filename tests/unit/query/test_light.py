from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from psycopg import sql

from query.conditions import forms
from query.light import MOST_NUMBERS, days, during, planned
from query.parameters import Matcher, Operator

NOON = datetime(2026, 11, 25, 12, tzinfo=UTC)
MIDNIGHT = NOON - timedelta(hours=12)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
HOST = Matcher("host", "=", "a")


@pytest.mark.parametrize(
    ("start", "end", "of"),
    [
        (NOON, NOON + HOUR, (MIDNIGHT, MIDNIGHT + DAY)),
        (MIDNIGHT, MIDNIGHT + HOUR, (MIDNIGHT, MIDNIGHT + DAY)),
        (MIDNIGHT - HOUR, MIDNIGHT, (MIDNIGHT - DAY, MIDNIGHT)),
        (MIDNIGHT - HOUR, MIDNIGHT + timedelta.resolution, (MIDNIGHT - DAY, MIDNIGHT + DAY)),
        (NOON, NOON + DAY - timedelta.resolution, (MIDNIGHT, MIDNIGHT + 2 * DAY)),
        (NOON, NOON + DAY, None),
    ],
)
def test_a_light_statement_looks_in_whole_days(
    start: datetime, end: datetime, of: tuple[datetime, datetime] | None
) -> None:
    """In those that hold its range, of less than a day."""
    assert days(forms([HOST]), start, end, 1) == of


@pytest.mark.parametrize(
    ("tag", "operator", "value", "is_light"),
    [
        ("host", "=", "a", True),
        ("host", "=~", "a", True),
        ("host", "=~", "a|b", True),
        ("host", "=", "", False),
        ("host", "=~", "a|", False),
        ("host", "=~", "a.*", False),
        ("host", "!=", "a", False),
        ("host", "!~", "a|b", False),
        ("os", "=", "linux", False),
        ("os", "=~", "linux|bsd", False),
    ],
)
def test_it_names_its_hosts(tag: str, operator: Operator, value: str, is_light: bool) -> None:
    """What is asked of others may be asked of all, and be much work."""
    matcher = Matcher(tag, operator, value)
    assert (days(forms([matcher]), NOON, NOON + HOUR, 1) is not None) is is_light
    assert days(forms([matcher, HOST]), NOON, NOON + HOUR, 1) is not None


def test_it_is_about_few_numbers() -> None:
    """The plan of many is too large to be kept."""
    assert days(forms([HOST]), NOON, NOON + HOUR, MOST_NUMBERS) is not None
    assert days(forms([HOST]), NOON, NOON + HOUR, MOST_NUMBERS + 1) is None


def test_its_text_tells_the_days() -> None:
    """Nothing else is said of times by what is not light."""
    told = during((MIDNIGHT, MIDNIGHT + DAY)).as_string()
    assert told == (
        " AND p.time >= '2026-11-25 00:00:00+00:00'::timestamptz AND p.time < '2026-11-26 00:00:00+00:00'::timestamptz"
    )
    assert during(None) == sql.SQL("")


def test_a_statement_is_light_when_all_of_it_is() -> None:
    """It may look in several stretches of time."""
    one = (MIDNIGHT, MIDNIGHT + DAY)
    assert planned([one, one]) == "once"
    assert planned([one, None]) == "each"
