from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from query.times import EARLIEST, LATEST, parse_time, written

NOW = datetime(2026, 11, 22, 8, 30, 0, 123456, UTC)


@pytest.mark.parametrize(
    ("value", "moment"),
    [
        ("now", NOW),
        ("-1h", NOW - timedelta(hours=1)),
        ("now-15m", NOW - timedelta(minutes=15)),
        ("-30s", NOW - timedelta(seconds=30)),
        ("-2d", NOW - timedelta(days=2)),
        ("now-1w", NOW - timedelta(days=7)),
        ("1795334400", datetime(2026, 11, 22, 8, 0, tzinfo=UTC)),
        ("1795334400.5", datetime(2026, 11, 22, 8, 0, 0, 500000, tzinfo=UTC)),
        ("1795334400.123456789", datetime(2026, 11, 22, 8, 0, 0, 123456, tzinfo=UTC)),
        (1795334400, datetime(2026, 11, 22, 8, 0, tzinfo=UTC)),
        (1795334400.25, datetime(2026, 11, 22, 8, 0, 0, 250000, tzinfo=UTC)),
        (0, datetime(1970, 1, 1, tzinfo=UTC)),
        ("2026-11-22T08:00:00Z", datetime(2026, 11, 22, 8, 0, tzinfo=UTC)),
        ("2026-11-22t08:00:00z", datetime(2026, 11, 22, 8, 0, tzinfo=UTC)),
        ("2026-11-22 08:00:00+01:00", datetime(2026, 11, 22, 7, 0, tzinfo=UTC)),
        ("2026-11-22T08:00:00.123456789-00:30", datetime(2026, 11, 22, 8, 30, 0, 123456, tzinfo=UTC)),
        ("1969-12-31T23:59:59Z", datetime(1969, 12, 31, 23, 59, 59, tzinfo=UTC)),
    ],
)
def test_a_time_is_what_it_says(value: object, moment: datetime) -> None:
    """RFC 3339, Unix seconds and relative times mean one moment, in UTC, to the microsecond."""
    parsed = parse_time(value, NOW)
    assert parsed == moment
    assert parsed.utcoffset() == timedelta(0)


@pytest.mark.parametrize(
    "value",
    ["", "yesterday", "1h", "+1h", "now+1h", "-1y", "-1.5h", "--1h", "now-", "-3600", "1e9", "2026-11-22",
     "2026-11-22T08:00:00", "2026-11-22T25:00:00Z", "2026-02-29T00:00:00Z", "2026-11-22T08:00:60Z", "१२३",
     "2026-11-22T08:00:00-99:99", "2026-11-22T08:00:00+01:60", "nan", True, None, [], {}, -1, -0.5, 1e300],
)  # fmt: skip
def test_what_is_no_time_is_refused_with_what_is_allowed(value: object) -> None:
    """Anything else is refused, and the message repeats it."""
    with pytest.raises(ValueError, match="is not a time") as refusal:
        parse_time(value, NOW)
    assert str(value)[:20] in str(refusal.value)


@pytest.mark.parametrize(
    "value",
    [
        "1795334400000",
        "1795334400000000000",
        1e14,
        "9999-12-31T23:59:59Z",
        "0001-01-01T00:00:00+23:59",
        "-18250w",
        "-99999999999w",
    ],
)
def test_a_time_that_no_point_can_have_is_refused(value: str) -> None:
    """A moment outside the years of the protocols is refused, however large its number."""
    with pytest.raises(ValueError, match=r"outside the years|longer than all"):
        parse_time(value, NOW)


def test_an_unescaped_plus_is_told() -> None:
    """A plus that became a space in a URL is the likeliest fault, and the message says so."""
    with pytest.raises(ValueError, match="%2B"):
        parse_time("2026-11-22T08:00:00 01:00", NOW)


@given(
    st.datetimes(
        datetime(1678, 1, 2),
        datetime(2261, 12, 30),
        timezones=st.sampled_from([UTC, timezone(timedelta(hours=-9.5))]),
    )
)
def test_every_moment_survives_being_written(moment: datetime) -> None:
    """A moment written as RFC 3339 is read as itself."""
    assert parse_time(moment.isoformat(), NOW) == moment
    assert parse_time(written(moment.astimezone(UTC)), NOW) == moment


@given(st.one_of(st.text(), st.integers(), st.floats(), st.booleans(), st.lists(st.text())))
def test_any_value_is_a_moment_or_a_value_error(value: Any) -> None:
    """Whatever is sent, the result is a moment inside the allowed years, or a ValueError."""
    try:
        parsed = parse_time(value, NOW)
    except ValueError:
        return
    assert EARLIEST <= parsed <= LATEST
