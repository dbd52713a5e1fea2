"""What clients get wrong: each is told what and where, and the good points of the same request are in the database.

Beside what is wrong, the requests bring the points x=1 and x=2 of a measurement of their own. These are read back,
and the instruments account for every point that was sent.
"""

from __future__ import annotations

import json
import random
import string
import time
from dataclasses import dataclass
from typing import Any

import pytest
from psycopg import sql

from tests.integration.conftest import Heard, Ingest

JSON = "/api/v1/points"
GOOD = "m,host=a x=1"
EARLIER = int(time.time()) - 60
"""A time that is taken, in seconds."""
DEEP = "[" * 100_000


@dataclass(frozen=True)
class Case:
    """One thing that a client may get wrong, and what it hears."""

    bad: str | bytes
    reason: str
    message: str

    @property
    def raw(self) -> bytes:
        """The bytes to send."""
        return self.bad.encode() if isinstance(self.bad, str) else self.bad


async def accounted(ingest: Ingest) -> tuple[float, float, float]:
    """Points accepted, rejected and refused, as the instruments have them."""
    return (
        await ingest.counted("ingest_points_accepted_total"),
        await ingest.counted("ingest_points_rejected_total"),
        await ingest.counted("ingest_points_refused_total"),
    )


def good_points(measurement: str) -> tuple[bytes, bytes]:
    """x=1 and x=2 as JSON."""
    one, two = (
        json.dumps({"measurement": measurement, "host": "a", "time": EARLIER + n, "x": n}).encode() for n in (1, 2)
    )
    return one, two


def check_partial(ingest: Ingest, heard: Heard, case: Case, measurement: str, place: tuple[str, int]) -> None:
    """One of three points was rejected as `case` says, and the others were written."""
    assert heard.status == 400, case
    assert heard.headers["Tidemark-Durability"] == "committed"
    assert heard.message.startswith("partial write: 1 of 3 points rejected: ")
    assert heard.message == heard.body["error"]
    assert (heard.body["accepted"], heard.body["rejected"]) == (2, 1)
    (rejection,) = heard.body["rejections"]
    assert (rejection["reason"], rejection[place[0]]) == (case.reason, place[1]), case
    assert case.message in rejection["message"]
    assert len(rejection["message"]) < 500
    assert ingest.rows(f"SELECT host, x FROM {measurement} ORDER BY time") == [("a", 1.0), ("a", 2.0)]


