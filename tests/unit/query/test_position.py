"""Positions in the database's log."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from query.lists import FieldsRequest
from query.parameters import parse, with_header
from query.position import PAGE_BYTES, Position, end_of_record, parse_position
from service.errors import BadRequest

NOW = datetime(2026, 11, 25, tzinfo=UTC)


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


@pytest.mark.parametrize(
    ("given", "lines", "wanted"),
    [
        (None, [], None),
        (None, ["1-0/A"], ["1-0/A"]),
        (None, ["1-0/A, 1-0/B", "1-0/C"], ["1-0/A", "1-0/B", "1-0/C"]),
        ("1-0/A", ["1-0/B"], ["1-0/A", "1-0/B"]),
        (["1-0/A"], ["1-0/B,"], ["1-0/A", "1-0/B"]),
        (["1-0/A"], [], ["1-0/A"]),
    ],
)
def test_headers_add_positions(given: object, lines: list[str], wanted: list[str] | None) -> None:
    """A request's positions are those of its parameters and those of its headers, which may hold several."""
    data = {} if given is None else {"position": given}
    found = [str(one) for one in parse(FieldsRequest, with_header(data, lines), NOW).position]
    assert found == [str(parse_position(one)) for one in wanted or []]


@pytest.mark.parametrize(
    ("data", "lines", "words"),
    [
        ({"position": "x"}, [], "position: 'x' is not a position"),
        ({}, ["1-0/A; 1-0/B"], "position: '1-0/A; 1-0/B' is not a position"),
        ({"position": 7}, ["1-0/A"], "position: neither a text nor a list of texts"),
        ({"consistency": "weak"}, [], "consistency: 'weak' is not known; allowed: fresh "),
    ],
)
def test_a_fault_of_consistency_names_its_parameter(data: dict[str, Any], lines: list[str], words: str) -> None:
    """Each is told with what is allowed."""
    with pytest.raises(BadRequest) as refusal:
        parse(FieldsRequest, with_header(data, lines), NOW)
    assert words in refusal.value.message
