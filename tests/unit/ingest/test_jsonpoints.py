"""Points as JSON, form by form."""

from __future__ import annotations

import json
import math
import re
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ingest.names import Limits
from ingest.points import Batch
from ingest.protocols import jsonpoints
from ingest.series import SeriesCache
from ingest.timestamps import Window
from service.errors import BadRequest
from tests.unit.ingest.conftest import ALL_TIMES, NOW_US, Point, Read

TIGHT = Limits(max_fields=10, max_tags=5, max_tag_bytes=100)
FLAT = {"host": "web-1", "cpu_usage": 12.5, "memory_usage": 71}


def test_the_full_form(read_json: Read) -> None:
    """The full form names its parts."""
    body = '{"measurement": "cpu", "time": 1700000000, "tags": {"host": "a"}, "fields": {"usage": 1.5, "cores": 4}}'
    assert read_json(body).points == [
        Point(1, "cpu", {"host": "a"}, 1_700_000_000_000_000, {"usage": 1.5, "cores": 4.0})
    ]


def test_the_flat_form(read_json: Read) -> None:
    """In the flat form strings are tags and numbers are fields of the measurement `metrics`, now."""
    expected = Point(1, "metrics", {"host": "web-1"}, NOW_US, {"cpu_usage": 12.5, "memory_usage": 71.0})
    assert read_json(json.dumps(FLAT)).points == [expected]


def test_a_flat_point_may_name_measurement_and_time(read_json: Read) -> None:
    """`measurement` and `time` mean the same in the flat form."""
    (point,) = read_json('{"measurement": "cpu", "time": "2026-11-22T08:00:00Z", "x": 1}').points
    assert (point.measurement, point.tags, point.fields) == ("cpu", {}, {"x": 1.0})
    assert point.time == 1_795_334_400_000_000


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
    assert "expected the end at character 10" in found.rejections[2][2]
    assert "not UTF-8, at byte 8" in found.rejections[3][2]


@pytest.mark.parametrize(
    ("body", "accepted", "fault"),
    [
        ('[{"x": 1}, {"x": 2}, {"x": ', 2, (2, "Expecting value, at character 28")),
        ('[{"x": 1}, oops]', 1, (1, "Expecting value, at character 12")),
        ('[{"x": 1},]', 1, (1, "Expecting value")),
        ('[{"x": 1}', 1, (1, "expected a comma or ] at character 10")),
        ('[{"x": 1} {"x": 2}]', 1, (1, "expected a comma or ] at character 11")),
        ('[{"x": 1}] {"x": 2}', 1, (1, "expected the end after the array, at character 12")),
        ("[", 0, (0, "Expecting value")),
        ('[{"x": 1}, {"x": ' + "[" * 2000, 1, (1, "nested too deeply")),
        ('[{"x": 1}, {"x": ' + "1" * 5000 + "}]", 1, (1, "too many digits")),
        ('[{"x": 1}, "' + "y" * 1_100_000 + '"]', 1, (1, "longer than 1048576 characters")),
    ],
)
def test_an_array_is_taken_up_to_its_fault(read_json: Read, body: str, accepted: int, fault: tuple[int, str]) -> None:
    """The points before a fault of the array are taken; the fault is named by place and character."""
    found = read_json(body)
    assert [point.place for point in found.points] == list(range(accepted))
    (rejection,) = found.rejections
    assert (rejection[0], rejection[1]) == (fault[0], "syntax")
    assert fault[1] in rejection[2]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("hello", "the body is not JSON: Expecting value, at character 1"),
        ('{"x": 1', "the body is not JSON: Expecting ',' delimiter, at character 8"),
        ('{\n "x": 1,\n}', "the body is not JSON: "),
        ("{" * 200_000, "the body is not JSON"),
        ('{"x":' * 2_000, "the body is not JSON that is read here: it is nested too deeply"),
        (b'{"x": "\xff"}', "the body is not UTF-8, at byte 8"),
        (b'[{"x": "\xff"}]', "the body is not UTF-8, at byte 9"),
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


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("0", 0.0),
        ("-1.5e3", -1500.0),
        ("true", 1.0),
        ("false", 0.0),
        ("9007199254740993", 9007199254740992.0),
        ("18446744073709551616", 2.0**64),
        ("1" + "0" * 300, 1e300),
    ],
)
def test_numbers(read_json: Read, written: str, value: float) -> None:
    """Numbers become doubles, and booleans 1 and 0, in lines and in arrays."""
    assert read_json(f'{{"x": {written}}}').fields == {"x": value}
    assert read_json(f'[{{"x": {written}}}]').fields == {"x": value}


