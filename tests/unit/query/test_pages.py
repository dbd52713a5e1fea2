from __future__ import annotations

import pytest

from query import limits
from query.pages import Page, Search
from query.settings import QuerySettings

REFUSAL = limits.too_many_series(QuerySettings(database_url="postgresql://x"))


def taken(page: Page, *batches: str) -> str:
    """What a page takes of rows with one letter each."""
    return "".join(row[0] for batch in batches for row in page.take([(letter,) for letter in batch]))


@pytest.mark.parametrize(
    ("batches", "rows", "after"),
    [
        ((), "", None),
        (("ab",), "ab", None),
        (("abc",), "abc", None),
        (("abcd",), "abc", "c"),
        (("ab", "c", "d"), "abc", "c"),
        (("ab", "", "cd", "e"), "abc", "c"),
    ],
)
def test_a_page_has_its_size_and_says_what_follows(batches: tuple[str, ...], rows: str, after: str | None) -> None:
    """However the rows come, the page has the first ones, and `next` only when there are more."""
    page = Page(3)
    assert taken(page, *batches) == rows
    assert page.told() == {"next": after}


@pytest.mark.parametrize(
    ("batches", "rows", "after"),
    [(("abbc",), "abb", "b"), (("ab", "bb", "c"), "abbb", "b"), (("abb",), "abb", "b"), (("aab",), "aa", "a")],
)
def test_rows_of_one_key_are_not_parted(batches: tuple[str, ...], rows: str, after: str) -> None:
    """A page goes on while the key is the same: the next one begins after it."""
    page = Page(2)
    assert taken(page, *batches) == rows
    assert page.told() == {"next": after}


def test_a_whole_list_is_refused_past_its_bound() -> None:
    """What was not asked for in pages is not cut short."""
    assert taken(Page(2, REFUSAL), "ab") == "ab"
    assert taken(Page(2, REFUSAL), "abb") == "abb"
    with pytest.raises(limits.Limited):
        taken(Page(2, REFUSAL), "ab", "c")


def test_a_search_says_how_it_found() -> None:
    """The column that says so is taken off; without a row it is not known, and the lack of pg_trgm is told."""
    search = Search(can_compare=True)
    assert search.take([("a", 1, True), ("b", 2, True)]) == [("a", 1), ("b", 2)]
    assert search.told() == {"matched": "part"}
    search.take([("c", 3, False)])
    assert search.told() == {"matched": "likeness"}
    assert Search(can_compare=True).told() == {"matched": None}
    assert "pg_trgm" in Search(can_compare=False).told()["warnings"][0]
