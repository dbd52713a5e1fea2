"""A point as JSON: its forms, members and values."""

from __future__ import annotations

import json
import math

import pytest

from ingest.timestamps import Window
from tests.unit.ingest.conftest import NOW_US, TIGHT, Point, Read

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


HUGE = "1" + "0" * 309


@pytest.mark.parametrize(
    "values", [(HUGE, f"-{HUGE}"), ("1e308", "1e308"), ("Infinity", "-Infinity"), ("NaN", "1"), (HUGE, "1e308")]
)
def test_what_no_double_holds_is_found_among_others(read_json: Read, values: tuple[str, str]) -> None:
    """Numbers that would hide each other in a sum are skipped one by one, and the others are taken."""
    found = read_json(f'{{"fields": {{"x": {values[0]}, "y": {values[1]}, "z": 1}}}}')
    doubles = {"x": float(values[0]), "y": float(values[1])}
    assert found.fields == {name: value for name, value in doubles.items() if math.isfinite(value)} | {"z": 1.0}
