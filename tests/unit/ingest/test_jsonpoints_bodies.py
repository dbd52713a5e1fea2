"""Bodies of JSON: one point, an array or lines, whole or broken, and the work that reading them takes."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ingest.points import Batch
from ingest.protocols import jsonpoints
from ingest.series import SeriesCache
from service.errors import BadRequest
from tests.unit.ingest.conftest import ALL_TIMES, TIGHT, Read


@pytest.mark.parametrize(
    ("body", "places", "place_name"),
    [
        ('[{"x": 1}, {"x": 2}]', [0, 1], "index"),
        (' [\n{"x": 1}\n,\t{"x": 2} ] \n', [0, 1], "index"),
        ("[]", [], "index"),
        (" [ ] ", [], "index"),
        ('{"x": 1}\n{"x": 2}', [1, 2], "line"),
        ('\n{"x": 1}\r\n\n  {"x": 2}  \n', [2, 4], "line"),
        ('{"x": 1}', [1], "line"),
        ('{\n  "x": 1\n}\n', [0], "index"),
    ],
)
def test_one_point_an_array_or_lines(read_json: Read, body: str, places: list[int], place_name: str) -> None:
    """One object (pretty-printed too), an array and NDJSON are told apart, and places count as each has them."""
    found = read_json(body)
    assert [point.place for point in found.points] == places
    assert not found.rejections
    assert found.batch.place_name == place_name


def test_declared_lines_are_lines(read_json: Read) -> None:
    """Declared NDJSON is read by the line, so that an array on a line is no point."""
    found = read_json('[{"x": 1}]\n{"x": 2}\n{\n', lines=True)
    assert [point.place for point in found.points] == [2]
    assert [(place, text.split(":")[0]) for place, _, text in found.rejections] == [
        (1, "a point is an object, not an array"),
        (3, "not JSON"),
    ]


def test_lines_around_a_bad_one_are_taken(read_json: Read) -> None:
    """A line that is not JSON costs itself alone, wherever it stands, and is named by its number."""
    found = read_json(b'{bad\n{"x": 1}\nnope\n{"x": 2}\n{"x": 3} {"x": 4}\n{"x": "\xff"}\n{"x": 5}')
    assert [point.place for point in found.points] == [2, 4, 7]
    assert [place for place, _, _ in found.rejections] == [1, 3, 5, 6]
    assert "expected the end at byte 10" in found.rejections[2][2]
    assert "not UTF-8, at byte 8" in found.rejections[3][2]


@pytest.mark.parametrize(
    ("body", "accepted", "fault"),
    [
        ('[{"x": 1}, {"x": 2}, {"x": ', 2, (2, "Expecting value, at byte 28")),
        ('[{"x": 1}, oops]', 1, (1, "Expecting value, at byte 12")),
        ('[{"x": 1},]', 1, (1, "Expecting value")),
        ('[{"x": 1}', 1, (1, "expected a comma or ] at byte 10")),
        ('[{"x": 1} {"x": 2}]', 1, (1, "expected a comma or ] at byte 11")),
        ('[{"x": 1}] {"x": 2}', 1, (1, "expected the end after the array, at byte 12")),
        ("[", 0, (0, "Expecting value")),
        ('[{"x": 1}, {"x": ' + "[" * 2000, 1, (1, "nested too deeply")),
        ('[{"x": 1}, {"x": ' + "1" * 5000 + "}]", 1, (1, "too many digits")),
        ('[{"x": 1}, "' + "y" * 1_100_000 + '"]', 1, (1, "longer than 1048576 bytes")),
        ('[{"x": 1},' + " " * 1_100_000 + '{"x": 2}]', 1, (1, "Expecting value, at byte 1048587")),
        ('[{"ä": 1}, oops]', 1, (1, "Expecting value, at byte 13")),
        ('[{"ä": 1}, {"ö": NaN, "x": 1} oops]', 2, (2, "expected a comma or ] at byte 33")),
        (b'[{"x": 1}, {"x": "\xff"}]', 1, (1, "not UTF-8, at byte 19")),
    ],
)
def test_an_array_is_taken_up_to_its_fault(
    read_json: Read, body: str | bytes, accepted: int, fault: tuple[int, str]
) -> None:
    """The points before a fault of the array are taken; the fault is named by place and byte."""
    found = read_json(body)
    assert [point.place for point in found.points] == list(range(accepted))
    (rejection,) = found.rejections
    assert (rejection[0], rejection[1]) == (fault[0], "syntax")
    assert fault[1] in rejection[2]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("hello", "the body is not JSON: Expecting value, at byte 1"),
        ('{"x": 1', "the body is not JSON: Expecting ',' delimiter, at byte 8"),
        ('{\n "x": 1,\n}', "the body is not JSON: "),
        ("{" * 200_000, "the body is not JSON"),
        ('{"x":' * 2_000, "the body is not JSON that is read here: it is nested too deeply"),
        (b'{"x": "\xff"}', "the body is not UTF-8, at byte 8"),
        ('{"x": "' + "y" * 1_100_000 + '"}', "the body is longer than 1048576 bytes"),
    ],
)
def test_a_body_that_is_no_json(read_json: Read, body: str | bytes, message: str) -> None:
    """A body of which nothing can be read is refused as a whole."""
    with pytest.raises(BadRequest, match=re.escape(message)):
        read_json(body)


@pytest.mark.parametrize("element", ["1", '"x"', "null", "true", "[]", '[{"x": 1}]', "NaN"])
def test_a_point_is_an_object(read_json: Read, element: str) -> None:
    """Anything else in an array is rejected by its index, and its neighbours are taken."""
    found = read_json(f'[{{"x": 1}}, {element}, {{"x": 2}}]')
    assert [point.place for point in found.points] == [0, 2]
    (rejection,) = found.rejections
    assert rejection[:2] == (1, "syntax")
    assert rejection[2].startswith("a point is an object, not ")


def test_a_large_element_is_read_whole(read_json: Read) -> None:
    """Elements longer than the piece in which they are looked for first are read, and so are those behind them."""
    small = {"host": "web-1", "cpu_usage": 12.5}
    big = {"fields": {"x": 1, "text": "é" * 100_000}}
    found = read_json(json.dumps([big, small, big, small], ensure_ascii=False))
    assert [point.fields.get("x", 0) for point in found.points] == [1, 0, 1, 0]


ODD = [
    '{"x": NaN, "y": 1}',
    '{"x": 1, "s": "},{", "d": [{},{}]}',
    '{"\\ud800": 1}',
    '{"x": "}, {"}',
    '{"x": %s}' % ("9" * 400),
    '{"x": true, "n": null}',
    '{"x": 1, "d": %s}' % ("[" * 900 + "]" * 900),
    "[{},{}]",
    "5",
    '{"x": 1},',
    '{"x": 1}}',
    '{"x": "',
]


@pytest.mark.parametrize("separator", [",", " ,\n", ", "])
@pytest.mark.parametrize("odd", ODD)
def test_many_elements_at_once_are_read_as_one_by_one(
    read_json: Read, monkeypatch: pytest.MonkeyPatch, odd: str, separator: str
) -> None:
    """Whatever stands among objects that are alike, all that is found, and where, is the same."""
    usual = ['{"x": %d, "host": "h%d", "s": "},{"}' % (n, n % 7) for n in range(300)]  # noqa: UP031
    bodies = [f"[{separator.join([*usual[:at], odd, *usual[at:]])}]" for at in (0, 1, 150, 300)]
    monkeypatch.setattr(jsonpoints, "RUN_BYTES", 2000)
    at_once = [read_json(body) for body in bodies]
    monkeypatch.setattr(jsonpoints, "RUN_BYTES", 0)
    for body, found in zip(bodies, at_once, strict=True):
        alone = read_json(body)
        assert (found.points, found.rejections) == (alone.points, alone.rejections)
        assert list(found.batch.skipped) == list(alone.batch.skipped)


@pytest.mark.parametrize("repeated", ["1", "{}", '{"x":NaN}', '{"a":{},"b":{}}', "[{},{}]", "{} ", '"},"'])
@pytest.mark.parametrize("end", ["]", ",]", ',{"x":'])
def test_work_grows_as_the_array_does(monkeypatch: pytest.MonkeyPatch, repeated: str, end: str) -> None:
    """No hostile array has its characters parsed again and again in search of many elements at once."""
    parsed = 0
    run = jsonpoints._run

    def counted(text: bytes) -> list[Any]:
        nonlocal parsed
        parsed += len(text)
        return run(text)

    monkeypatch.setattr(jsonpoints, "_run", counted)
    body = f"[{','.join([repeated] * 10_000)}{end}".encode()
    for _ in jsonpoints.decode(
        body, Batch(TIGHT), SeriesCache(TIGHT, 10_000), precision_ns=1, window=ALL_TIMES, lines=False
    ):
        pass
    assert parsed <= 2 * len(body)


def test_reading_pauses() -> None:
    """A long body hands over now and then."""
    large = b'{"x": 1, "y": "%b"}' % (b"z" * 100_000)
    for body in (
        b'{"x": 1}\n' * 3000,
        b"[" + b",".join([b"1"] * 3000) + b"]",
        b"[" + b",".join([b'{"x": 1}'] * 3000) + b"]",
        b"{}\n" + b"{\n" * 3000,
        b"[" + b",".join([large] * 20) + b"]",
        b"\n".join([large] * 20),
    ):
        pauses = jsonpoints.decode(
            body, Batch(TIGHT), SeriesCache(TIGHT, 10_000), precision_ns=1, window=ALL_TIMES, lines=False
        )
        assert len(list(pauses)) >= 8


JSON = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.sampled_from(["a" * 64, "\0", "\ud800"])
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(
            st.one_of(st.text(max_size=5), st.sampled_from(["measurement", "time", "tags", "fields", "\ud800"])),
            inner,
            max_size=4,
        ),
    ),
    max_leaves=12,
)


@settings(max_examples=300, deadline=None)
@given(st.one_of(st.binary(max_size=60), JSON.map(lambda value: json.dumps(value).encode())), st.booleans(), st.data())
@example(b'{"fields": {"x": 1, "\\ud800": "y", "z": NaN}}', False, None)
def test_nothing_but_points_and_rejections_comes_out(body: bytes, lines: bool, data: st.DataObject | None) -> None:
    """Whatever the bytes, each element is a point or a rejection, or all is refused; every text can be told."""
    if data is not None and body:
        at = data.draw(st.integers(0, len(body)))
        body = body[:at] + data.draw(st.sampled_from([b"", b"\n", b",", b"[", b"{", b'"', b"\xff", b"1"])) + body[at:]
    batch = Batch(TIGHT)
    cache = SeriesCache(TIGHT, 10_000)
    texts = []
    try:
        for _ in jsonpoints.decode(body, batch, cache, precision_ns=10**9, window=ALL_TIMES, lines=lines):
            pass
    except BadRequest as refused:
        texts.append(refused.message)
    texts += [*(rejection.text for rejection in batch.rejections), *batch.skipped]
    assert all(len(text.encode()) < 1000 for text in texts)
