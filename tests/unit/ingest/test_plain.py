"""The decoder of plain lines finds just what the exact decoder finds, also among lines that are not plain."""

from __future__ import annotations

from collections.abc import Generator
from itertools import permutations
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ingest.names import Limits
from ingest.points import Batch
from ingest.protocols import line, plain
from ingest.series import SeriesCache
from ingest.timestamps import Window

LIMITS = Limits(max_fields=20, max_tags=20, max_tag_bytes=1000, max_shapes=1000)
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


TAIL = " 1800000000000000000"
STRINGS = ['a=1,s="x"', 's="x",a=1', 's="a, b=1 5",t="",a=2', 's="x"', 'a="x",a=1', 'i=5,ü="ü",b=1']
NO_STRINGS = ['a=1,s="x', 's="x"y,a=1', 'a=1,s="x"2,b=3', r's="\"",a=1', 'a=1,,s="x"', 's="x",', 'a=1,s=" 5']
WORDS = ["t", "FALSE", "True", "yes", "5u", "-5u", "tRUE", "NaN"]
ODD = st.one_of(
    st.sampled_from([*STRINGS, *NO_STRINGS]).map(lambda fields: f"cpu,host=a {fields}{TAIL}"),
    st.sampled_from(WORDS).map(lambda word: f"cpu,host=b usage_user={word},idle=1.5{TAIL}"),
    st.sampled_from(
        ['cpu,host=" a=1,s="x', f'cpu,host="a" a=1,s="x"{TAIL}', f'"cpu" "a"=1,s="x"{TAIL}', f'",s="x"{TAIL}']
    ),
    st.sampled_from(
        ['s="x" a=1', 'cpu a=1 5,s="x" 5', 'cpu a=1,s="x", 5', 'cpu a=1,s="x"', 'cpu a=1 s="x" 5', ' cpu s="" 5']
    ),
    st.sampled_from(
        [r"cpu,host=a\ b a=1", r"c\,pu a\=b=1,c=2", "#", "# a comment", "# one more comment", "#\0", "", " ", "\t"]
    ),
    st.sampled_from(
        ["bad", "bad line here", "cpu,host=a", "\udcff", f'cpu a=1,s="\udcff"{TAIL}', "cpu a=1\r", "\r", TAIL]
    ),
    st.sampled_from(
        ["cpu,host=a a=1", "cpu,host=a usage_user=1i,idle=1.5 5", f"mem,host=a x=1{TAIL}", f" cpu a=1{TAIL}"]
    ),
    st.sampled_from([f'cpu {",".join(f"f{n}=1" for n in range(20))},s="x"{TAIL}', f'{"m" * 64} a=1,s="x"{TAIL}']),
)
MIXES = st.tuples(
    st.lists(st.one_of(GOOD, GOOD, GOOD, ODD), min_size=1, max_size=30),
    st.sampled_from(["\n", "\n", "\n", "\r\n", '"\n']),
).map(lambda drawn: drawn[1].join(drawn[0]))


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
                sorted(zip(rows.fields, rows.values[n * width :][:width], strict=True)),
            )
            for rows in batch.rows
            for width in [len(rows.fields)]
            for n in range(len(rows))
        )
        found.append((rows, batch.rejections, batch.rejected, list(batch.skipped), batch.skipped_count))
    return found