@pytest.mark.parametrize(
    "written", ["NaN", "Infinity", "-Infinity", "1e400", "1" * 400, '{"y": 1}', "[1, 2]", '{"fields": {}}']
)
def test_fields_that_are_no_numbers(read_json: Read, written: str) -> None:
    """What is no finite number is skipped, counted and named, and the rest of the point is kept."""
    for body in (
        f'{{"x": {written}, "y": 2}}',
        f'[{{"x": {written}, "y": 2}}]',
        f'{{"fields": {{"x": {written}, "y": 2}}}}',
    ):
        found = read_json(body)
        assert found.fields == {"y": 2.0}
        assert (list(found.batch.skipped), found.batch.skipped_count) == (["x"], 1)


def test_null_is_as_good_as_absent(read_json: Read) -> None:
    """Members that are null are passed over, and are not counted as skipped."""
    body = '{"measurement": null, "time": null, "tags": {"host": null}, "fields": {"x": 1, "y": null}}'
    found = read_json(body)
    assert found.points == [Point(1, "metrics", {}, NOW_US, {"x": 1.0})]
    assert found.batch.skipped_count == 0
    assert read_json('{"tags": null, "fields": null, "x": 1}').fields == {"x": 1.0}


def test_a_string_field_is_skipped(read_json: Read) -> None:
    """In the full form a string is a field that is no number."""
    found = read_json('{"fields": {"x": 1, "state": "up"}}')
    assert (found.fields, list(found.batch.skipped)) == ({"x": 1.0}, ["state"])


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("{}", "no_number: no field is a number"),
        ('{"fields": {}}', "no_number: no field is a number"),
        ('{"host": "a"}', "no_number: no field is a number"),
        ('{"fields": {"x": "a", "y": []}}', "no_number: no field is a number: x, y"),
        ('{"fields": [1]}', "syntax: fields is an object, not an array"),
        ('{"tags": "a", "fields": {"x": 1}}', "syntax: tags is an object, not a string"),
        ('{"tags": {"k": {}}, "fields": {"x": 1}}', "syntax: the value of tag 'k' is a string, not an object"),
        ('{"tags": {"": "v"}, "fields": {"x": 1}}', "syntax: a tag's key is empty"),
        (
            '{"tags": {}, "fields": {"x": 1}, "host": "a"}',
            "syntax: unknown member 'host'; a point has measurement, time",
        ),
        ('{"measurement": 5, "x": 1}', "syntax: measurement is a string, not a number"),
        ('{"measurement": "", "x": 1}', "name: the measurement's name is empty"),
        ('{"measurement": "a\\u0000b", "x": 1}', "name: measurement 'a\\x00b' contains a NUL character"),
        ('{"measurement": "\\ud800", "x": 1}', "contains a lone surrogate"),
        ('{"measurement": "_tidemark_1_key", "x": 1}', "name: measurement '_tidemark_1_key': names that begin with"),
        ('{"": 1}', "name: the field's name is empty"),
        ('{"a\\u0000": 1}', "name: field 'a\\x00' contains a NUL character"),
        (f'{{"{"é" * 32}": 1}}', "64 bytes, at most 63 are allowed"),
        ('{"k": "\\udfff", "x": 1}', "name: the value of tag 'k' contains a lone surrogate"),
        ('{"time": true, "x": 1}', "time: time is RFC 3339 or a number, not a boolean"),
        ('{"time": [], "x": 1}', "time: time is RFC 3339 or a number, not an array"),
        ('{"time": "yesterday", "x": 1}', "time: time 'yesterday' is not RFC 3339"),
        ('{"time": NaN, "x": 1}', "time: time nan is out of range"),
        ('{"time": -Infinity, "x": 1}', "time: time -inf is out of range"),
        ('{"time": 1e300, "x": 1}', "time: time 1e+300 is out of range"),
        (f'{{"time": {"9" * 400}, "x": 1}}', "is out of range"),
        (json.dumps({f"f{n}": n for n in range(11)}), "max_fields: the point has more than 10 fields"),
        (json.dumps({f"f{n}": n for n in range(10_000)}), "max_fields: the point has more than 10 fields"),
        (json.dumps({"x": 1} | {f"t{n}": "v" for n in range(6)}), "max_tags: 6 tags, at most 5 are allowed"),
        (json.dumps({"x": 1} | {f"t{n}": "v" for n in range(10_000)}), "max_tags: 10000 tags"),
        (json.dumps({"x": 1, "k": "v" * 100}), "max_tag_bytes: the point has more than 100 bytes of tags"),
    ],
)
def test_points_that_are_rejected(read_json: Read, body: str, reason: str) -> None:
    """A point that breaks a rule is rejected by itself, and the message says what was wrong."""
    found = read_json(f'{body}\n{{"x": 1}}', limits=TIGHT)
    assert [point.place for point in found.points] == [2]
    (rejection,) = found.rejections
    assert reason in f"{rejection[1]}: {rejection[2]}"
    assert len(rejection[2].encode()) < 500


