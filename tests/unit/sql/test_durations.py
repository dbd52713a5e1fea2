from __future__ import annotations

import pytest

from sql.durations import KINDS, seconds


@pytest.mark.parametrize(
    ("text", "expected"), [("30m", 1800), ("6h", 21_600), ("90d", 7_776_000), ("2w", 1_209_600), ("1y", 31_536_000)]
)
def test_the_length(text: str, expected: int) -> None:
    """A year has 365 days."""
    assert seconds(text) == expected


@pytest.mark.parametrize(
    ("name", "text"),
    [
        *(("chunk_interval", text) for text in ("10m", "6h", "31d")),
        *(("compress_after", text) for text in ("10m", "1y", "off")),
        *(("retain_raw", text) for text in ("24h", "90d", "99999y", "forever")),
        *(("rollup_10m", text) for text in ("1d", "off", "forever")),
        *(("rollup_1h", text) for text in ("1d", "off", "forever")),
    ],
)
def test_what_is_allowed(name: str, text: str) -> None:
    """Each value within its bounds, and the words that make sense for it."""
    assert KINDS[name].fault(text) is None


@pytest.mark.parametrize(
    ("name", "text"),
    [
        *(("chunk_interval", text) for text in ("9m", "32d", "off", "forever", "")),
        *(("compress_after", text) for text in ("9m", "forever", "1", "h", "-1h", "1.5h", "01h", " 1h", "1 h", "1h\n")),
        *(("retain_raw", text) for text in ("23h", "off", "1mo", "1H", "100000d")),
        *(("rollup_10m", text) for text in ("1h", "no", "infinity")),
    ],
)
def test_what_is_not(name: str, text: str) -> None:
    """The fault repeats what was given, and says what is allowed."""
    fault = KINDS[name].fault(text)
    assert fault is not None
    assert fault.startswith(f"{text!r} is not allowed; allowed: a number and m, h, d, w or y (365 days) ")
    assert all(f", or {word}" in fault for word in KINDS[name].words)
