from __future__ import annotations

import asyncio
import csv
import gzip
import io
import json
import math
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import pyarrow as pa
import pytest
import zstandard

from query.compression import LEAST_BYTES
from query.formats import FORMATS
from query.sending import SLICE_BYTES
from query.tables import BATCH_ROWS
from query.times import written
from tests.integration.query.conftest import Database, Query, ServeQuery
from tests.integration.query.reference import Point

NOW = datetime.now(UTC).replace(microsecond=0)
MANY = 10_000
"""Series whose list is far larger than what a connection's buffers hold."""


@pytest.fixture
async def many(database: str, stored: Database, serve_query: ServeQuery) -> Query:
    """Query over many series, which sends from the first byte on."""
    stored.store("cpu", [Point((("host", "a"),), NOW, {"v": 1.0})])
    stored.execute(
        "INSERT INTO catalog.series (measurement_id, tags, host) SELECT 1, jsonb_build_object("
        f"'host', i::text, 'long', repeat(md5(i::text), 64)), i::text FROM generate_series(1, {MANY}) i"
    )
    query = await serve_query(database, max_series=10 * MANY, max_held_bytes=0, send_timeout_seconds=600)
    await query.until_ready()
    return query


DECODERS: dict[str, Callable[[bytes], bytes]] = {
    "identity": bytes,
    "gzip": gzip.decompress,
    "zstd": lambda body: zstandard.ZstdDecompressor().decompressobj().decompress(body),
}


async def fetched(query: Query, path: str, **headers: str) -> tuple[int, bytes, aiohttp.ClientResponse]:
    """The status, the body decoded, and the response."""
    async with (
        aiohttp.ClientSession(auto_decompress=False) as client,
        client.get(f"{query.url}{path}", headers=headers) as response,
    ):
        body = await response.read()
        return response.status, DECODERS[response.headers.get("Content-Encoding", "identity")](body), response


async def test_formats_by_parameter_and_by_accept(query: Query, stored: Database) -> None:
    """The same rows, in each format, however it is asked for."""
    stored.store("cpu", [Point((("host", "a"), ("rack", 'r"1')), NOW, {"v": 1.5, "id": 2.0})])
    for accept, name in (
        ("application/json", "json"),
        ("text/csv", "csv"),
        ("application/x-ndjson", "ndjson"),
        ("application/vnd.apache.arrow.stream", "arrow"),
    ):
        status, body, response = await fetched(query, "/api/v1/last", Accept=accept)
        assert (status, response.content_type) == (200, accept)
        assert response.headers["Vary"] == "Accept, Accept-Encoding"
        assert (await fetched(query, f"/api/v1/last?format={name}", Accept="text/html"))[0] == 200
        match name:
            case "json":
                (row,) = json.loads(body)["series"]
                assert row["fields"] == {"id": 2.0, "v": 1.5}
            case "csv":
                header, line = csv.reader(io.StringIO(body.decode(), newline=""))
                assert header == ["id", "measurement", "host", "tags", "time", "id_", "v"]
                assert line[1:4] == ["cpu", "a", '{"host":"a","rack":"r\\"1"}']
                assert (datetime.fromisoformat(line[4]), line[5:]) == (NOW, ["2.0", "1.5"])
            case "ndjson":
                row = json.loads(body)
                assert (row["tags"], row["id_"], row["v"]) == ({"host": "a", "rack": 'r"1'}, 2.0, 1.5)
            case "arrow":
                (row,) = pa.ipc.open_stream(body).read_all().to_pylist()
                assert (row["time"], row["v"]) == (NOW, 1.5)
    assert await query.counted("query_answers_total", format="csv") == 2


async def test_newest_points_of_several_measurements_are_one_table(query: Query, stored: Database) -> None:
    """Fields that differ by the row are one column."""
    for measurement, field in (("cpu", "v"), ("mem", "w")):
        stored.store(measurement, [Point((("host", "a"),), NOW, {field: 1.0})])
    _, body, _ = await fetched(query, "/api/v1/last?format=csv")
    header, *lines = csv.reader(io.StringIO(body.decode(), newline=""))
    assert header == ["id", "measurement", "host", "tags", "time", "fields"]
    assert [line[5] for line in lines] == ['{"v":1.0}', '{"w":1.0}']


