"""Line protocol, rule by rule."""

from __future__ import annotations

import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.points import Batch
from ingest.protocols import line
from ingest.series import SeriesCache
from ingest.timestamps import Window
from tests.unit.ingest.conftest import ALL_TIMES, NOW_US, TIGHT, Read


def test_a_line_is_a_measurement_tags_fields_and_a_time(read_lines: Read) -> None:
    """All parts of a line arrive, the time in microseconds."""
    (point,) = read_lines("cpu,host=web-1,region=eu usage=12.5,cores=4i 1700000000000001999").points
    assert (point.measurement, point.tags) == ("cpu", {"host": "web-1", "region": "eu"})
    assert (point.fields, point.time) == ({"usage": 12.5, "cores": 4.0}, 1_700_000_000_000_001)


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("1", 1.0),
        ("-1.5", -1.5),
        (".5", 0.5),
        ("-.5", -0.5),
        ("5.", 5.0),
        ("1e9", 1e9),
        ("1E-3", 0.001),
        ("1.5e+3", 1500.0),
        ("1.7976931348623157e308", 1.7976931348623157e308),
        ("5e-324", 5e-324),
        ("123456789012345678901234567890", 123456789012345678901234567890.0),
        ("7i", 7.0),
        ("-0i", 0.0),
        ("007i", 7.0),
        ("9223372036854775807i", 2.0**63),
        ("-9223372036854775808i", -(2.0**63)),
        ("18446744073709551615u", 2.0**64),
        *((word, 1.0) for word in ("t", "T", "true", "True", "TRUE")),
        *((word, 0.0) for word in ("f", "F", "false", "False", "FALSE")),
    ],
)
def test_values(read_lines: Read, written: str, value: float) -> None:
    """Floats, integers, unsigned integers and booleans are numbers."""
    assert read_lines(f"m x={written}").fields == {"x": value}


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("NaN", "'NaN' is no number"),
        ("inf", "'inf' is no number"),
        ("-inf", "'-inf' is no number"),
        ("1e400", "'1e400' is out of a double's range"),
        ("-1e400", "'-1e400' is out of a double's range"),
        ("1" * 400, "out of a double's range"),
        ("9223372036854775808i", "no integer from -9223372036854775808 to 9223372036854775807"),
        ("-9223372036854775809i", "no integer from -9223372036854775808"),
        ("18446744073709551616u", "no integer from 0 to 18446744073709551615"),
        ("-1u", "'-1u' is no integer from 0"),
        ("-0u", "'-0u' is no integer from 0"),
        ("1" * 5000 + "i", "is no integer from"),
        ("1.5i", "'1.5i' is no integer"),
        ("1e3i", "'1e3i' is no integer"),
        ("+1", "'+1' is no number"),
        ("1_000", "'1_000' is no number"),
        ("0x10", "'0x10' is no number"),
        ("1ii", "'1ii' is no number"),
        ("tRUE", "'tRUE' is no boolean (t, T, true, True, TRUE, f,"),
        ("yes", "'yes' is no number"),
        ("-", "'-' is no number"),
        (".", "'.' is no number"),
        ("", "the end of the body is no number"),
    ],
)
def test_values_that_are_none(read_lines: Read, written: str, message: str) -> None:
    """A value that is no number, or one past its type's range, is a fault of syntax that names the field."""
    reason = read_lines(f"m x={written}").reason
    assert reason.startswith("syntax: field 'x': ")
    assert message in reason


