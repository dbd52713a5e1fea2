from __future__ import annotations

import math
import struct

import numpy as np
import pytest

from ingest.copy import Columns, by_key, encode, gather
from ingest.points import Rows, Series

YEAR_2000_US = 946_684_800_000_000


def columns(fields: tuple[str, ...], *points: tuple[int, int, list[float]], measurement: str = "m") -> Columns:
    """Points of (series id, time, values), in the order in which they came."""
    return Columns(
        measurement,
        fields,
        np.array([point[0] for point in points], np.int32),
        np.array([point[1] for point in points], np.int64),
        np.array([point[2] for point in points], np.float64).reshape(len(points), len(fields)),
        np.arange(len(points), dtype=np.int64),
    )


def test_the_encoding_is_that_of_the_manual() -> None:
    """Signature, flags, header length; a row's count, lengths and big-endian values; the trailer."""
    encoded = encode(columns(("f", "g"), (7, YEAR_2000_US + 5, [1.5, -0.0])))
    expected = b"PGCOPY\n\xff\r\n\0" + struct.pack(">ii", 0, 0)
    expected += struct.pack(">h iq ii id id", 4, 8, 5, 4, 7, 8, 1.5, 8, -0.0)
    assert encoded == expected + struct.pack(">h", -1)


@pytest.mark.parametrize("value", [0.0, -0.0, 5e-324, -5e-324, 1.7976931348623157e308, math.pi, 2.0**53 + 2])
def test_every_bit_of_a_value_is_kept(value: float) -> None:
    """A double is encoded as it is, signed zeros and denormals too."""
    encoded = encode(columns(("f",), (1, 0, [value])))
    assert encoded[-10:-2] == struct.pack(">d", value)


def test_a_time_before_2000_is_negative() -> None:
    """PostgreSQL counts microseconds from 2000-01-01."""
    encoded = encode(columns(("f",), (1, -1, [0.0])))
    assert struct.unpack(">q", encoded[19 + 2 + 4 : 19 + 2 + 12]) == (-1 - YEAR_2000_US,)


def test_rows_become_columns_named_as_the_hypertable_has_them() -> None:
    """Columns are sorted by their names there, whatever the order and the names in the request."""
    rows = Rows("m", ("g", "time"))
    for number, values in ((3, (1.0, 2.0)), (4, (3.0, 4.0))):
        rows.series.append(Series("m", "{}", number))
        rows.times.append(number * 10)
        rows.values.extend(values)
        rows.places.append(number)
    made = Columns.of(rows, {"time": "a_time", "g": "g", "unused": "u"})
    assert made.fields == ("a_time", "g")
    assert made.ids.tolist() == [3, 4]
    assert made.times.tolist() == [30, 40]
    assert made.values.tolist() == [[2.0, 1.0], [4.0, 3.0]]
    assert made.places.tolist() == [3, 4]


def test_gathering_joins_shapes_and_keeps_the_order_of_requests() -> None:
    """One `Columns` for each shape, measurements and fields sorted, later requests in later places."""
    first = [columns(("g",), (1, 1, [1.0])), columns(("f",), (1, 1, [2.0]), (2, 1, [3.0]))]
    second = [columns(("f",), (3, 1, [4.0])), columns(("f",), (1, 1, [5.0]), measurement="a")]
    gathered = gather([first, second])
    assert [(one.measurement, one.fields, one.ids.tolist()) for one in gathered] == [
        ("a", ("f",), [1]),
        ("m", ("f",), [1, 2, 3]),
        ("m", ("g",), [1]),
    ]
    assert gathered[1].places.tolist() == [0, 1, 2]
    assert gathered[0].places.tolist() == [2]


def test_sorting_is_by_series_then_time() -> None:
    """The order of the index."""
    ordered = by_key(columns(("f",), (2, 1, [1.0]), (1, 9, [2.0]), (1, 3, [3.0])))
    assert list(zip(ordered.ids.tolist(), ordered.times.tolist(), strict=True)) == [(1, 3), (1, 9), (2, 1)]
    assert ordered.values[:, 0].tolist() == [3.0, 2.0, 1.0]