async def test_every_list_has_every_format(query: Query, stored: Database) -> None:
    """Empty or not."""
    for number in range(2):
        for path in ("last", "measurements", "fields", "tags", "tags/host/values", "series", "hosts"):
            for name in ("json", "csv", "ndjson", "arrow"):
                status, body, _ = await fetched(query, f"/api/v1/{path}?format={name}")
                assert status == 200, body
        stored.store("cpu", [Point((("host", f"h{number}"),), NOW, {"v": 1.0})])


async def test_other_formats_are_refused(query: Query) -> None:
    """An unknown format is 406, and the body, which is JSON, says which there are."""
    for path, headers in (("?format=xml", {}), ("", {"Accept": "text/html"})):
        status, body, response = await fetched(query, f"/api/v1/hosts{path}", **headers)
        assert (status, response.content_type) == (406, "application/json")
        assert "allowed: json (application/json), csv (text/csv), ndjson" in json.loads(body)["message"]
    status, body, _ = await fetched(query, "/api/v1/hosts?format=csv&format=json")
    assert (status, json.loads(body)["parameter"]) == (400, "format")


async def test_answers_are_compressed_as_asked(query: Query, stored: Database) -> None:
    """gzip and zstd, where it is worth it; the client's library reads them."""
    stored.store("cpu", [Point((("host", f"h{number}"),), NOW, {"v": 1.0}) for number in range(200)])
    _, plain, response = await fetched(query, "/api/v1/hosts?since=-1h", **{"Accept-Encoding": "identity"})
    assert "Content-Encoding" not in response.headers
    assert len(plain) > LEAST_BYTES
    for coding in ("gzip", "zstd"):
        _, body, response = await fetched(query, "/api/v1/hosts?since=-1h", **{"Accept-Encoding": coding})
        assert response.headers["Content-Encoding"] == coding
        assert int(response.headers["Content-Length"]) < len(plain) / 2
        assert json.loads(body)["hosts"] == json.loads(plain)["hosts"]
        _, body, response = await fetched(query, "/api/v1/hosts?limit=1", **{"Accept-Encoding": coding})
        assert "Content-Encoding" not in response.headers
        assert len(json.loads(body)["hosts"]) == 1


async def test_head_has_the_headers(query: Query, stored: Database) -> None:
    """A HEAD is answered as a GET would be, without its body."""
    stored.store("cpu", [Point((("host", "a"),), NOW, {"v": 1.0})])
    _, body, _ = await fetched(query, "/api/v1/series")
    async with query.client.head(f"{query.url}/api/v1/series") as response:
        assert (response.status, response.content_type) == (200, "application/json")
        assert int(response.headers["Content-Length"]) == len(body)
    assert (await fetched(query, "/api/v1/series"))[0] == 200


@pytest.mark.parametrize("coding", ["identity", "gzip", "zstd"])
async def test_a_long_answer_is_sent_as_it_is_made(many: Query, coding: str) -> None:
    """It has no length, since nobody knows it yet, and every row is there once, in order, in every format."""
    wanted = list(range(1, MANY + 2))

    async def body_of(name: str) -> bytes:
        status, body, response = await fetched(many, f"/api/v1/series?format={name}", **{"Accept-Encoding": coding})
        assert (status, response.headers.get("Content-Length")) == (200, None)
        return body

    assert [row["id"] for row in json.loads(await body_of("json"))["series"]] == wanted
    _, *lines = csv.reader(io.StringIO((await body_of("csv")).decode(), newline=""))
    assert [int(row[0]) for row in lines] == wanted
    assert [json.loads(line)["id"] for line in (await body_of("ndjson")).splitlines()] == wanted
    assert pa.ipc.open_stream(await body_of("arrow")).read_all().column("id").to_pylist() == wanted