@pytest.mark.parametrize(
    ("body", "measurement", "tags", "fields"),
    [
        (r"a\ b\,c\=d x=1", r"a b,c\=d", {}, {"x": 1.0}),
        (r"m,k\ 1\,2\=3=v\ 1\,2\=3 x=1", "m", {"k 1,2=3": "v 1,2=3"}, {"x": 1.0}),
        (r"m f\ 1\,2\=3=1", "m", {}, {"f 1,2=3": 1.0}),
        (r"\m\\m,k\k=v\\v x\y=1", r"\m\\m", {r"k\k": r"v\\v"}, {r"x\y": 1.0}),
        ('"m",k="v" "x"=1', '"m"', {"k": '"v"'}, {'"x"': 1.0}),
        ("m=n x=1", "m=n", {}, {"x": 1.0}),
        ("ü,µ=日 ß=1", "ü", {"µ": "日"}, {"ß": 1.0}),
        ("m,k=a\tb x=1", "m", {"k": "a\tb"}, {"x": 1.0}),
    ],
)
def test_escapes(read_lines: Read, body: str, measurement: str, tags: dict[str, str], fields: dict[str, float]) -> None:
    """A backslash escapes comma, space and (but in a measurement) equals sign, and stands for itself elsewhere."""
    (point,) = read_lines(body).points
    assert (point.measurement, point.tags, point.fields) == (measurement, tags, fields)


def test_strings_are_skipped(read_lines: Read) -> None:
    """A string, whatever is in it, is counted and left out; the point's numbers are kept."""
    found = read_lines('m a="x, y=1 5",b=1,c="\\"\\\\",d="two\nlines",e="" 7000\nm b=2')
    assert [(point.place, point.fields, point.time) for point in found.points] == [
        (1, {"b": 1.0}, 7),
        (3, {"b": 2.0}, NOW_US),
    ]
    assert (list(found.batch.skipped), found.batch.skipped_count) == (["a", "c", "d", "e"], 4)


def test_a_point_of_strings_is_rejected(read_lines: Read) -> None:
    """A line left with no number is rejected, and says which fields are strings; the list is bounded."""
    assert read_lines('m a="1",b="2"').reason == "no_number: no field is a number: a, b hold strings"
    assert read_lines("m " + ",".join(f'f{n}="x"' for n in range(50))).reason.endswith("f4, ... hold strings")


def test_the_last_of_two_fields_counts(read_lines: Read) -> None:
    """A field given twice has its last value, as in InfluxDB."""
    assert read_lines("m a=1,b=2,a=3").fields == {"a": 3.0, "b": 2.0}


def test_comments_blank_lines_and_line_ends(read_lines: Read) -> None:
    """Comments and blank lines are no points but are counted as lines; \\r\\n ends a line as \\n does."""
    found = read_lines("# one\r\n\r\n  # two\n   \nm x=1 1000\r\n  m x=2 2000  \n#\nm x=3\r\n# end")
    assert [(point.place, point.fields["x"], point.time) for point in found.points] == [
        (5, 1.0, 1),
        (6, 2.0, 2),
        (8, 3.0, NOW_US),
    ]
    assert not found.rejections


@pytest.mark.parametrize(
    ("precision", "written", "microseconds"),
    [
        *((unit, "1700000000123456789", 1_700_000_000_123_456) for unit in ("n", "ns")),
        *((unit, "1700000000123456", 1_700_000_000_123_456) for unit in ("u", "us", "µ", "µs")),
        ("ms", "1700000000123", 1_700_000_000_123_000),
        ("s", "1700000000", 1_700_000_000_000_000),
        ("m", "28333333", 28_333_333 * 60_000_000),
        ("h", "472222", 472_222 * 3_600_000_000),
        ("ns", "-1", -1),
        ("ns", "0", 0),
        ("s", "-5", -5_000_000),
        ("ns", "9223372036854775807", 9_223_372_036_854_775),
        ("ns", "-9223372036854775808", -9_223_372_036_854_776),
        ("s", "0" * 30 + "7", 7_000_000),
    ],
)
def test_times(read_lines: Read, precision: str, written: str, microseconds: int) -> None:
    """A time is an integer in the request's precision; what is finer than a microsecond is cut off downwards."""
    (point,) = read_lines(f"m x=1 {written}", precision=precision).points
    assert point.time == microseconds


