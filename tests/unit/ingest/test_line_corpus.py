"""InfluxData's corpus of line protocol, which its own decoder's tests left behind, case by case.

It lies beside the repository, one JSON object a line: the text (or base64), its precision, the time of a point that
has none, and the points or the error that the reference decoder found.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ingest.names import Limits
from ingest.timestamps import Window
from tests.unit.ingest.conftest import Found, Read

CORPUS = Path(__file__).parents[4] / "shared" / "corpus" / "line-protocol.jsonl"
LIMITS = Limits(max_fields=1000, max_tags=1000, max_tag_bytes=100_000, max_shapes=1000)

DIFFERENCES: dict[str, str] = {}
"""Cases, by id, where another answer than the reference's is given on purpose, and why."""
MOST_DIFFERENCES = 0.03
"""Of all cases: more would be another language."""

Points = list[tuple[str, dict[str, str], int, dict[str, float]]]


def cases() -> Iterator[dict[str, Any]]:
    """The corpus."""
    with CORPUS.open(encoding="utf-8") as lines:
        yield from map(json.loads, lines)


def expected(case: dict[str, Any]) -> tuple[Points, int]:
    """The points that have a number, without their strings, and how many have none."""
    points: Points = []
    without = 0
    for point in case["points"]:
        values = [(field["key"], *next(iter(field["value"].items()))) for field in point["fields"]]
        numbers = {key: float(value) for key, kind, value in values if kind != "string"}
        if numbers:
            tags = {tag["key"]: tag["value"] for tag in point["tags"]}
            points.append((point["name"], tags, point["time"] // 1000, numbers))
        else:
            without += 1
    return points, without


def agrees(case: dict[str, Any], found: Found) -> bool:
    """Whether `found` is what the reference decoder says."""
    reasons = [reason for _, reason, _ in found.rejections]
    if "error" in case:
        return any(reason in ("syntax", "time", "name") for reason in reasons)
    points, without = expected(case)
    return reasons == ["no_number"] * without and points == [
        (point.measurement, point.tags, point.time, point.fields) for point in found.points
    ]


@pytest.mark.skipif(not CORPUS.exists(), reason=f"the corpus is not there: {CORPUS}")
def test_the_reference_decoder_says_the_same(read_lines: Read) -> None:
    """Every case has the reference's points, or an error where it has one; but for the named differences."""
    corpus = list(cases())
    different = set()
    for case in corpus:
        body = case["text"].encode() if "text" in case else base64.b64decode(case["base64"])
        window = Window(-(2**63), 2**63, case["default_time_ns"] // 1000)
        precision = case["precision"].removeprefix("1")
        if not agrees(case, read_lines(body, precision=precision, window=window, limits=LIMITS)):
            different.add(case["id"])
    assert different == set(DIFFERENCES)
    assert len(different) < MOST_DIFFERENCES * len(corpus)
