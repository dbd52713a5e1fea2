from __future__ import annotations

import pytest

from ingest.agent.lines import encode
from ingest.agent.points import Point


def test_an_int_is_an_integer_and_a_float_a_float() -> None:
    """A whole float stays a float: the type of a field is Telegraf's, whatever its value."""
    point = Point("mem", {"used": 1024, "used_percent": 50.0, "tiny": 1e-07})
    assert encode([point], {"host": "web-1"}, 1_700_000_000_000_000_000) == (
        b"mem,host=web-1 used=1024i,used_percent=50.0,tiny=1e-07 1700000000000000000\n"
    )


@pytest.mark.parametrize(
    ("value", "sent"),
    [
        ("plain", "plain"),
        ("My Disk", r"My\ Disk"),
        ("a,b", r"a\,b"),
        ("a=b", r"a\=b"),
        (r"C:\Data", r"C:\Data"),
        ("C:\\", "C:"),
        ("end\\\\", "end"),
        (r"a\ b", r"a\\ b"),
        ("two\nlines\r\tand\f", r"two\nlines\r\tand\f"),
        ("Größe", "Größe"),
        ('"quoted"', '"quoted"'),
        ("\udcff", "?"),
    ],
)
def test_a_tags_value_is_escaped(value: str, sent: str) -> None:
    """What would end a tag's value is escaped, and what cannot be written is replaced as Telegraf does."""
    line = encode([Point("disk", {"free": 1}, {"path": value})], {}, 5)
    assert line.decode() == f"disk,path={sent} free=1i 5\n"


def test_names_and_keys_are_escaped() -> None:
    """A measurement keeps its equals sign; keys of tags and fields do not."""
    line = encode([Point("a b,c=d", {"f=g h": 1}, {"k,l=m": "v"})], {}, 5)
    assert line == rb"a\ b\,c=d,k\,l\=m=v f\=g\ h=1i 5" + b"\n"


def test_an_empty_tag_is_left_out() -> None:
    """The protocol has no empty tag; one that has nothing but backslashes becomes one."""
    line = encode([Point("net", {"up": 1}, {"interface": "", "host": "\\", "zone": "a"})], {}, 5)
    assert line == b"net,zone=a up=1i 5\n"


def test_tags_are_sorted_and_a_points_own_wins() -> None:
    """Every point has the global tags unless it has one of that name, in the order that stores like best."""
    points = [Point("disk", {"free": 1}, {"path": "/", "region": "own"}), Point("mem", {"free": 2})]
    assert encode(points, {"region": "eu", "host": "h"}, 5) == (
        b"disk,host=h,path=/,region=own free=1i 5\nmem,host=h,region=eu free=2i 5\n"
    )


def test_what_is_not_finite_is_left_out() -> None:
    """A field that is no number is not sent, and a point left with no field is no line."""
    points = [Point("a", {"x": float("nan"), "y": 1}), Point("b", {"x": float("inf")})]
    assert encode(points, {}, 5) == b"a y=1i 5\n"