@pytest.mark.parametrize(
    ("precision", "now"), [("ns", NOW_US), ("ms", 1_800_000_000_123_000), ("h", 1_800_000_000_000_000)]
)
def test_an_absent_time_is_now(read_lines: Read, precision: str, now: int) -> None:
    """Without a time a point is of now, as coarse as the precision."""
    (point,) = read_lines("m x=1", precision=precision).points
    assert point.time == now


@pytest.mark.parametrize(
    ("precision", "written"),
    [("ns", "9223372036854775808"), ("ns", "-9223372036854775809"), ("s", "1700000000000000000"), ("ns", "1" * 5000)],
)
def test_times_past_64_bits(read_lines: Read, precision: str, written: str) -> None:
    """A time that does not fit into 64 bits of nanoseconds is rejected, with a hint at the precision."""
    assert "is the precision right?" in read_lines(f"m x=1 {written}", precision=precision).reason


def test_times_outside_the_window(read_lines: Read) -> None:
    """Seconds read as nanoseconds are long ago: rejected, with the bound and what to do."""
    window = Window.around(NOW_US, 86_400, 60)
    found = read_lines("m x=1 1700000000\nm x=2 1800000061000000000\nm x=3 1800000000000000000", window=window)
    assert [point.place for point in found.points] == [3]
    (early, late) = found.rejections
    assert early[:2] == (1, "time")
    assert early[2].startswith("time 1970-01-01T00:00:01Z is before 2027-01-14T08:00:00Z, the bound of INGEST_MAX_AGE")
    assert "?precision=" in early[2]
    assert "2027-01-15T08:01:01Z is after" in late[2]
    assert "INGEST_MAX_AHEAD_SECONDS" in late[2]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (
            "m " + ",".join(f"f{n}=1" for n in range(11)),
            "max_fields: the point has more than 10 fields (INGEST_MAX_FIELDS",
        ),
        ("m " + ",".join('f="x"' for n in range(11)), "max_fields: "),
        (
            "m" + "".join(f",t{n}=1" for n in range(6)) + " x=1",
            "max_tags: 6 tags, at most 5 are allowed (INGEST_MAX_TAGS",
        ),
        (
            "m,k=" + "v" * 100 + " x=1",
            "max_tag_bytes: the point has more than 100 bytes of tags (INGEST_MAX_TAG_BYTES)",
        ),
        ("m,k=" + "v" * 10_000 + " x=1", "max_tag_bytes: "),
        ("m" * 10_000 + " x=1", "max_tag_bytes: "),
        ("m" * 64 + " x=1", "name: measurement 'mmm"),
        ("m " + "x" * 64 + "=1", "name: field 'xxx"),
        ("m " + "x" * 10_000 + "=1", "name: field 'xxx"),
        ("m " + "é" * 32 + "=1", "64 bytes, at most 63 are allowed"),
        ("m,k=a\0b x=1", "name: the value of tag 'k' contains a NUL character"),
        ("_tidemark_1_key x=1", "are reserved"),
    ],
)
def test_limits(read_lines: Read, body: str, reason: str) -> None:
    """A point past a limit is rejected by the limit's name, and the line after it is taken."""
    found = read_lines(body + "\nm x=1", limits=TIGHT)
    assert [point.place for point in found.points] == [2]
    (rejection,) = found.rejections
    assert reason in f"{rejection[1]}: {rejection[2]}"
    assert len(rejection[2]) < 300


def test_names_at_their_bounds(read_lines: Read) -> None:
    """Names of just 63 bytes are taken, escaped or not."""
    name = r"\," * 62 + "x"
    (point,) = read_lines(f"{name},k=1 {name}=1").points
    assert (len(point.measurement), point.fields) == (63, {"," * 62 + "x": 1.0})


