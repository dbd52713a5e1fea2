"""New measurements, fields and series: made by several ingestors at once, within limits, beside readers."""

from __future__ import annotations

import asyncio

import psycopg

from tests.integration.conftest import Heard, Ingest, ServeIngest
from tests.integration.ingest.conftest import Write

T = 1_700_000_000


async def test_fifty_first_writes_of_the_same_new_things(serve_ingest: ServeIngest, write: Write) -> None:
    """Three ingestors meet the same new measurement, fields and series at one moment: each is made once."""
    ingestors = [await serve_ingest() for _ in range(3)]
    requests = [[f"m,host=h{host} f=1,g=2 {T + number}" for host in range(10)] for number in range(50)]
    replies = await asyncio.gather(*(write(ingestors[number % 3], *request) for number, request in enumerate(requests)))
    assert {reply.status for reply in replies} == {204}
    assert ingestors[0].rows("SELECT count(*), count(DISTINCT host), min(f), min(g) FROM m") == [(500, 10, 1.0, 2.0)]
    assert ingestors[0].rows("SELECT count(*) FROM catalog.series") == [(10,)]
    assert ingestors[0].rows("SELECT array_agg(name ORDER BY id) FROM catalog.field") == [(["f", "g"],)]
    assert sum([await ingest.counted("ingest_database_errors_total") for ingest in ingestors]) == 0


async def test_fifty_requests_each_with_fields_of_its_own(serve_ingest: ServeIngest, write: Write) -> None:
    """Fields that come from all sides at once are all made, and the view has them; nobody is refused."""
    ingestors = [await serve_ingest(retry_seconds=30) for _ in range(3)]
    replies = await asyncio.gather(
        *(write(ingestors[number % 3], f"m,host=a f{number}={number},g{number % 7}=1 {T}") for number in range(50))
    )
    assert {reply.status for reply in replies} == {204}
    row = ingestors[0].rows("SELECT to_jsonb(m) FROM m")[0][0]
    assert [row[f"f{number}"] for number in range(50)] == list(range(50))
    assert [row[f"g{number}"] for number in range(7)] == [1] * 7
    assert sum([await ingest.counted("ingest_database_errors_total", sqlstate="40P01") for ingest in ingestors]) == 0


async def test_a_long_reader_delays_a_new_field_and_nothing_else(
    serve_ingest: ServeIngest, write: Write, database: str
) -> None:
    """While somebody reads for long, known fields and new series are written, and a new field is refused."""
    ingest = await serve_ingest(retry_seconds=3)
    assert (await write(ingest, f"m,host=a f=0 {T}")).status == 204
    with psycopg.connect(database) as reader:
        reader.execute("SELECT FROM points.m")
        grows = asyncio.create_task(write(ingest, f"m,host=a f=1,g=1 {T + 1}"))
        known: list[Heard] = []
        while not grows.done():
            known.append(await write(ingest, f"m,host=a f=2 {T + 2 + len(known)}"))
            known.append(await write(ingest, f"m,host=new{len(known)} f=2 {T}"))
        refused = await grows
        assert refused.status == 503
        assert "somebody uses 'm' for long" in refused.message
    assert {reply.status for reply in known} == {204}
    assert (await write(ingest, f"m,host=a f=1,g=1 {T + 1}")).status == 204
    assert ingest.rows("SELECT count(*), sum(g) FROM m") == [(len(known) + 2, 1.0)]


async def rejected(ingest: Ingest, reason: str) -> float:
    """How many points were rejected for this reason."""
    return await ingest.counted("ingest_points_rejected_total", reason=reason)


