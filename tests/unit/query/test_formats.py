from __future__ import annotations

import csv
import gzip
import io
import json
import math
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from query import compression, formats
from query.formats import FORMATS, choose
from query.tables import Batches, Column, Encoder, ListDocument, Row, Table, distinct, texts
from service.errors import NotAcceptable

AT = datetime(2026, 11, 22, 8, 30, 0, 500_000, tzinfo=UTC)
COLUMNS = (
    *texts("host"),
    Column("time", "time"),
    Column("value", "number"),
    Column("count", "integer"),
    Column("tags", "object"),
)
ROWS: list[Row] = [
    ("web-1", AT, 1.5, 2, {"a": 'x"y'}),
    ('a,"b"\r\nc', AT.replace(microsecond=0), math.nan, None, {}),
    (None, None, None, 3, {"ü": "ß"}),
    ("", AT, math.inf, 0, {}),
    ("=1+1", AT, -math.inf, -(2**53), {}),
]


async def _no_rows() -> Batches:
    yield []


def table(columns: Sequence[Column] = COLUMNS) -> Table:
    """A table whose rows the tests hand over themselves."""
    names = [column.name for column in columns]
    document = ListDocument("rows", lambda row: dict(zip(names, row, strict=True)), {"at": AT}, lambda: {"next": None})
    return Table(lambda: columns, _no_rows(), document)


def made(name: str, *batches: Sequence[Row], columns: Sequence[Column] = COLUMNS) -> bytes:
    """What a format makes of batches of rows."""
    encoder: Encoder = FORMATS[name].encoder(table(columns))
    return b"".join([encoder.begin(), *(encoder.rows(batch) for batch in batches), encoder.end()])


def test_csv_is_as_rfc_4180_has_it() -> None:
    """A header, CRLF, quotes where they are needed; times in RFC 3339, null empty, no numbers as in SQL."""
    lines = made("csv", ROWS).decode()
    assert lines == (
        "host,time,value,count,tags\r\n"
        'web-1,2026-11-22T08:30:00.500000Z,1.5,2,"{""a"":""x\\""y""}"\r\n'
        '"a,""b""\r\nc",2026-11-22T08:30:00Z,NaN,,{}\r\n'
        ',,,3,"{""ü"":""ß""}"\r\n'
        ",2026-11-22T08:30:00.500000Z,Infinity,0,{}\r\n"
        "=1+1,2026-11-22T08:30:00.500000Z,-Infinity,-9007199254740992,{}\r\n"
    )


def test_ndjson_has_an_object_a_line() -> None:
    """The members are the columns; JSON has no numbers that are none."""
    lines = made("ndjson", ROWS).decode().splitlines()
    assert json.loads(lines[0]) == {
        "host": "web-1",
        "time": "2026-11-22T08:30:00.500000Z",
        "value": 1.5,
        "count": 2,
        "tags": {"a": 'x"y'},
    }
    assert [json.loads(line)["value"] for line in lines] == [1.5, None, None, None, None]


def test_json_is_one_document() -> None:
    """Head, list and tail are one object, whatever the batches; the tail is asked for in the end."""
    for batches in ([ROWS], [ROWS[:2], [], ROWS[2:]], [[row] for row in ROWS], [[], ROWS]):
        document = json.loads(made("json", *batches))
        assert list(document) == ["at", "rows", "next"]
        assert [row["host"] for row in document["rows"]] == ["web-1", 'a,"b"\r\nc', None, "", "=1+1"]
    assert json.loads(made("json")) == {"at": "2026-11-22T08:30:00.500000Z", "rows": [], "next": None}
    bare = ListDocument("rows", list)
    assert bare.begin() + bare.rows([(1, 2)]) + bare.end() == b'{"rows":[[1,2]]}\n'


def test_arrow_keeps_types() -> None:
    """The schema has the columns' types, and every value is as it was; objects are text."""
    read = pa.ipc.open_stream(made("arrow", ROWS[:2], [], ROWS[2:])).read_all()
    assert read.schema.names == [column.name for column in COLUMNS]
    assert [str(kind) for kind in read.schema.types] == [
        "string",
        "timestamp[us, tz=UTC]",
        "double",
        "int64",
        "string",
    ]
    names, times, values, counts, tags = (read.column(place).to_pylist() for place in range(5))
    assert [names, times, counts] == [[row[place] for row in ROWS] for place in (0, 1, 3)]
    assert repr(values) == repr([row[2] for row in ROWS])  # in which NaN is NaN
    assert [json.loads(text) for text in tags] == [row[4] for row in ROWS]
    assert pa.ipc.open_stream(made("arrow")).read_all().num_rows == 0


