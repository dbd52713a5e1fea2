"""The decoder of plain lines finds just what the exact decoder finds."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ingest.names import Limits
from ingest.points import Batch
from ingest.protocols import line, plain
from ingest.series import SeriesCache
from ingest.timestamps import Window

LIMITS = Limits(max_fields=20, max_tags=20, max_tag_bytes=1000)
NOW_US = 1_800_000_000_000_000
WINDOW = Window.around(NOW_US, 10**9, 10**6)

NAMES = st.sampled_from(["a", "b", "usage_user", "load1", "load15", "i", "ei", "x.y", "x-y", "e", "ü", "if", "1", ""])
NUMBERS = st.one_of(
    st.integers(-(10**20), 10**20).map(str),
    st.integers(-100, 100).map(lambda number: f"{number}i"),
    st.floats(allow_nan=True, allow_infinity=True).map(repr),
    st.sampled_from(
        [
            *("1.", ".5", "-.5", "+5", "1e5", "1E-5", "1e999", "5i5", "1.5i", "1e5i", "05", "--5", "1-2", "i", "-"),
            *("9223372036854775807i", "9223372036854775808i", "-9223372036854775809i", "7u", "t", "False", "", "1_0"),
        ]
    ),
)
FIELDS = st.lists(st.tuples(NAMES, NUMBERS).map("=".join), min_size=1, max_size=3).map(",".join)
HEADS = st.sampled_from(
    ["cpu", "cpu,host=a", "cpu,host=b", "mem,host=a", "cpu,host=a,host=b", "#cpu", "a=b", "cpu,", ""]
)
TIMES = st.sampled_from(
    ["", " 1800000000000000000", " 1800000000000000001", " 5", " -5", " 99999999999999999999", " x"]
)
GOOD = st.tuples(
    st.sampled_from(["cpu,host=a", "cpu,host=b"]), st.lists(st.integers(0, 99), min_size=2, max_size=2)
).map(lambda drawn: f"{drawn[0]} usage_user={drawn[1][0]}i,idle={drawn[1][1]}.5 1800000000000000000")
LINES = st.one_of(GOOD, GOOD, st.tuples(HEADS, FIELDS, TIMES).map(lambda parts: f"{parts[0]} {parts[1]}{parts[2]}"))
BODIES = st.lists(LINES, min_size=1, max_size=6).map("\n".join)


def decoded(bodies: list[bytes]) -> Any:
    """Everything that decoding the bodies one after another gives, with one cache."""
    cache = SeriesCache(LIMITS, 1_000_000)
    found = []
    for body in bodies:
        batch = Batch(LIMITS)
        for _ in line.decode(body, batch, cache, precision_ns=1, window=WINDOW):
            pass
        rows = sorted(
            (
                rows.places[n],
                rows.measurement,
                rows.series[n].tags,
                rows.times[n],
                rows.fields,
                rows.values[n * width :][:width].tolist(),
            )
            for rows in batch.rows
            for width in [len(rows.fields)]
            for n in range(len(rows))
        )
        found.append((rows, batch.rejections))
    return found


@settings(max_examples=500, deadline=None)
@given(st.lists(BODIES, min_size=1, max_size=3), st.data())
@example(["cpu a=1,b=2i 5", "cpu a,1=b=2i 5"], None)
@example(["cpu load=1", "cpu load1=5"], None)
@example(["cpu a=5i", "cpu a=5i8", "cpu a=i5"], None)
@example(["cpu a=1i,b=1.5", "cpu a=1.5i,b=1"], None)
@example(["a x=1\n1 b x=2 2", "a x=1 1 b x=2 2\n\n"], None)
@example(["a x=1 ", "a x= 1", " a x=1"], None)
def test_plain_and_exact_agree(bodies: list[str], data: Any) -> None:
    """Whatever the lines are, the plain decoder changes nothing about what is found."""
    raw = [body.encode() for body in bodies]
    if data is not None:
        at = data.draw(st.integers(0, len(raw[-1])))
        raw[-1] = (
            raw[-1][:at]
            + data.draw(st.sampled_from([b"", b" ", b",", b"=", b"\n", b"i", b".", b"1", b"\0", b"-"]))
            + raw[-1][at:]
        )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plain, "decode", lambda *_: 0)
        expected = decoded(raw)
    assert decoded(raw) == expected


@pytest.mark.parametrize(
    "body",
    [
        b"cpu,host=a user=1i,idle=99.5 1800000000000000000\ncpu,host=b user=2i,idle=98.5 1800000000000000000",
        b"system,host=a load1=1.5,load15=-2,uptime=5i",
        b"cpu,host=a a=1\nmem,host=a b=1,c=2\ncpu,host=a a=1,b=2\n",
    ],
)
def test_plain_lines_are_taken_by_the_plain_decoder(body: bytes) -> None:
    """What agents write is decoded at speed, the first time and the next."""
    cache = SeriesCache(LIMITS, 1_000_000)
    for _ in range(2):
        assert plain.decode(body, 1, Batch(LIMITS), cache, 1, WINDOW) == len(body.splitlines())