BAD_LINES = [
    Case("nonsense", "syntax", "expected a comma and a tag, or a space and a field"),
    Case("m,host=a x=", "syntax", "is no number, boolean or quoted string"),
    Case('m,host=a x="open', "syntax", "the string has no closing quote"),
    Case(b"m,host=\xff x=5", "syntax", "is not UTF-8"),
    Case("m,host=a x=NaN", "syntax", "'NaN' is no number"),
    Case("m,host=a x=+Inf", "syntax", "'+Inf' is no number"),
    Case("m,host=a x=1e999", "syntax", "is out of a double's range"),
    Case("m,host=a x=9223372036854775808i", "syntax", "is no integer from"),
    Case("m,host=a,host=b x=5", "syntax", "tag 'host' is given twice"),
    Case("m,host=a x=5 9999999999999", "time", "is out of range; is the precision right?"),
    Case("m,host=a x=5 253402300799", "time", "is out of range; is the precision right?"),
    Case("m,host=a x=5 5000000000", "time", "time 2128-06-11T08:53:20Z is after"),
    Case("m,host=a x=5 -1800000000", "time", "time 1912-12-17T16:00:00Z is before"),
    Case("m,host=a x=5 soon", "syntax", "expected a time in digits"),
    Case('m,host=a x="up"', "no_number", "no field is a number: x hold strings"),
    Case("m,host=a " + "y" * 64 + "=5", "name", "64 bytes, at most 63 are allowed"),
    Case("é" * 32 + ",host=a x=5", "name", "64 bytes, at most 63 are allowed"),
    Case("m,host=a\0 x=5", "name", "the value of tag 'host' contains a NUL character"),
    Case("_tidemark_1_key,host=a x=5", "name", "are reserved"),
    Case("m,host=a " + ",".join(f"f{n}=5" for n in range(10_000)), "max_fields", "more than 1000 fields"),
    Case("m," + ",".join(f"t{n}=5" for n in range(10_000)) + " x=5", "max_tag_bytes", "more than 8192 bytes of tags"),
    Case("m," + ",".join(f"t{n}=5" for n in range(65)) + " x=5", "max_tags", "65 tags, at most 64 are allowed"),
]
BAD_JSON_LINES = [
    Case('{"x": 1', "syntax", "not JSON: Expecting ',' delimiter, at byte 8"),
    Case('{"fields": {"x": 5}} {}', "syntax", "not JSON: expected the end at byte 22"),
    Case('{"x": ' + DEEP, "syntax", "nested too deeply"),
    Case(b'{"x": "\xff"}', "syntax", "not UTF-8, at byte 8"),
    Case("5", "syntax", "a point is an object, not a number"),
    Case('{"fields": {"x": NaN}}', "no_number", "no field is a number: x"),
    Case('{"fields": {"x": -Infinity}}', "no_number", "no field is a number: x"),
    Case('{"fields": {"x": 1e999}}', "no_number", "no field is a number: x"),
    Case('{"fields": {"x": "up"}}', "no_number", "no field is a number: x"),
    Case('{"fields": {"x": 5}, "hosts": "a"}', "syntax", "unknown member 'hosts'; a point has measurement, time, tags"),
    Case('{"tags": [], "fields": {"x": 5}}', "syntax", "tags is an object, not an array"),
    Case('{"time": "noon", "x": 5}', "time", "time 'noon' is not RFC 3339"),
    Case('{"time": "2026-11-22T08:00:00", "x": 5}', "time", "is not RFC 3339, such as 2026-11-22T08:00:00Z"),
    Case('{"time": "9999-12-31T23:59:59Z", "x": 5}', "time", "time 9999-12-31T23:59:59Z is after"),
    Case('{"time": 1700000000000000000, "x": 5}', "time", "is the unit right?"),
    Case('{"time": -1e12, "x": 5}', "time", "is the unit right?"),
    Case('{"time": true, "x": 5}', "time", "time is RFC 3339 or a number, not a boolean"),
    Case('{"measurement": "a\\u0000", "x": 5}', "name", "contains a NUL character"),
    Case('{"measurement": "\\ud800", "x": 5}', "name", "contains a lone surrogate"),
    Case('{"": 5}', "name", "the field's name is empty"),
    Case(json.dumps({f"f{n}": n for n in range(10_000)}), "max_fields", "more than 1000 fields"),
    Case(json.dumps({"x": 5} | {f"t{n}": "v" for n in range(10_000)}), "max_tags", "10000 tags, at most 64"),
]
BAD_ELEMENTS = [
    Case("5", "syntax", "a point is an object, not a number"),
    Case('{"fields": {}}', "no_number", "no field is a number"),
    Case('{"time": 1e18, "x": 5}', "time", "is the unit right?"),
    Case('{"measurement": 5, "x": 5}', "syntax", "measurement is a string, not a number"),
]


async def test_bad_lines(ingest: Ingest) -> None:
    """A bad line of line protocol costs itself alone."""
    for number, case in enumerate(BAD_LINES):
        one, two = (f"m{number},host=a x={n} {EARLIER + n}".encode() for n in (1, 2))
        heard = await ingest.send("/write?precision=s", b"\n".join([one, case.raw, two]))
        check_partial(ingest, heard, case, f"m{number}", ("line", 2))
    assert await accounted(ingest) == (2 * len(BAD_LINES), len(BAD_LINES), 0)


async def test_bad_lines_of_ndjson(ingest: Ingest) -> None:
    """A bad line of NDJSON costs itself alone, whether NDJSON was declared or is recognised."""
    for number, case in enumerate(BAD_JSON_LINES):
        one, two = good_points(f"m{number}")
        for kind in ("application/x-ndjson", "application/json"):
            heard = await ingest.send(JSON, b"\n".join([one, case.raw, two]), Content_Type=kind)
            check_partial(ingest, heard, case, f"m{number}", ("line", 2))
    assert await accounted(ingest) == (4 * len(BAD_JSON_LINES), 2 * len(BAD_JSON_LINES), 0)


async def test_bad_elements_of_an_array(ingest: Ingest) -> None:
    """A bad element costs itself alone, and is named by its index."""
    for number, case in enumerate(BAD_ELEMENTS):
        one, two = good_points(f"m{number}")
        heard = await ingest.send(JSON, b"[%b, %b, %b]" % (one, case.raw, two))
        check_partial(ingest, heard, case, f"m{number}", ("index", 1))
    assert await accounted(ingest) == (2 * len(BAD_ELEMENTS), len(BAD_ELEMENTS), 0)


