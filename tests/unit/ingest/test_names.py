"""What may be called how, and how much of it a point may have."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.names import Limits, Rejected, check_fields, check_measurement, check_tags, listed, shown

LIMITS = Limits(max_fields=3, max_tags=2, max_tag_bytes=20, max_shapes=1000)


@pytest.mark.parametrize("name", ["cpu", "a b", 'a"b', "x" * 63, "é" * 31, "pg_class", "time", "a\nb", "_tidemark"])
def test_names_that_may_be(name: str) -> None:
    """Any text of at most 63 bytes is a name; PostgreSQL quotes it."""
    check_measurement(name)
    check_fields([name], LIMITS)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("", "name is empty"),
        ("x" * 64, "64 bytes, at most 63 are allowed"),
        ("é" * 32, "64 bytes, at most 63 are allowed"),
        ("😀" * 16, "64 bytes, at most 63 are allowed"),
        ("a\0", "contains a NUL character"),
        ("\ud800", "contains a lone surrogate"),
        ("x" * 1_000_000, "1000000 bytes"),
    ],
)
def test_names_that_may_not(name: str, message: str) -> None:
    """What cannot be an identifier is rejected, and the message is short whatever the name."""
    with pytest.raises(Rejected, match=message) as measurement:
        check_measurement(name)
    with pytest.raises(Rejected, match=message) as field:
        check_fields(["x", name], LIMITS)
    for caught in (measurement, field):
        assert caught.value.reason == "name"
        assert len(str(caught.value).encode()) < 400


def test_the_names_of_indexes_are_reserved() -> None:
    """A measurement cannot take the name of a hypertable's index; a field can."""
    with pytest.raises(Rejected, match="reserved"):
        check_measurement("_tidemark_1_key")
    check_fields(["_tidemark_1_key"], LIMITS)


def test_numbers_of_fields_and_tags_are_bounded() -> None:
    """One field or tag past the bound is too many, and the message names the setting."""
    check_fields(["a", "b", "c"], LIMITS)
    with pytest.raises(Rejected, match=r"more than 3 fields \(INGEST_MAX_FIELDS_PER_MEASUREMENT") as caught:
        check_fields(["a", "b", "c", "d"], LIMITS)
    assert caught.value.reason == "max_fields"
    check_tags({"a": "1", "b": "2"}, LIMITS)
    with pytest.raises(Rejected, match=r"3 tags, at most 2 are allowed \(INGEST_MAX_TAGS_PER_POINT") as caught:
        check_tags({"a": "1", "b": "2", "c": "3"}, LIMITS)
    assert caught.value.reason == "max_tags"


def test_the_size_of_tags_is_bounded_in_bytes() -> None:
    """Keys and values count together, in UTF-8."""
    check_tags({"k" * 10: "é" * 5}, LIMITS)
    with pytest.raises(Rejected, match=r"more than 20 bytes of tags \(INGEST_MAX_TAG_BYTES") as caught:
        check_tags({"k" * 10: "é" * 5 + "x"}, LIMITS)
    assert caught.value.reason == "max_tag_bytes"


@pytest.mark.parametrize("tag", [("a\0", "v"), ("k", "v\0"), ("\udc80", "v"), ("k", "v\udc80")])
def test_tags_are_text(tag: tuple[str, str]) -> None:
    """Neither a NUL nor half a surrogate pair can be stored."""
    with pytest.raises(Rejected) as caught:
        check_tags(dict([tag]), LIMITS)
    assert caught.value.reason == "name"


@given(st.text(alphabet=st.characters(), max_size=200) | st.sampled_from(["\ud800" * 80, "x" * 10_000]))
def test_names_are_shown_short_and_in_utf8(name: str) -> None:
    """Whatever a name holds, it can be put into an answer."""
    assert len(shown(name).encode()) <= 63 * 6 + 3


def test_only_the_first_names_are_listed() -> None:
    """A list of names in a message is bounded."""
    assert listed(["a", "b"]) == "a, b"
    assert listed([f"f{n}" for n in range(1000)]) == "f0, f1, f2, f3, f4, ..."