def test_tags_are_text(read_json: Read) -> None:
    """Numbers and booleans as tags are written as JSON writes them; an empty tag is none."""
    body = '{"tags": {"a": 1, "b": 1.5, "c": true, "d": "", "e": 18446744073709551615}, "fields": {"x": 1}}'
    (point,) = read_json(body).points
    assert point.tags == {"a": "1", "b": "1.5", "c": "true", "e": "18446744073709551615"}
    assert read_json('{"host": "", "x": 1}').points[0].tags == {}


def test_the_last_of_two_members_counts(read_json: Read) -> None:
    """A member given twice has its last value."""
    assert read_json('{"x": 1, "y": 2, "x": 3}').fields == {"x": 3.0, "y": 2.0}
    assert read_json('[{"x": 1, "y": 2, "x": 3}]').fields == {"x": 3.0, "y": 2.0}


@pytest.mark.parametrize(
    ("precision", "written", "microseconds"),
    [
        ("s", "1700000000", 1_700_000_000_000_000),
        ("s", "1700000000.123456", 1_700_000_000_123_456),
        ("s", "1.7e9", 1_700_000_000_000_000),
        ("ms", "1700000000123", 1_700_000_000_123_000),
        ("ms", "1700000000123.456", 1_700_000_000_123_456),
        ("us", "1700000000123456", 1_700_000_000_123_456),
        ("ns", "1700000000123456789", 1_700_000_000_123_456),
        ("s", "-1", -1_000_000),
        ("ns", "-1", -1),
        ("ms", '"2026-11-22T08:00:00Z"', 1_795_334_400_000_000),
    ],
)
def test_times(read_json: Read, precision: str, written: str, microseconds: int) -> None:
    """Numbers are in the request's precision, fractions allowed; RFC 3339 needs none."""
    (point,) = read_json(f'{{"time": {written}, "x": 1}}', precision=precision).points
    assert point.time == microseconds


def test_times_outside_the_window(read_json: Read) -> None:
    """Times that are absurd are rejected one by one."""
    window = Window.around(NOW_US, 86_400, 60)
    body = '[{"time": 1800000000000, "x": 1}, {"time": "9999-12-31T23:59:59Z", "x": 1}, {"time": -5, "x": 1}, {"x": 1}]'
    found = read_json(body, window=window)
    assert [point.place for point in found.points] == [3]
    assert [(place, reason) for place, reason, _ in found.rejections] == [(0, "time"), (1, "time"), (2, "time")]
    assert "time 9999-12-31T23:59:59Z is after" in found.rejections[1][2]


def test_a_large_element_is_read_whole(read_json: Read) -> None:
    """Elements longer than the piece in which they are looked for first are read, and so are those behind them."""
    big = {"fields": {"x": 1, "text": "é" * 100_000}}
    found = read_json(json.dumps([big, FLAT, big, FLAT], ensure_ascii=False))
    assert [point.fields.get("x", 0) for point in found.points] == [1, 0, 1, 0]


HUGE = "1" + "0" * 309


@pytest.mark.parametrize(
    "values", [(HUGE, f"-{HUGE}"), ("1e308", "1e308"), ("Infinity", "-Infinity"), ("NaN", "1"), (HUGE, "1e308")]
)
def test_what_no_double_holds_is_found_among_others(read_json: Read, values: tuple[str, str]) -> None:
    """Numbers that would hide each other in a sum are skipped one by one, and the others are taken."""
    found = read_json(f'{{"fields": {{"x": {values[0]}, "y": {values[1]}, "z": 1}}}}')
    doubles = {"x": float(values[0]), "y": float(values[1])}
    assert found.fields == {name: value for name, value in doubles.items() if math.isfinite(value)} | {"z": 1.0}


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
    monkeypatch.setattr(jsonpoints, "RUN_CHARACTERS", 2000)
    at_once = [read_json(body) for body in bodies]
    monkeypatch.setattr(jsonpoints, "RUN_CHARACTERS", 0)
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

    def counted(text: str) -> list[Any]:
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