async def test_an_array_that_breaks_off(ingest: Ingest) -> None:
    """What stands before the fault is written, and the fault is told with its place."""
    one, two = good_points("m")
    heard = await ingest.send(JSON, b"[%b, %b, {" % (one, two))
    case = Case("{", "syntax", "not JSON: Expecting property name")
    check_partial(ingest, heard, case, "m", ("index", 2))


REFUSED = [
    ("/write", b"", "the body is empty"),
    ("/write", b" \r\n\n", "the body is empty"),
    (JSON, b"", "the body is empty"),
    (JSON, b"nonsense", "the body is not JSON: Expecting value, at byte 1"),
    (JSON, b'{"x": 1', "the body is not JSON: Expecting ',' delimiter, at byte 8"),
    (JSON, DEEP.encode(), "nested too deeply"),
    ("/write?precision=y", GOOD.encode(), "precision='y' is unknown, allowed are ns, n, us, u,"),
    (f"{JSON}?precision=sec", b'{"x": 1}', "precision='sec' is unknown, allowed are ns, n, us, u,"),
    ("/write", b"m x=1 1700000000", "1970-01-01T00:00:01Z is before"),
    ("/write", b"bad", "unable to parse: no point could be taken: line 1: expected a comma"),
    ("/write", b'm x="up"', "unable to parse: no point could be taken: line 1: no field is a number: x"),
]


async def test_requests_of_which_nothing_is_taken(ingest: Ingest) -> None:
    """The whole request is refused with its reason, and nothing is written."""
    for path, body, message in REFUSED:
        heard = await ingest.send(path, body)
        assert (heard.status, heard.body["code"]) == (400, "invalid"), (path, body)
        assert message in heard.message
        assert "Tidemark-Durability" not in heard.headers
    assert ingest.rows("SELECT count(*) FROM catalog.measurement") == [(0,)]
    assert await accounted(ingest) == (0, 4, 0)


async def test_fields_that_are_no_numbers_are_skipped(ingest: Ingest) -> None:
    """Their points are written without them, and the client is told their names."""
    heard = await ingest.send("/write", 'm,host=a x=1,state="up",note="a\nb"')
    assert (heard.status, heard.headers["Tidemark-Skipped-Fields"]) == (204, "state, note")
    body = '{"measurement": "m", "tags": {"host": "a"}, "fields": {"x": 2, "s\\r\\nX: y": "", "n": NaN, "\\ud800": []}}'
    heard = await ingest.send(JSON, body)
    assert (heard.status, heard.headers["Tidemark-Skipped-Fields"]) == (204, "s%0D%0AX%3A%20y, n, %5Cud800")
    assert ingest.rows("SELECT host, x FROM m ORDER BY x") == [("a", 1.0), ("a", 2.0)]
    assert ingest.rows("SELECT name FROM catalog.field") == [("x",)]
    assert await ingest.counted("ingest_fields_skipped_total") == 5
    assert await accounted(ingest) == (2, 0, 0)


async def test_duplicate_points_fields_and_members(ingest: Ingest) -> None:
    """Of a field, a member or a point given twice the last counts; the points are one row, and counted as sent."""
    heard = await ingest.send("/write?precision=s", f"m,host=a x=1,x=2 {EARLIER}\nm,host=a x=3,y=4 {EARLIER}")
    assert heard.status == 204
    heard = await ingest.send(
        JSON, '{"measurement": "m", "host": "b", "host": "a", "time": ' + f'{EARLIER}, "y": 0, "y": 5}}'
    )
    assert heard.status == 204
    assert ingest.rows("SELECT host, x, y FROM m") == [("a", 3.0, 5.0)]
    assert await accounted(ingest) == (3, 0, 0)


async def test_more_rejections_than_are_listed(ingest: Ingest) -> None:
    """An answer lists the first hundred and counts all."""
    heard = await ingest.send("/write", "bad\n" * 5000 + GOOD)
    assert (heard.body["accepted"], heard.body["rejected"], len(heard.body["rejections"])) == (1, 5000, 100)
    assert heard.message.startswith("partial write: 5000 of 5001 points rejected: line 1: ")
    assert await accounted(ingest) == (1, 5000, 0)


NAMES = [
    *(
        "metrics",
        "time",
        "host",
        "pg_class",
        "a b",
        'a"b',
        "a'b",
        "Ünïcode",
        "日本語",
        "😀",
        "SELECT",
        "a.b",
        "a%b",
        "%s",
    ),
    *("x; DROP TABLE catalog.series; --", "$1", "{}", "a\\b", "_cpu", "cpu", "-", "1", "é" * 31, " ", "a\nb", "A", "a"),
    *("_hyper_1_1_chunk", "series", "measurement", "tidemark_staging", "x" * 63, "x" * 62 + "y"),
]


