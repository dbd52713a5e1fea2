"""Times as clients write them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.names import Rejected
from ingest.timestamps import Window, parse_rfc3339, precision_ns
from service.errors import BadRequest

NOW_US = 1_800_000_000_000_000


@pytest.mark.parametrize(
    ("text", "microseconds"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("2026-11-22T08:00:00Z", 1_795_334_400_000_000),
        ("2026-11-22t08:00:00z", 1_795_334_400_000_000),
        ("2026-11-22 08:00:00Z", 1_795_334_400_000_000),
        ("2026-11-22T09:30:00+01:30", 1_795_334_400_000_000),
        ("2026-11-21T20:00:00-12:00", 1_795_334_400_000_000),
        ("2026-11-22T08:00:00.5Z", 1_795_334_400_500_000),
        ("2026-11-22T08:00:00.123456Z", 1_795_334_400_123_456),
        ("2026-11-22T08:00:00.123456789+00:00", 1_795_334_400_123_456),
        ("1969-12-31T23:59:59.999999Z", -1),
        ("0001-01-01T00:00:00Z", -62_135_596_800_000_000),
        ("0001-01-01T00:00:00+23:59", -62_135_683_140_000_000),
        ("9999-12-31T23:59:59-23:59", 253_402_387_139_000_000),
    ],
)
def test_rfc3339(text: str, microseconds: int) -> None:
    """Offsets, fractions and the ends of the calendar; digits finer than microseconds are cut off."""
    assert parse_rfc3339(text) == microseconds


@given(
    st.datetimes(min_value=datetime(1, 1, 3), max_value=datetime(9999, 12, 29)),
    st.integers(-1439, 1439),
)
def test_rfc3339_is_what_datetime_writes(moment: datetime, offset_minutes: int) -> None:
    """Every moment that has a name is found by it."""
    aware = moment.replace(tzinfo=timezone(timedelta(minutes=offset_minutes)))
    expected = (aware - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
    assert parse_rfc3339(aware.isoformat()) == expected


@pytest.mark.parametrize(
    "text",
    [
        *("", "now", "2026-11-22", "2026-11-22T08:00Z", "2026-11-22T08:00:00", "2026-11-22T08:00:00.Z"),
        *("2026-11-22T08:00:00.1234567890Z", "2026-11-22T08:00:00+0100", "2026-11-22T08:00:00,5Z", "20261122T080000Z"),
        *(
            "2026-11-22T08:00:00Z ",
            " 2026-11-22T08:00:00Z",
            "2026-W47-7T08:00:00Z",
            "٢٠٢٦-11-22T08:00:00Z",
            "1700000000",
        ),
        "x" * 100_000,
    ],
)
def test_other_formats_are_rejected(text: str) -> None:
    """Anything else is rejected with an example; a time without an offset would be a guess."""
    with pytest.raises(Rejected, match="is not RFC 3339, such as 2026-11-22T08:00:00Z") as caught:
        parse_rfc3339(text)
    assert caught.value.reason == "time"
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize(
    "text",
    [
        "2026-02-29T00:00:00Z",
        "2026-13-01T00:00:00Z",
        "2026-01-01T24:00:00Z",
        "2016-12-31T23:59:60Z",
        "0000-01-01T00:00:00Z",
        "2026-01-01T00:00:00+24:00",
    ],
)
def test_moments_that_are_none_are_rejected(text: str) -> None:
    """The form is right and the moment is not: leap seconds, which PostgreSQL cannot store, too."""
    with pytest.raises(Rejected) as caught:
        parse_rfc3339(text)
    assert (caught.value.reason, str(caught.value).startswith(f"time '{text}': ")) == ("time", True)


@pytest.mark.parametrize("name", ["", None])
def test_an_absent_precision_is_the_default(name: str | None) -> None:
    """The protocol's own unit holds unless the request names one."""
    assert (precision_ns(name, "s"), precision_ns(name, "ns")) == (10**9, 1)


@pytest.mark.parametrize("name", ["S", "sec", "1s", "ns ", "d", "\0", "x" * 10_000])
def test_an_unknown_precision_is_refused(name: str) -> None:
    """The message says what is allowed and stays short."""
    with pytest.raises(BadRequest, match="is unknown, allowed are ns, n, us, u, µ, µs, ms, s, m, h") as caught:
        precision_ns(name, "ns")
    assert caught.value.details == {"parameter": "precision"}
    assert len(caught.value.message) < 200


def test_the_window_ends_where_its_settings_say() -> None:
    """Both bounds are inside."""
    window = Window.around(NOW_US, 100, 10)
    earliest, latest = NOW_US - 100_000_000, NOW_US + 10_000_000
    assert (window.check(earliest), window.check(latest)) == (earliest, latest)
    for outside in (earliest - 1, latest + 1):
        with pytest.raises(Rejected):
            window.check(outside)


def test_the_window_is_within_the_calendar() -> None:
    """However wide it is set, only times are taken that have a date, which PostgreSQL can store."""
    window = Window.around(NOW_US, 10**18, 10**18)
    assert window.check(window.earliest) == parse_rfc3339("0001-01-01T00:00:00Z")
    assert window.check(window.latest) == parse_rfc3339("9999-12-31T23:59:59.999999Z")


@pytest.mark.parametrize(
    ("time", "shown"), [(5, "1970-01-01T00:00:00Z"), (-(2**63), "µs since 1970"), (10**26, "µs since 1970")]
)
def test_any_time_can_be_told(time: int, shown: str) -> None:
    """Times that no calendar has are told as numbers."""
    with pytest.raises(Rejected, match=shown):
        Window.around(NOW_US, 100, 10).check(time)
