"""Random points, and random requests for what is computed of them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import strategies as st

from tests.integration.query.reference import FUNCTIONS, PERCENTILES, Ask, Point

START = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
"""Before clocks change in New York, on the eighth, and in Europe, on the 29th."""
MONTH_MICROSECONDS = 30 * 86_400 * 10**6

TAG_VALUES = st.sampled_from([None, "", "a", "b"])
POINTS = st.lists(
    st.builds(
        lambda tags, microseconds, fields: Point(
            tuple(sorted((name, value) for name, value in tags.items() if value is not None)),
            START + timedelta(microseconds=microseconds),
            fields,
        ),
        st.fixed_dictionaries({"host": TAG_VALUES, "instance": TAG_VALUES, "region": TAG_VALUES}),
        st.integers(-400_000_000, 8) | st.integers(0, 10**9) | st.integers(0, MONTH_MICROSECONDS),
        # Whole numbers: what is equal for PostgreSQL is then equal here, and series have one order.
        st.dictionaries(st.sampled_from(["x", "y", "z"]), st.integers(-(10**6), 10**6).map(float), min_size=1),
    ),
    max_size=30,
    unique_by=lambda point: (point.tags, point.time),
)
FIELDS = st.lists(st.sampled_from(["x", "y", "z"]), min_size=1, unique=True).map(tuple)
FNS = st.lists(st.sampled_from([*FUNCTIONS, *PERCENTILES]), min_size=1, unique=True).map(tuple)
MATCHES = st.lists(
    st.tuples(
        st.sampled_from(["host", "region", "none"]),
        st.sampled_from(["=", "!=", "=~", "!~"]),
        st.sampled_from(["", "a", "a|b", ".+"]),
    ),
    max_size=2,
    unique=True,
).map(tuple)
ORDERED_BY = ("min", "max", "count", "first", "last", "p0", "p100", "increase", "delta")
"""Functions that are exact on whole numbers: no two series are in another order by the last digit of a sum."""


@st.composite
def asks(draw: st.DrawFn) -> Ask:
    """Any request."""
    step = draw(st.sampled_from([None, "45m", "11m", "5h", "1d", "2d", "1w", "1mo", "5mo", "1y"]))
    fields, fns = draw(FIELDS), draw(FNS)
    orders = [fn for fn in fns if fn in ORDERED_BY]
    is_ordered = bool(orders) and draw(st.booleans())
    return Ask(
        fields,
        fns,
        START + timedelta(microseconds=draw(st.integers(-1, 8))),
        START + timedelta(microseconds=draw(st.integers(9, 10**9) | st.integers(9, MONTH_MICROSECONDS))),
        by=draw(st.lists(st.sampled_from(["host", "region", "none"]), unique=True).map(tuple)),
        step=step,
        match=draw(MATCHES),
        tz=draw(st.sampled_from([None, "UTC", "Europe/Berlin", "America/New_York", "Asia/Kathmandu"])),
        fill=draw(st.sampled_from([None, "none", "null", "previous", "linear", -2.5])) if step else None,
        order=draw(st.sampled_from(["asc", "desc", None])) if is_ordered else None,
        order_by=(draw(st.sampled_from(orders)), draw(st.sampled_from(fields))) if is_ordered else None,
        limit=draw(st.sampled_from([None, 1, 2, 3])) if is_ordered else None,
    )