def test_equal_heads_share_their_series(read_lines: Read) -> None:
    """The order of tags and the way they are written make no other series."""
    found = read_lines("m,a=1,b=2 x=1\nm,b=2,a=1 x=2 5\nm,a=1,b=3 x=3")
    first, second, third = found.batch.rows[0].series
    assert first is second
    assert third is not first


@pytest.mark.parametrize(
    "body",
    [
        b'm x="' + b'\\"' * 700_000,
        b"m " + b"a=1," * 300_000,
        b"m" + b",a=b" * 300_000 + b" x=1",
        b"\\," * 600_000 + b" x=1",
        b"m x=" + b"1" * 1_200_000,
        b"m x=1" + b" " * 1_200_000 + b"z",
        b'm s="' + b"a\n" * 600_000 + b'"z',
    ],
)
def test_one_long_line_is_given_up_early(body: bytes) -> None:
    """A hostile line of a megabyte is rejected as one line, and is not taken apart to its end."""
    batch = Batch(TIGHT)
    cache = SeriesCache(TIGHT, 10_000)
    decoder = line.decode(body, batch, cache, precision_ns=1, window=ALL_TIMES)
    while not batch.rejections:
        next(decoder)
    assert batch.rejections[0].place == 1
    assert (batch.rows, len(cache)) == ([], 0)


@pytest.mark.parametrize(
    "repeated",
    [
        b'm x="\n',
        b'm x="\\"\n',
        b'm x="a\n"z\n',
        b'm s="a",x=\n',
        b"m\n",
        b"#\x01\n",
        b"\r\n",
        b'"',
        b"m,a=b ",
        b"m x=1,",
        b'm x=1 5\nm x="a\nb",y=1 5\n',
        b'm x=1 5\nm x=1,y="a" 5\n# a comment\n',
        b"m x=1 5\nm x=1,\nm x=1 5\nm\n",
    ],
)
def test_work_grows_as_the_body_does(repeated: bytes) -> None:
    """Four times the hostile body is four times the calls, not sixteen times."""

    def calls(count: int) -> int:
        done = 0

        def note(*_: object) -> None:
            nonlocal done
            done += 1

        decoder = line.decode(
            repeated * count, Batch(TIGHT), SeriesCache(TIGHT, 10_000), precision_ns=1, window=ALL_TIMES
        )
        sys.setprofile(note)
        try:
            list(decoder)
        finally:
            sys.setprofile(None)
        return done

    assert calls(4000) <= 5 * calls(1000)


def test_reading_pauses() -> None:
    """A long body hands over now and then, whether its lines are plain, bad or blank."""
    for body in (
        b"m x=1 5\n" * 20_000,
        b"m\n" * 80_000,
        b"\n" * 160_000,
        b"# comment\n" * 16_000,
        b"m x=1 5\nm x=1,\n" * 10_000,
        b"m,host=a\\ b %b\n" % b",".join([b"x=1u"] * 1000) * 30,
    ):
        pauses = line.decode(body, Batch(TIGHT), SeriesCache(TIGHT, 10_000), precision_ns=1, window=ALL_TIMES)
        assert len(list(pauses)) >= len(body) // (3 * line.PIECES_BYTES[0])


@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.one_of(st.binary(max_size=20), st.sampled_from([b"m", b",k=v", b" ", b"x=1", b',y="', b"\n", b"\\", b"#"])),
        max_size=12,
    ).map(b"".join)
)
def test_nothing_but_points_and_rejections_comes_out(body: bytes) -> None:
    """Whatever the bytes, decoding ends, and every rejection can be told in UTF-8."""
    batch = Batch(TIGHT)
    for _ in line.decode(body, batch, SeriesCache(TIGHT, 10_000), precision_ns=1, window=ALL_TIMES):
        pass
    assert batch.accepted_count + batch.rejected_count <= body.count(b"\n") + 1
    for rejection in batch.rejections:
        assert 1 <= rejection.place <= body.count(b"\n") + 1
        assert len(rejection.text.encode()) < 1000