async def test_names(ingest: Ingest) -> None:
    """Any text that fits is a measurement, a field and a tag, and is read back as it was sent."""
    for name in NAMES:
        point = {"measurement": name, "time": EARLIER, "tags": {name: name}, "fields": {f"{name[:31]}!": 1.5}}
        for _ in range(2):  # the second time it is there already, and merges
            assert (await ingest.send(JSON, json.dumps(point))).status == 204, name
        statement = sql.SQL("SELECT tags, {} FROM metrics.{}").format(
            sql.Identifier(f"{name[:31]}!"), sql.Identifier(name)
        )
        assert ingest.rows(statement.as_string()) == [({name: name}, 1.5)]
    assert ingest.rows("SELECT name FROM catalog.measurement ORDER BY id") == [(name,) for name in NAMES]


async def test_names_of_fields_that_are_taken(ingest: Ingest) -> None:
    """A field whose name a table needs for itself is kept in a column with an underscore more."""
    taken = ["time", "host", "tags", "series_id", "ctid", "xmin", "tableoid", "time_", "host__"]
    for name in taken:
        assert (await ingest.send(JSON, json.dumps({"measurement": "m", "fields": {name: 7}}))).status == 204
    assert ingest.rows("SELECT name, column_name FROM catalog.field ORDER BY id") == [(n, f"{n}_") for n in taken]
    assert ingest.rows("SELECT sum(time_), sum(host_), sum(host___) FROM m") == [(7.0, 7.0, 7.0)]


@pytest.mark.parametrize("name", ["time", "tableoid"])
async def test_a_taken_name_without_room_for_its_underscore(ingest: Ingest, name: str) -> None:
    """Two fields would have one column: the longer one is rejected, and told; the other points are written."""
    lines = f"m {name:_<63}=1,x=1\nm {name:_<62}=2 {EARLIER}000000000\nm {name}_{'x' * 50}=3"
    heard = await ingest.send("/write", lines.encode())
    assert (heard.status, heard.body["accepted"]) == (400, 2)
    (rejection,) = heard.body["rejections"]
    assert (rejection["line"], rejection["reason"]) == (1, "name")
    assert "its column has one _ more, at most 63 bytes are allowed" in rejection["message"]


async def test_hosts_that_no_index_holds(ingest: Ingest) -> None:
    """A host is bounded, since it may not compress; what else a point has is not, nor are its neighbours refused."""
    long = "".join(random.Random(1).choices(string.ascii_letters, k=2049))
    points = (f"host={long}", f"host={long[:-1]},hostname={long}", f"host=a,other={long}", f"instance={long}")
    heard = await ingest.send("/write", "\n".join(f"m,{tags} x={n}" for n, tags in enumerate(points, 1)).encode())
    assert (heard.status, heard.body["accepted"]) == (400, 2)
    assert [(one["line"], one["reason"]) for one in heard.body["rejections"]] == [
        (1, "max_tag_bytes"),
        (4, "max_tag_bytes"),
    ]
    assert "the value of tag 'host', the host: 2049 bytes, at most 2048 are allowed" in heard.message
    assert ingest.rows("SELECT x, length(host) FROM m ORDER BY x") == [(2.0, 2048), (3.0, 1)]


async def test_as_many_fields_as_are_allowed(ingest: Ingest) -> None:
    """A point of a thousand fields is written; another field of the measurement is one too many."""
    point: dict[str, Any] = {"measurement": "m", "fields": {f"f{n}": n for n in range(1000)}}
    assert (await ingest.send(JSON, json.dumps(point))).status == 204
    heard = await ingest.send(JSON, json.dumps([point | {"fields": {"one_more": 1}}, point | {"fields": {"f7": 8}}]))
    assert (heard.status, heard.body["accepted"]) == (400, 1)
    (rejection,) = heard.body["rejections"]
    assert (rejection["index"], rejection["reason"]) == (0, "max_fields")
    assert all(word in rejection["message"] for word in ("'m'", "'one_more'", "INGEST_MAX_FIELDS_PER_MEASUREMENT"))
    assert ingest.rows("SELECT f7, f999 FROM m ORDER BY f999 NULLS LAST") == [(7.0, 999.0), (8.0, None)]
