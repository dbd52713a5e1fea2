"""What is kept is what was computed, to the last bit."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from query.entries import Entry, Form, Stamp, UnkeepableError, in_order, seal
from query.reach import Reach

START = datetime(2026, 11, 25, 8, tzinfo=UTC)

numbers = st.one_of(
    st.none(), st.floats(allow_nan=False, allow_infinity=False), st.integers(-(2**63), 2**63 - 1), st.just(-0.0)
)
rows_of_a_window = st.lists(st.tuples(st.text(), st.text(), numbers, numbers), max_size=10)


@given(rows_of_a_window)
def test_rows_of_a_window(rows: list[tuple[Any, ...]]) -> None:
    """Tags and numbers are as they were, and the window's start, which is not kept, is put in."""
    form = Form(tags=2, has_start=True, is_window=True)
    whole = [(*row[:2], START, *row[2:]) for row in rows]
    unpacked = form.unpack(form.pack(whole), START)
    assert unpacked == whole
    assert repr(unpacked) == repr(whole), "0.0 and -0.0, 1 and 1.0 are equal, and not the same"


@given(rows_of_a_window, st.booleans())
def test_rows_of_an_answer(rows: list[tuple[Any, ...]], has_start: bool) -> None:
    """Kept as a whole, rows have their own moments, to the microsecond."""
    form = Form(tags=2, has_start=has_start, is_window=False)
    moments = [START + n * timedelta(microseconds=1_000_001) for n in range(len(rows))]
    whole = [(*row[:2], at, *row[2:]) if has_start else row for row, at in zip(rows, moments, strict=True)]
    assert repr(form.unpack(form.pack(whole), None)) == repr(whole)


@pytest.mark.parametrize("number", [float("inf"), float("-inf"), float("nan")])
def test_what_json_cannot_hold_is_not_kept(number: float) -> None:
    """It would come back as null."""
    with pytest.raises(UnkeepableError):
        Form(0, has_start=False, is_window=False).pack([(1.0,), (number,)])


def test_what_looks_like_it_is_kept() -> None:
    """A number that is missing, and a text."""
    form = Form(1, has_start=False, is_window=False)
    rows = [("null", None), ("NaN", 1.0)]
    assert form.unpack(form.pack(rows), None) == rows


@pytest.mark.parametrize(
    "reach",
    [None, Reach(START, None, True), Reach(START, START + timedelta(microseconds=9), False)],
    ids=["alone", "nothing before", "points before"],
)
def test_an_entry_as_bytes(reach: Reach | None) -> None:
    """It comes back with its stamp, and with its reach if it has one."""
    entry = Entry(Stamp("1.2.3", 2**40, START + timedelta(microseconds=7)), b'[["a",1.5]]', reach)
    assert Entry.from_bytes(b"key", entry.to_bytes(b"key")) == entry


@given(st.data())
def test_an_entry_that_was_damaged(data: st.DataObject) -> None:
    """A byte that is another, one that is missing, or another key: it is none any more."""
    whole = Entry(Stamp("1.2.3", 2**40, START), b'[["a",1.5]]').to_bytes(b"key")
    place = data.draw(st.integers(0, len(whole) - 1))
    change = data.draw(st.integers(1, 255))
    for key, damaged in (
        (b"key", whole[:place] + bytes([whole[place] ^ change]) + whole[place + 1 :]),
        (b"key", whole[:place]),
        (b"another key", whole),
    ):
        with pytest.raises(ValueError, match="not an entry"):
            Entry.from_bytes(key, damaged)


@pytest.mark.parametrize(
    "data",
    [
        *(b"", b"x", b"[]", b"[]\n[]", b'["e",1]\n[]', b'["e","x",2]\n', b"\xff\n[]", b"{}\n", b"7\n"),
        *(b'["e",1,2,[]]\n', b'["e",1,2,[1,"x",true]]\n', b'["e",1,2,[1,2,true],[1,2,true]]\n', b'["e",1,2,3]\n'),
    ],
)
def test_what_is_no_entry(data: bytes) -> None:
    """Anything else is refused, sealed or not."""
    for one in (data, seal(b"key", data) + data):
        with pytest.raises(ValueError, match="not an entry"):
            Entry.from_bytes(b"key", one)


@given(st.lists(st.lists(st.tuples(st.text(max_size=3), st.text(max_size=3)), max_size=5, unique=True), max_size=5))
def test_rows_are_put_in_order(windows: list[list[tuple[str, str]]]) -> None:
    """By their tags as bytes of UTF-8, then by time, as the database sorts them."""
    slots = [
        sorted((*tags, START + timedelta(minutes=place), 1.0) for tags in window)
        for place, window in enumerate(windows)
    ]
    everything = [row for rows in slots for row in rows]
    wanted = sorted(everything, key=lambda row: (row[0].encode(), row[1].encode(), row[2]))
    assert in_order(slots, 2) == wanted
    assert in_order(slots, 0) == everything
