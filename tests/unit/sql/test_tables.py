from __future__ import annotations

import pytest

from sql import tables


def test_columns_are_as_wide_as_what_is_in_them() -> None:
    """Numbers stand to the right, text to the left, nothing for None, and no spaces at the end."""
    assert list(tables.lines(["name", "n", "x"], [["a", 1, None], ["longer", 20, 1.5], ["b", 300, None]])) == [
        "name      n     x",
        "a         1",
        "longer   20  1.50",
        "b       300",
    ]


def test_heads_alone() -> None:
    """A table without rows is its heads."""
    assert list(tables.lines(["a", "b"], [])) == ["a  b"]


@pytest.mark.parametrize(
    ("number", "expected"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (1_500_000, "1.5 MB"), (2e9, "2.0 GB"), (5e15, "5000.0 TB")],
)
def test_sizes(number: float, expected: str) -> None:
    """In units of a thousand."""
    assert tables.size(number) == expected