@given(st.lists(st.lists(st.tuples(st.text(), st.none() | st.floats(allow_nan=False, allow_infinity=False)))))
def test_all_formats_say_the_same(batches: list[list[tuple[str, float | None]]]) -> None:
    """Whatever the texts and numbers, every format gives back the rows that it was made of."""
    columns = (*texts("name"), Column("value", "number"))
    rows = [row for batch in batches for row in batch if _encodes(row[0])]
    kept = [[row for row in batch if _encodes(row[0])] for batch in batches]
    assert [tuple(row.values()) for row in json.loads(made("json", *kept, columns=columns))["rows"]] == rows
    lines = made("ndjson", *kept, columns=columns).splitlines()
    assert [tuple(json.loads(line).values()) for line in lines] == rows
    read = list(csv.reader(io.StringIO(made("csv", *kept, columns=columns).decode(), newline="")))
    assert read[0] == ["name", "value"]
    assert [(name, float(value) if value else None) for name, value in read[1:]] == rows
    arrow = pa.ipc.open_stream(made("arrow", *kept, columns=columns)).read_all()
    assert [tuple(row.values()) for row in arrow.to_pylist()] == rows


def _encodes(text: str) -> bool:
    """Whether PostgreSQL could hold the text: no NUL, and no half of a surrogate pair."""
    return "\0" not in text and text.encode(errors="replace").decode() == text


@pytest.mark.parametrize(
    ("name", "accept", "chosen"),
    [
        (None, None, "json"),
        (None, "*/*", "json"),
        (None, "text/csv", "csv"),
        (None, "application/jsonl", "ndjson"),
        (None, "application/vnd.apache.arrow.stream, */*;q=0.1", "arrow"),
        ("csv", "application/json", "csv"),
        ("arrow", None, "arrow"),
    ],
)
def test_a_format_is_chosen(name: str | None, accept: str | None, chosen: str) -> None:
    """`format` decides, else Accept; JSON when neither says."""
    assert choose(name, accept).name == chosen


@pytest.mark.parametrize(
    ("name", "accept", "words"),
    [
        ("xml", None, "format: 'xml' is not made here; allowed: json (application/json), csv (text/csv), "),
        (5, None, "format: '5' is not made here"),
        (["csv"], None, "is not made here"),
        ("", None, "format: '' is not made here"),
        (None, "text/html", "Accept: 'text/html' is not made here; allowed: json (application/json), "),
    ],
)
def test_another_format_is_not_acceptable(name: Any, accept: str | None, words: str) -> None:
    """The refusal says which there are."""
    with pytest.raises(NotAcceptable) as refusal:
        choose(name, accept)
    assert refusal.value.status == 406
    assert words in refusal.value.message


def test_without_pyarrow_the_refusal_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """Arrow alone is missed then: by name it is refused with the package, and Accept chooses what there is."""
    monkeypatch.setattr(formats, "find_spec", lambda _: None)
    with pytest.raises(NotAcceptable, match="pip install pyarrow there; allowed: json, csv, ndjson"):
        choose("arrow", None)
    assert choose(None, "application/vnd.apache.arrow.stream, text/csv;q=0.1").name == "csv"
    with pytest.raises(NotAcceptable, match="pyarrow"):
        choose(None, "application/vnd.apache.arrow.stream")


def test_names_of_columns_are_made_distinct() -> None:
    """A tag or a field may have the name of another column."""
    assert distinct(["time", "a", "time", "time_", "a"]) == ["time", "a", "time_", "time__", "a_"]


@pytest.mark.parametrize("coding", compression.CODINGS)
def test_a_compressed_answer_is_one_stream(coding: str) -> None:
    """The pieces together are what the coding's own reader reads."""
    compressor = compression.CODINGS[coding]()
    pieces = [compressor.compress(piece) for piece in (b"a" * 10_000, b"", b"b" * 100_000)] + [compressor.flush()]
    sent = b"".join(pieces)
    plain = gzip.decompress(sent) if coding == "gzip" else zstandard.ZstdDecompressor().decompressobj().decompress(sent)
    assert plain == b"a" * 10_000 + b"b" * 100_000
    assert len(sent) < 1000