async def test_fields_past_the_limit(serve_ingest: ServeIngest, write: Write) -> None:
    """The points with a field too many are rejected with the limit's name; what fits is kept."""
    ingest = await serve_ingest(max_fields_per_measurement=3)
    reply = await write(
        ingest, f"m f=1,g=1 {T}", f"m f=2,h=1 {T + 1}", f"m i=1 {T + 2}", f"m f=3 {T + 3}", f"n i=1 {T}"
    )
    assert reply.status == 400
    assert (reply.body["accepted"], reply.body["rejected"]) == (4, 1)
    assert reply.body["rejections"][0]["line"] == 3
    assert reply.body["rejections"][0]["reason"] == "max_fields"
    assert "INGEST_MAX_FIELDS_PER_MEASUREMENT" in reply.body["message"]
    assert ingest.rows("SELECT f FROM m ORDER BY time") == [(1.0,), (2.0,), (3.0,)]
    assert await rejected(ingest, "max_fields") == 1
    late = await serve_ingest(max_fields_per_measurement=3)
    reply = await write(late, f"m i=1 {T}")
    assert (reply.status, reply.body["rejections"][0]["reason"]) == (400, "max_fields")


async def test_fields_past_what_a_table_can_have(
    serve_ingest: ServeIngest, write: Write, owner: psycopg.Connection
) -> None:
    """Columns that were dropped by hand still count for PostgreSQL: where it refuses one more, the others are kept."""
    ingest = await serve_ingest()
    assert (await write(ingest, f"m f=1 {T}")).status == 204
    for verbs in (("ADD", " float8"), ("DROP", "")) * 2:
        changes = ", ".join(f"{verbs[0]} COLUMN x{n}{verbs[1]}" for n in range(795))
        owner.execute(f"ALTER TABLE points.m {changes}".encode())
    more = ",".join(f"g{n}=1" for n in range(10))
    reply = await write(
        ingest, f"m,host=a f=2 {T + 1}", f"m,host=a {more} {T + 2}", f"m,host=b f=3 {T + 3}", f"n g=1 {T}"
    )
    assert (reply.status, reply.body["accepted"], reply.body["rejected"]) == (400, 3, 1)
    (rejection,) = reply.body["rejections"]
    assert (rejection["line"], rejection["reason"]) == (2, "database")
    assert rejection["message"] == "the database refuses a name: tables can have at most 1600 columns"
    assert ingest.rows("SELECT f FROM m ORDER BY time") == [(1.0,), (2.0,), (3.0,)]


async def test_measurements_past_the_limit(serve_ingest: ServeIngest, write: Write) -> None:
    """The points of one measurement too many are rejected with the limit's name; the others are kept."""
    ingest = await serve_ingest(max_measurements=2)
    assert (await write(ingest, f"m f=1 {T}", f"n f=1 {T}")).status == 204
    reply = await write(ingest, f"m f=2 {T + 1}", f"o f=1 {T}", f"o g=1 {T}")
    assert (reply.status, reply.body["accepted"], reply.body["rejected"]) == (400, 1, 2)
    assert [one["reason"] for one in reply.body["rejections"]] == ["max_measurements"] * 2
    assert "INGEST_MAX_MEASUREMENTS" in reply.body["message"]
    assert ingest.rows("SELECT f FROM m ORDER BY time") == [(1.0,), (2.0,)]
    assert await rejected(ingest, "max_measurements") == 2


async def test_series_past_the_limit(serve_ingest: ServeIngest, write: Write) -> None:
    """The points of series too many are rejected with the limit's name; the others are kept."""
    ingest = await serve_ingest(max_series=2)
    reply = await write(ingest, *(f"m,host={host} f=1 {T + n}" for n, host in enumerate("abcacb")))
    assert (reply.status, reply.body["accepted"], reply.body["rejected"]) == (400, 4, 2)
    assert [one["line"] for one in reply.body["rejections"]] == [3, 5]
    assert {one["reason"] for one in reply.body["rejections"]} == {"max_series"}
    assert "INGEST_MAX_SERIES" in reply.body["message"]
    assert ingest.rows("SELECT host, count(*) FROM m GROUP BY host ORDER BY host") == [("a", 2), ("b", 2)]
    assert await rejected(ingest, "max_series") == 2


