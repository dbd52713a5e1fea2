"""What somebody has changed by hand, in SQL, of the tables that ingest makes: it is answered, or it is told."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from tests.integration.query.conftest import Database, Query, ServeQuery
from tests.integration.query.fleet import START, at, fleet

RANGE = {"start": START.isoformat(), "end": at(24 * 60).isoformat()}
Asked = list[tuple[str, dict[str, Any]]]
NUMBERS: Asked = [
    ("aggregate", {"metric": "m.x", "fn": "avg,min,max,sum,count", "by": "host", "step": "1h", **RANGE}),
    ("aggregate", {"metric": "m.x", "fn": "first,last,stddev,median", "by": "host,region", **RANGE}),
    ("aggregate", {"metric": "m.x", "fn": "rate,increase,delta", "by": "host", "step": "1h", **RANGE}),
    ("aggregate", {"metric": "m.x", "fn": "max", "match": "host=a", "step": "1h", **RANGE}),
    ("points", {"measurement": "m", **RANGE}),
    ("points", {"where": "m.x>50", "match": "host=a", **RANGE}),
    ("last", {"since": RANGE["start"]}),
    ("last", {"since": RANGE["start"], "metric": "m.x"}),
]
"""What reads the column of m.x."""
LISTS: Asked = [
    (path, parameters)
    for path in ("series", "tags", "tags/host/values", "measurements")
    for parameters in ({}, {"start": RANGE["start"]})
] + [("hosts", {"since": RANGE["start"]})]
FORMATS = ("json", "csv", "ndjson", "arrow")


@pytest.fixture
async def query(database: str, stored: Database, serve_query: ServeQuery) -> Query:
    """Query that keeps nothing, and two measurements."""
    stored.store("m", fleet(days=1))
    stored.store("n", fleet(days=1))
    served = await serve_query(database, cache="off")
    await served.until_ready()
    return served


def change(stored: Database, *statements: str) -> None:
    """Change the table of `m`, which no view is in the way of, where TimescaleDB lets anybody do so."""
    try:
        for statement in ("DROP VIEW metrics.m CASCADE", *statements):
            stored.execute(statement)
    except (psycopg.errors.FeatureNotSupported, psycopg.errors.DependentObjectsStillExist) as refused:
        pytest.skip(f"what is compressed and rolled up cannot be changed so: {refused.diag.message_primary}")


async def heard(query: Query, asked: Asked) -> list[tuple[int, bytes]]:
    """Statuses and bodies, in every format."""
    answers = []
    for path, parameters in asked:
        for form in FORMATS:
            told = {**parameters, "format": form}
            async with query.client.get(f"{query.url}/api/v1/{path}", params=told) as response:
                answers.append((response.status, await response.read()))
    return answers


@pytest.mark.parametrize("kind", ["numeric", "real", "bigint", "smallint", "text", "jsonb USING to_jsonb(x)"])
async def test_other_numbers_are_read_as_doubles(query: Query, stored: Database, kind: str) -> None:
    """A field whose column is of another type of numbers, or of their texts, is answered as it was, in every format."""
    before = await heard(query, NUMBERS)
    assert {status for status, _ in before} == {200}
    change(stored, f"ALTER TABLE points.m ALTER COLUMN x TYPE {kind}")
    assert await heard(query, NUMBERS) == before


@pytest.mark.parametrize(
    ("statement", "told"),
    [
        ("x TYPE boolean USING x > 50", "points.m has x as boolean, not double precision"),
        ("x TYPE timestamptz USING to_timestamp(x)", "points.m has x as timestamp with time zone, not double"),
        ("x TYPE text[] USING ARRAY[x::text]", "points.m has x as text[], not double precision"),
        ("x TYPE bytea USING ''", "points.m has x as bytea, not double precision"),
        ("x TYPE text USING 'much'", '\\"much\\": points.m has x as text, not double precision'),
        ("x TYPE jsonb USING '{}'", "points.m has x as jsonb, not double precision"),
        ("series_id TYPE text", "points.m has series_id as text, not integer"),
    ],
)
async def test_what_is_no_number_is_told(query: Query, stored: Database, statement: str, told: str) -> None:
    """A column of a type that cannot be read is named, with what is allowed; other measurements are answered."""
    change(stored, f"ALTER TABLE points.m ALTER COLUMN {statement}")
    for status, body in await heard(query, NUMBERS):
        assert status == 400, body
        assert told in body.decode()
        assert "allowed: the types with which ingest makes columns" in body.decode()
    assert {status for status, _ in await heard(query, LISTS)} <= {200, 400}
    assert (await query.get("/api/v1/last", {"measurement": "n", "since": RANGE["start"]}))[0] == 200


@pytest.mark.parametrize(
    ("statement", "told"),
    [
        ("ALTER TABLE points.m DROP COLUMN x", "column p.x does not exist"),
        ("ALTER TABLE points.m RENAME COLUMN x TO z", "column p.x does not exist"),
        ("DROP TABLE points.m", 'relation \\"points.m\\" does not exist'),
        ("ALTER TABLE points.m RENAME TO other", 'relation \\"points.m\\" does not exist'),
        ("ALTER TABLE points.m SET SCHEMA public", 'relation \\"points.m\\" does not exist'),
        ("REVOKE SELECT ON points.m FROM tidemark_query", "refuses its role tidemark_query: permission denied for"),
        ("REVOKE USAGE ON SCHEMA points FROM tidemark_query", "refuses its role tidemark_query: permission denied for"),
    ],
)
async def test_what_is_not_there_is_told(query: Query, stored: Database, statement: str, told: str) -> None:
    """A column or a table that is gone, or that query may not read, is named: as an outage, which somebody can mend."""
    change(stored, statement)
    answers = await heard(query, [*NUMBERS, *LISTS])
    assert {status for status, _ in answers} == {200, 503}
    assert [body for status, body in answers if status == 503 and told not in body.decode()] == []
    assert sum(status == 503 for status, _ in answers[: len(FORMATS) * len(NUMBERS)]) >= len(FORMATS) * 6


async def test_a_function_that_is_not_there(query: Query, stored: Database) -> None:
    """Where the schema itself lacks something, it is an outage, and no fault of what was asked."""
    stored.execute("ALTER FUNCTION catalog.stddev_of_moments RENAME TO other")
    for fn, status in (("stddev", 503), ("avg", 200)):
        assert (await query.get("/api/v1/aggregate", {"metric": "m.x", "fn": fn, **RANGE}))[0] == status


async def test_a_right_given_back(query: Query, stored: Database) -> None:
    """With its right query answers again, by itself."""
    stored.execute("REVOKE SELECT ON catalog.series FROM tidemark_query")
    assert (await query.get("/api/v1/series"))[0] == 503
    stored.execute("GRANT SELECT ON catalog.series TO tidemark_query")
    assert (await query.get("/api/v1/series"))[0] == 200


async def test_a_view_in_place_of_a_table(query: Query, stored: Database) -> None:
    """It is read as the table was; columns beside those of fields are nothing to query."""
    before = await heard(query, [*NUMBERS, *LISTS])
    change(
        stored,
        "ALTER TABLE points.m RENAME TO other",
        "ALTER TABLE points.other ADD COLUMN more jsonb, ADD COLUMN again text[]",
        "CREATE VIEW points.m AS SELECT * FROM points.other",
        "GRANT SELECT ON points.m TO tidemark_query",
    )
    assert await heard(query, [*NUMBERS, *LISTS]) == before


async def test_a_time_after_all_times(query: Query, stored: Database) -> None:
    """One that is written by hand after the year 9999 is told where it would be answered."""
    stored.execute("INSERT INTO points.m (time, series_id, x) VALUES ('infinity', 1, 3)")
    for path in ("last", "hosts"):
        status, answer = await query.get(f"/api/v1/{path}", {"since": RANGE["start"]})
        assert (status, "before the year 10000" in answer["message"]) == (400, True)
        assert (await query.get(f"/api/v1/{path}", {"since": RANGE["start"], "measurement": "n"}))[0] == 200


@pytest.mark.parametrize("tags", ['{"host": null, "region": 3}', '{"host": {"a": [1]}, "region": true}', "{}"])
async def test_tags_that_are_no_texts(query: Query, stored: Database, tags: str) -> None:
    """What ingest never makes of tags is answered all the same."""
    stored.execute("UPDATE catalog.series SET tags = %s, host = NULL WHERE id = 1", tags)
    found: Asked = [("series", {"match": "region=eu"}), ("series", {"search": "eu"})]
    assert {status for status, _ in await heard(query, [*NUMBERS, *LISTS, *found])} == {200}