async def test_accept_in_several_lines(query: Query) -> None:
    """The lines of a header are one list."""
    lines = [("Accept", "text/html"), ("Accept", "text/csv")]
    async with query.client.get(f"{query.url}/api/v1/measurements", headers=lines) as response:
        assert (response.status, response.content_type) == (200, "text/csv")


async def test_what_all_answers_hold_is_bounded(database: str, many: Query, serve_query: ServeQuery) -> None:
    """While others hold too much for clients that take nothing, an answer is sent as it is made, and is whole."""
    query = await serve_query(database, max_series=10 * MANY, max_all_held_bytes=20 << 20, send_timeout_seconds=600)
    await query.until_ready()
    some = f"{query.url}/api/v1/series?limit=7000"
    first = await query.client.get(some, headers={"Accept-Encoding": "identity"})
    length = first.content_length
    assert length is not None
    assert 12 << 20 < length < 16 << 20, "more than buffers on the way take, less than one answer may hold"
    await query.until_counted("query_held_bytes", length)
    second = await query.client.get(some, headers={"Accept-Encoding": "identity"})
    assert second.content_length is None
    assert (await second.json())["series"] == (await first.json())["series"]
    await query.until_counted("query_held_bytes", 0)
    third = await query.client.get(some, headers={"Accept-Encoding": "identity"})
    assert third.content_length == length
    await third.read()


async def begun(query: Query, path: str) -> aiohttp.ClientResponse:
    """An answer of which the client has read the beginning and no more."""
    response = await query.client.get(f"{query.url}{path}", headers={"Accept-Encoding": "identity"})
    assert response.status == 200
    await response.content.readany()
    return response


async def test_an_error_in_the_middle_is_a_broken_connection(many: Query, stored: Database) -> None:
    """When the database fails after the first bytes, no client can take what it has for the whole."""
    response = await begun(many, "/api/v1/series")
    await stored.until(lambda: stored.statements("state = 'active' AND wait_event = 'ClientWrite'"))
    stored.disconnect_query()
    with pytest.raises(aiohttp.ClientError):
        await response.read()
    await many.until_counted("query_answers_cut_off_total", 1, reason="unavailable")
    await many.until_ready()
    assert (await fetched(many, "/api/v1/series?limit=1"))[0] == 200


