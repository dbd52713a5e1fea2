from __future__ import annotations

import pytest

from sql.policies import Change, PolicyError, changes, checked_pattern, given


def test_values_are_given_by_name() -> None:
    """With _ or - in the name; one that is to be inherited is None."""
    assert given(["retain_raw=30d", "rollup-1h=forever", "compress_after=inherit"]) == {
        "retain_raw": "30d",
        "rollup_1h": "forever",
        "compress_after": None,
    }


@pytest.mark.parametrize(
    ("assignments", "expected"),
    [
        ([], "nothing to set; name one or more of chunk_interval, "),
        (["retain_raw"], "'retain_raw' is not of the form name=value; the names are chunk_interval, "),
        (["retain=3d"], "'retain=3d' is not of the form name=value; the names are chunk_interval, "),
        (["retain_raw=off"], "retain_raw: 'off' is not allowed; allowed: a number and m, h, d, w or y"),
        (["retain_raw=3d", "rollup_1h=x"], "rollup_1h: 'x' is not allowed; "),
    ],
)
def test_what_cannot_be_given(assignments: list[str], expected: str) -> None:
    """The error says which, what was wrong, and what is allowed."""
    with pytest.raises(PolicyError) as caught:
        given(assignments)
    assert str(caught.value).startswith(expected)


@pytest.mark.parametrize("pattern", ["", "x" * 64, "ü" * 32, "a\0b"])
def test_what_is_no_pattern(pattern: str) -> None:
    """A pattern is as long as a measurement's name can be."""
    with pytest.raises(PolicyError, match="a pattern has 1 to 63 bytes"):
        checked_pattern(pattern)


def test_what_changes() -> None:
    """Value by value, of measurements that were there before."""
    before = [{"measurement": "m", **dict.fromkeys(VALUES, "1d")}]
    after = [
        {"measurement": "m", **dict.fromkeys(VALUES, "1d"), "retain_raw": "2d"},
        {"measurement": "new", **dict.fromkeys(VALUES, "2d")},
    ]
    assert changes(before, after) == [Change("m", "retain_raw", "1d", "2d")]


VALUES = ("chunk_interval", "compress_after", "retain_raw", "rollup_10m", "rollup_1h")
