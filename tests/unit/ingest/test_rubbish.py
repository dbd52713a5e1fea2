"""Bodies full of lines that cannot be read: each is counted, and few are looked at closely."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from itertools import permutations

import pytest

from ingest.protocols import jsonpoints, line
from tests.unit.ingest.conftest import ROOMY, Read

LINES = [
    b"m",
    b"",
    b"a b=",
    b",",
    b"m\r",
    b"\\",
    b"m f=nan",
    b"m,a=1,a=2 f=1",
    b"m f=1 1",
    b'm f="',
    b'm f=""',
    b"\xff f=1",
    b"m,a= f=1",
    b"# \x01",
    b"#",
    b" ",
    b"m " + b"x" * 64 + b"=1",
    b"x" * 20_000,
]


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Read bodies in pieces so small that few lines make many."""
    monkeypatch.setattr(line, "PIECES_BYTES", (2_000, 200))


@pytest.fixture
def read_closely(read_lines: Read, monkeypatch: pytest.MonkeyPatch) -> Callable[[bytes], object]:
    """Decode line protocol with every line looked at."""

    def read(body: bytes) -> object:
        with monkeypatch.context() as patched:
            patched.setattr(line, "REMEMBERED_LINES", 0)
            patched.setattr(line._Reader, "_pass_over", lambda *_: False)
            return told(read_lines, body)

    return read


def told(read: Read, body: bytes) -> object:
    """All that is told of a body."""
    found = read(body)
    return found.points, found.rejections, found.batch.rejected, found.batch.skipped


@pytest.mark.parametrize("rubbish", LINES)
@pytest.mark.parametrize("end", [b"", b"\n"])
def test_rubbish_is_counted_line_by_line(
    read_lines: Read, read_closely: Callable[[bytes], object], rubbish: bytes, end: bytes
) -> None:
    """What is told of a body is the same as if every line had been looked at, and a point after rubbish is found."""
    body = (rubbish + b"\n") * 300 + b"good f=1\n" + (rubbish + b"\n") * 1_000 + b"good f=2" + end
    if len(rubbish) > 1000:
        body = (rubbish + b"\n") * 300 + b"good f=1\n" + b"m\n" * 1_000 + b"good f=2" + end
    assert told(read_lines, body) == read_closely(body)


def test_mixed_rubbish_is_counted_line_by_line(read_lines: Read, read_closely: Callable[[bytes], object]) -> None:
    """So it is where the lines are of all kinds."""
    body = b"\n".join(LINES[:-1] * 100) + b"\ngood f=1\n"
    assert told(read_lines, body) == read_closely(body)


@pytest.mark.parametrize("rubbish", [b"m", b",", b"a b=", b"m f=nan", b"\\", b"\xff f=1"])
def test_a_line_that_comes_again_is_not_looked_at_again(
    read_lines: Read, monkeypatch: pytest.MonkeyPatch, rubbish: bytes
) -> None:
    """Of 10,000 faulty lines that are the same, one is read."""
    looked_at = 0
    read_point = line._Reader._read_point

    def counted(reader: line._Reader) -> None:
        nonlocal looked_at
        looked_at += 1
        read_point(reader)

    monkeypatch.setattr(line._Reader, "_read_point", counted)
    found = read_lines((rubbish + b"\n") * 10_000)
    assert found.batch.rejected_count == 10_000
    assert len(found.rejections) == 100
    assert looked_at <= 2


@pytest.mark.parametrize("rubbish", [b"x", b"[", b"{", b'{"a":"'])
def test_a_line_that_is_no_json_is_parsed_once(
    read_json: Read, monkeypatch: pytest.MonkeyPatch, rubbish: bytes
) -> None:
    """Of 10,000 lines that are the same and no JSON, one is parsed."""
    parsed = 0
    alone = jsonpoints._alone

    def counted(raw: bytes) -> object:
        nonlocal parsed
        parsed += 1
        return alone(raw)

    monkeypatch.setattr(jsonpoints, "_alone", counted)
    found = read_json((rubbish + b"\n") * 10_000 + b'{"x":1}', lines=True)
    assert (found.batch.rejected_count, found.batch.accepted_count) == (10_000, 1)
    assert found.rejections[0][0] == 1
    assert found.points[0].place == 10_001
    assert parsed == 2


def test_the_sets_of_fields_of_a_request_are_bounded(read_lines: Read, read_json: Read) -> None:
    """A point with one set of fields too many is rejected with the limit's name; the others are kept."""
    limits = replace(ROOMY, max_shapes=2)
    for found in (
        read_lines("m f=1\nm g=1\nm h=1\nm f=2\n", limits=limits),
        read_json('[{"f": 1}, {"g": 1}, {"h": 1}, {"f": 2}]', limits=limits),
    ):
        assert len(found.points) == 3
        assert found.rejections[0][1] == "max_shapes"
        assert "more than 2 different sets of fields (INGEST_MAX_SHAPES_PER_REQUEST)" in found.rejections[0][2]


def test_the_order_of_fields_makes_no_other_set(read_lines: Read, read_json: Read) -> None:
    """Telegraf writes the fields of each point in an order of its own: all are of one set, and no value goes astray."""
    limits = replace(ROOMY, max_shapes=2)
    orders = [*permutations("abcde")]
    fields = {name: float(number) for number, name in enumerate("abcde")}
    plain = "".join(
        f"m {','.join(f'{name}={fields[name]:g}' for name in order)} {n}000\n" for n, order in enumerate(orders)
    )
    odd = plain.replace("a=0", 's="x",a=0')
    points = [{"time": n / 1e6, "fields": {name: fields[name] for name in order}} for n, order in enumerate(orders)]
    for body in (plain, odd, plain + odd, plain.replace("\n", "\r\n")):
        found = read_lines(f"m f=1\n{body}m g=1\n", limits=limits)
        assert len(found.batch.rows) == 2
        assert [point.fields for point in found.points] == [{"f": 1.0}, *[fields] * (len(found.points) - 1)]
        assert [point.time for point in found.points[1:121]] == [*range(120)]
        assert [reason for _, reason, _ in found.rejections] == ["max_shapes"]
    found = read_json(json.dumps(points), limits=limits)
    assert [(point.time, point.fields) for point in found.points] == [(n, fields) for n in range(120)]
    assert len(found.batch.rows) == 1