async def test_a_bound_that_is_met_in_the_middle(database: str, many: Query, serve_query: ServeQuery) -> None:
    """Past a bound an answer is refused while nothing is sent, and cut off when something is."""
    early = await serve_query(database, max_series=MANY // 2)
    await early.until_ready()
    status, body, _ = await fetched(early, "/api/v1/series")
    assert (status, json.loads(body)["limit"]) == (400, "QUERY_MAX_SERIES")
    late = await serve_query(database, max_series=MANY // 2, max_held_bytes=0)
    await late.until_ready()
    response = await begun(late, "/api/v1/series")
    with pytest.raises(aiohttp.ClientError):
        await response.read()
    assert await late.counted("query_answers_cut_off_total", reason="limit") == 1


async def test_a_client_that_takes_nothing_is_cut_off(
    database: str, many: Query, stored: Database, serve_query: ServeQuery
) -> None:
    """It keeps its statement, and its connection to the database, for no longer than it is given."""
    query = await serve_query(database, max_series=10 * MANY, max_held_bytes=0, send_timeout_seconds=0.2)
    await query.until_ready()
    response = await begun(query, "/api/v1/series")
    await query.until_counted("query_answers_cut_off_total", 1, reason="slow client")
    await stored.until(lambda: not stored.statements("state = 'active'"))
    with pytest.raises(aiohttp.ClientError):
        await response.read()


async def test_a_client_that_leaves_in_the_middle_cancels_its_statement(many: Query, stored: Database) -> None:
    """Nothing runs on for it, and its connection to the database is good for the next."""
    response = await begun(many, "/api/v1/series")
    await stored.until(lambda: stored.statements("state = 'active'"))
    response.close()
    await stored.until(lambda: not stored.statements("state = 'active'"))
    await many.until_counted("query_statements_abandoned_total", 1)
    assert (await fetched(many, "/api/v1/series?limit=1"))[0] == 200


async def test_without_chunks_an_error_is_a_reset(many: Query, stored: Database) -> None:
    """To a client of HTTP/1.0 the end of an answer is the end of the connection: a failure must not look like it."""
    host, port = many.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(b"GET /api/v1/series HTTP/1.0\r\n\r\n")
    await reader.readuntil(b"\r\n\r\n")
    await stored.until(lambda: stored.statements("state = 'active' AND wait_event = 'ClientWrite'"))
    stored.disconnect_query()
    with pytest.raises(ConnectionResetError):
        await reader.read()
    writer.close()


async def test_aggregates_in_every_format(query: Query, stored: Database) -> None:
    """The flat formats have a row for each point: its tags, its time, its numbers; filled and ordered as in JSON."""
    start = NOW.replace(minute=0, second=0)
    stored.store(
        "cpu", [Point((("host", host),), start, {"v": value, "w": 1.0}) for host, value in (("a", 1.0), ("b", 2.5))]
    )
    asked = f"metric=cpu.v&metric=cpu.w&fn=max,count&by=host&step=30m&start={int(start.timestamp())}&fill=null"
    path = f"/api/v1/aggregate?{asked}&end={int(start.timestamp()) + 3600}"
    times = [written(start), written(start + timedelta(minutes=30))]
    _, body, _ = await fetched(query, f"{path}&format=csv")
    assert body.decode().split("\r\n") == [
        "host,time,max(cpu.v),count(cpu.v),max(cpu.w),count(cpu.w)",
        f"a,{times[0]},1.0,1,1.0,1",
        f"a,{times[1]},,,,",
        f"b,{times[0]},2.5,1,1.0,1",
        f"b,{times[1]},,,,",
        "",
    ]
    _, body, _ = await fetched(query, f"{path}&format=ndjson")
    rows = [json.loads(line) for line in body.splitlines()]
    assert rows[2] == {
        "host": "b",
        "time": times[0],
        "max(cpu.v)": 2.5,
        "count(cpu.v)": 1,
        "max(cpu.w)": 1,
        "count(cpu.w)": 1,
    }
    _, body, _ = await fetched(query, f"{path}&format=arrow")
    table = pa.ipc.open_stream(body).read_all()
    assert table.column("count(cpu.v)").to_pylist() == [1, None, 1, None]
    assert table.column("time").to_pylist() == 2 * [start, start + timedelta(minutes=30)]
    async with query.client.post(
        f"{query.url}/api/v1/aggregate", json={"metric": "cpu.v", "by": "host", "start": "-1d", "format": "csv"}
    ) as response:
        assert (await response.text()).splitlines() == ["host,avg(cpu.v)", "a,1.0", "b,2.5"]


NONE: list[float | None] = [1.5, math.nan, math.inf, -math.inf, None]
"""A number, some that are none, and none at all."""


@pytest.mark.parametrize(
    ("path", "column", "in_json"),
    [
        ("points?start=-1h&metric=cpu.v&metric=cpu.w", "v", lambda told: [one[3] for one in told["points"]]),
        ("last?measurement=cpu", "v", lambda told: [one["fields"].get("v") for one in told["series"]]),
        (
            "aggregate?metric=cpu.v&metric=cpu.w&fn=max&by=host",
            "max(cpu.v)",
            lambda told: [one["values"]["cpu.v"]["max"] for one in told["series"]],
        ),
    ],
)
async def test_numbers_that_are_none(
    query: Query, stored: Database, path: str, column: str, in_json: Callable[[Any], list[Any]]
) -> None:
    """CSV and Arrow tell them from each other and from what is missing; JSON and NDJSON have null for all of them."""
    told = [{"v": one, "w": 1.0} if one is not None else {"w": 1.0} for one in NONE]
    at = NOW - timedelta(minutes=1)
    stored.store("cpu", [Point((("host", str(host)),), at, fields) for host, fields in enumerate(told)])
    bodies = {form: (await fetched(query, f"/api/v1/{path}&format={form}"))[1] for form in FORMATS}
    assert in_json(json.loads(bodies["json"])) == [1.5, None, None, None, None]
    assert [json.loads(line)[column] for line in bodies["ndjson"].splitlines()] == [1.5, None, None, None, None]
    rows = csv.DictReader(io.StringIO(bodies["csv"].decode(), newline=""))
    assert [row[column] for row in rows] == ["1.5", "NaN", "Infinity", "-Infinity", ""]
    assert repr(pa.ipc.open_stream(bodies["arrow"]).read_all().column(column).to_pylist()) == repr(NONE)


async def test_a_long_aggregate_is_sent_as_it_is_made(database: str, stored: Database, serve_query: ServeQuery) -> None:
    """Its series are whole in JSON, however many batches their points come in."""
    start = NOW.replace(minute=0, second=0) - timedelta(hours=2)
    points = [
        Point((("host", host),), start + second * timedelta(seconds=1), {"v": float(second)})
        for host in "abc"
        for second in range(1500)
    ]
    stored.store("cpu", points)
    query = await serve_query(database, max_held_bytes=0)
    await query.until_ready()
    answer = await query.aggregate(metric="cpu.v", by="host", step="1s", start=written(start))
    assert [one["tags"]["host"] for one in answer["series"]] == ["a", "b", "c"]
    for series in answer["series"]:
        assert [value for _, value in series["points"]] == [float(second) for second in range(1500)]


@pytest.mark.parametrize("coding", ["identity", "gzip", "zstd"])
async def test_a_short_answer_of_many_numbers(query: Query, stored: Database, coding: str) -> None:
    """One curve is answered in one go: it is the one that there is when series are told apart, in every format.

    It has a length, though it is longer than what is sent at a time, and a HEAD has the same.
    """
    start = NOW.replace(minute=0, second=0) - timedelta(hours=1)
    times = [start + second * timedelta(seconds=1) for second in range(BATCH_ROWS - 1)]
    stored.store("cpu", [Point((("host", "a"),), time, {"v": time.timestamp() / 7}) for time in times])
    functions = "avg,min,max,sum,count,first,last,median,p10,p90"
    end = written(start + (BATCH_ROWS - 1) * timedelta(seconds=1))
    path = f"/api/v1/aggregate?metric=cpu.v&fn={functions}&step=1s&start={written(start)}&end={end}"
    bodies = {}
    for name in ("json", "csv", "ndjson", "arrow"):
        headers = {"Accept-Encoding": coding}
        status, body, response = await fetched(query, f"{path}&format={name}", **headers)
        assert (status, response.headers.get("Content-Encoding", "identity")) == (200, coding)
        assert len(body) > SLICE_BYTES
        if coding != "zstd":  # which the client does not take in an answer to HEAD
            async with query.client.head(f"{query.url}{path}&format={name}", headers=headers) as head:
                assert head.headers["Content-Length"] == response.headers["Content-Length"]
        bodies[name] = body
    _, apart, _ = await fetched(query, f"{path}&by=host")
    (series,), (alone,) = json.loads(apart)["series"], json.loads(bodies["json"])["series"]
    assert alone == {"tags": {}, "points": series["points"]}
    assert [point[0] for point in alone["points"]] == [written(time) for time in times]
    _, *lines = csv.reader(io.StringIO(bodies["csv"].decode(), newline=""))
    assert [[line[0], *map(float, line[1:])] for line in lines] == alone["points"]
    rows = [json.loads(line) for line in bodies["ndjson"].splitlines()]
    assert [list(row.values()) for row in rows] == alone["points"]
    table = pa.ipc.open_stream(bodies["arrow"]).read_all().to_pylist()
    assert [[written(time), *numbers] for time, *numbers in (row.values() for row in table)] == alone["points"]
