"""Positions in the database's log."""

from __future__ import annotations

import pytest

from query.position import PAGE_BYTES, Position, end_of_record, parse_position


@pytest.mark.parametrize(
    ("text", "timeline", "lsn"),
    [("1-0/16B3748", 1, 0x16B3748), ("A-1/0", 10, 1 << 32), (" 2-ffffffff/FFFFFFFF ", 2, 2**64 - 1)],
)
def test_a_position_is_read_and_written(text: str, timeline: int, lsn: int) -> None:
    """Both parts are hexadecimal, as PostgreSQL writes them."""
    position = parse_position(text)
    assert position == Position(timeline, lsn)
    assert str(position) == text.strip().upper()
    assert parse_position(str(position)) == position


@pytest.mark.parametrize("text", ["", "1", "0/16B3748", "1-0", "1-0/G", "1-0/123456789", "-1-0/1", "1-0/1-2", 7, None])
def test_what_is_no_position(text: object) -> None:
    """Anything else is refused, and the refusal says what is allowed."""
    with pytest.raises(ValueError, match="allowed: what ingest answers as Tidemark-Position, as in 1-0/16B3748"):
        parse_position(text)


def test_positions_are_in_order() -> None:
    """By timeline, then by place."""
    assert Position(1, 9) < Position(1, 10) < Position(2, 1)


@pytest.mark.parametrize("header", [24, 40])
def test_a_page_with_nothing_on_it_begins_after_the_last_record(header: int) -> None:
    """A primary that stands behind the header of a new page has written nothing past that page's start."""
    assert end_of_record(5 * PAGE_BYTES + header) == 5 * PAGE_BYTES
    assert end_of_record(5 * PAGE_BYTES + header + 8) == 5 * PAGE_BYTES + header + 8
    assert end_of_record(5 * PAGE_BYTES) == 5 * PAGE_BYTES