async def test_new_series_past_the_limit_of_a_minute(
    serve_ingest: ServeIngest, write: Write, owner: psycopg.Connection
) -> None:
    """The points of series too many are rejected with the limit's name; known series are none, and a minute passes."""
    ingest = await serve_ingest(max_new_series_per_minute=2)
    reply = await write(ingest, *(f"m,host={host} f=1 {T + n}" for n, host in enumerate("abcacb")))
    assert (reply.status, reply.body["accepted"], reply.body["rejected"]) == (400, 4, 2)
    assert [one["line"] for one in reply.body["rejections"]] == [3, 5]
    assert {one["reason"] for one in reply.body["rejections"]} == {"max_new_series"}
    assert "INGEST_MAX_NEW_SERIES_PER_MINUTE" in reply.body["message"]
    assert await rejected(ingest, "max_new_series") == 2
    restarted = await serve_ingest(max_new_series_per_minute=1)
    assert (await write(restarted, *(f"m,host={host} f=2 {T + 9}" for host in "ab"))).status == 204
    owner.execute("UPDATE catalog.series_growth SET minute = minute - interval '1 minute'")
    assert (await write(ingest, f"m,host=c f=1 {T}")).status == 204
    assert ingest.rows("SELECT host, count(*) FROM m GROUP BY host ORDER BY host") == [("a", 3), ("b", 3), ("c", 1)]


async def test_limits_hold_for_all_ingestors_together(serve_ingest: ServeIngest, write: Write) -> None:
    """Ingestors that approach a limit from all sides at once stop exactly there, and each point has one fate."""
    ingestors = [await serve_ingest(max_series=20, max_fields_per_measurement=8, max_measurements=3) for _ in range(3)]
    replies = await asyncio.gather(
        *(write(ingestors[n % 3], *(f"m,host=h{n}_{host} f=1 {T}" for host in range(5))) for n in range(9)),
        *(write(ingestors[n % 3], f"n,host=a f{n}=1,g{n}=1 {T}") for n in range(9)),
        *(write(ingestors[n % 3], f"o{n},host=a f=1 {T}") for n in range(9)),
    )
    assert {reply.status for reply in replies} <= {204, 400}
    assert ingestors[0].rows("SELECT count(*) FROM catalog.series")[0][0] <= 20
    assert ingestors[0].rows("SELECT count(*) FROM catalog.measurement") == [(3,)]
    assert max(ingestors[0].rows("SELECT count(*) FROM catalog.field GROUP BY measurement_id"))[0] <= 8
    accepted = sum([await ingest.counted("ingest_points_accepted_total") for ingest in ingestors])
    refused = sum([await ingest.counted("ingest_points_rejected_total") for ingest in ingestors])
    assert accepted + refused == 45 + 9 + 9
    names = [name for (name,) in ingestors[0].rows("SELECT name FROM catalog.measurement")]
    stored = [ingestors[0].rows(f'SELECT count(*), count(DISTINCT (series_id, time)) FROM points."{n}"') for n in names]
    assert sum(rows for ((rows, _),) in stored) <= accepted


async def test_a_row_as_wide_as_the_limit(serve_ingest: ServeIngest, write: Write) -> None:
    """A point of a thousand fields fits, in one piece and field by field."""
    ingest = await serve_ingest()
    fields = [f"f{number}={number}" for number in range(1000)]
    assert (await write(ingest, f"m {','.join(fields)} {T}")).status == 204
    assert (await write(ingest, *(f"m {field} {T + 1}" for field in fields))).status == 204
    reply = await write(ingest, f"m f1000=1 {T}")
    assert (reply.status, reply.body["rejections"][0]["reason"]) == (400, "max_fields")
    rows = ingest.rows("SELECT to_jsonb(m) - 'time' - 'host' - 'tags' FROM m")
    assert rows == [({f"f{number}": number for number in range(1000)},)] * 2