def exactly(bodies: list[bytes]) -> Any:
    """The same, of the exact decoder alone."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(line, "PIECES_BYTES", ())
        return decoded(bodies)


@settings(max_examples=500, deadline=None)
@given(st.lists(BODIES, min_size=1, max_size=3), st.data())
@example(["cpu a=1,b=2i 5", "cpu a,1=b=2i 5"], None)
@example(["cpu load=1", "cpu load1=5"], None)
@example(["cpu a=5i", "cpu a=5i8", "cpu a=i5"], None)
@example(["cpu a=1i,b=1.5", "cpu a=1.5i,b=1"], None)
@example(["a x=1\n1 b x=2 2", "a x=1 1 b x=2 2\n\n"], None)
@example(["cpu a=1e5", "cpu a=2e5"], None)
@example(["cpu a=t,b=1", "cpu a=t,b=2", "cpu a=1,b=f"], None)
@example(["cpu a=9223372036854775808i", "cpu a=-9223372036854775809i"], None)
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
    assert decoded(raw) == exactly(raw)


@settings(max_examples=1000, deadline=None)
@given(st.lists(MIXES, min_size=1, max_size=2), st.booleans(), st.data())
def test_mixed_and_exact_agree(bodies: list[str], ends: bool, data: st.DataObject) -> None:
    """Strings, escapes, comments, blank and bad lines change nothing about what is found, in whatever pieces."""
    raw = [(body + "\n" * ends).encode(errors="surrogateescape") for body in bodies]
    sizes = data.draw(st.sampled_from([(2000,), (400, 100), (200, 100, 50)]))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(line, "PIECES_BYTES", sizes)
        found = decoded(raw)
    assert found == exactly(raw)


@pytest.mark.parametrize(
    "body",
    [
        b"cpu,host=a user=1i,idle=99.5 1800000000000000000\ncpu,host=b user=2i,idle=98.5 1800000000000000000",
        b"system,host=a load1=1.5,load15=-2,uptime=5i",
        b"disk,host=a ok=t,full=FALSE,free=1i,load=1e5\ndisk,host=b ok=0,full=F,free=2i,load=1",
        b"cpu,host=a a=1\nmem,host=a b=1,c=2\ncpu,host=a a=1,b=2\n",
    ],
)
def test_plain_lines_are_taken_by_the_plain_decoder(body: bytes) -> None:
    """What agents write is decoded at speed, the first time and the next."""
    cache = SeriesCache(LIMITS, 1_000_000)
    for _ in range(2):
        points = run(plain.read(body, Batch(LIMITS), cache, 1, WINDOW))
        assert points is not None
        assert len(points) == len(body.splitlines())


def test_fields_in_any_order_are_one_column(monkeypatch: pytest.MonkeyPatch) -> None:
    """A series whose fields come in another order each time is read at speed from its second point on."""
    monkeypatch.setattr(plain, "MAX_SHAPES", 2)
    cache = SeriesCache(LIMITS, 1_000_000)
    orders = [*permutations(["a=1", "a1=2i", "b=-3", "ab=4.5"])]
    assert run(plain.read(b"cpu %b" % ",".join(orders[-1]).encode(), Batch(LIMITS), cache, 1, WINDOW)) is not None
    for lines in (orders, orders[::-1]):
        body = "\n".join(f"cpu {','.join(order)}" for order in lines).encode()
        points = run(plain.read(body, Batch(LIMITS), cache, 1, WINDOW))
        assert points is not None
        assert [(set(shape.fields), len(which)) for shape, which, _ in points.groups] == [({"a", "a1", "b", "ab"}, 24)]
    assert decoded([body]) == exactly([body])


def run(reading: Generator[None, None, plain.Points | None]) -> plain.Points | None:
    """What `plain.read` returns in the end."""
    while True:
        try:
            next(reading)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    "lines",
    [
        [b"m,host=%d x=1 1800000000000000000" % n for n in range(3000)],
        [b"m %b 1800000000000000000" % b",".join(b"f%d_%d=1" % (line, n) for n in range(20)) for line in range(1500)],
    ],
)
def test_learning_pauses(lines: list[bytes]) -> None:
    """New series and new fields are learned with pauses; what is known is read in one go."""
    cache = SeriesCache(LIMITS, 10_000_000)
    body = b"\n".join(lines)
    assert len(list(plain.read(body, Batch(LIMITS), cache, 1, WINDOW))) >= 5
    known = b"\n".join(lines[-1:] * 3000)
    assert len(list(plain.read(known, Batch(LIMITS), cache, 1, WINDOW))) == 0


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many lines the plain decoder takes at a time, from now on."""
    counts: list[int] = []
    read = plain.read

    def noting(*arguments: Any) -> Generator[None, None, plain.Points | None]:
        points = yield from read(*arguments)
        if points is not None:
            counts.append(len(points))
        return points

    monkeypatch.setattr(plain, "read", noting)
    return counts


@pytest.mark.parametrize(
    ("odd", "points"),
    [
        ('system,host=a uptime=5i,uptime_format="1 day,  3:04" 1800000000000000000', 1001),
        ('system,host=a uptime_format="1 day,  3:04" 1800000000000000000', 1000),
        (r"disk,path=C:\x free=1i 1800000000000000000", 1001),
        ("disk,host=a free=1i", 1001),
        ("# for your information", 1000),
        ("no line", 1000),
        ("", 1000),
    ],
)
def test_a_line_that_looks_odd_does_not_slow_the_others(taken: list[int], odd: str, points: int) -> None:
    """All lines but the odd one are decoded at speed; so is one that is plain but for its strings."""
    lines = [f"cpu,host=h{n} user={n}i 1800000000000000000" for n in range(1000)]
    ((rows, *_),) = decoded(["\n".join([*lines[:500], odd, *lines[500:]]).encode()])
    assert [row[0] for row in rows] == [n for n in range(1, 1002) if n != 501 or points == 1001]
    assert taken == [1000 + (",uptime_format=" in odd)]


def test_a_line_that_looks_plain_slows_only_its_neighbours(taken: list[int]) -> None:
    """Where the plain decoder refuses a line, most of the others are decoded at speed even so."""
    lines = [f"cpu,host=h{n} user={n}i 1800000000000000000" for n in range(1000)]
    lines[500] = "cpu,host=h500 user=NaN 1800000000000000000"
    ((rows, rejections, *_),) = decoded(["\n".join(lines).encode()])
    assert len(rows) == 999
    assert [(one.place, one.reason) for one in rejections] == [(501, "syntax")]
    assert 700 < sum(taken) < 999


def test_lines_inside_a_string_are_none(taken: list[int]) -> None:
    """What looks like a plain line, but stands in a string, is no point; the plain lines before it are."""
    inside = "cpu,host=a user=1i 1800000000000000000\n"
    body = f'{inside}{inside}log,host=a lines=2i,text="\n{inside}{inside}" 1800000000000000000\nbad\n{inside}'
    ((rows, rejections, *_),) = decoded([body.encode()])
    assert [(row[0], row[1]) for row in rows] == [(1, "cpu"), (2, "cpu"), (3, "log"), (8, "cpu")]
    assert [one.place for one in rejections] == [7]
    assert taken == [5]
