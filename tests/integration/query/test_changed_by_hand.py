"""What somebody has changed by hand, in SQL, of the tables that ingest makes: it is answered, or it is told."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from tests.integration.query.conftest import Database, Query, ServeQuery
from tests.integration.query.fleet import START, at, fleet
from tests.integration.query.reference import Point

RANGE = {"start": START.isoformat(), "end": at(24 * 60).isoformat()}
Asked = list[tuple[str, dict[str, Any]]]
NUMBERS: Asked = [
    ("aggregate", {"metric": "m.x", "fn": "avg,min,max,sum,count", "by": "host", "step": "1h", **RANGE}),
    ("aggregate", {"metric": "m.x", "fn": "first,last,stddev,median", "by": "host,region", **RANGE}),
    ("aggregate", {"metric": "m.x", "fn": "rate,increase,delta", "by": "host", "step": "1h", **RANGE}),
    ("aggregate", {"metric": "m.x", "fn": "max", "match": "host=a", "step": "1h", **RANGE}),
    ("points", {"measurement": "m", **RANGE}),
    ("points", {"where": "m.x>50", "match": "host=a", **RANGE}),
    ("last", {"since": RANGE["start"], "measurement": "m"}),
    ("last", {"since": RANGE["start"], "metric": "m.x"}),
]
"""What asks for m.x, or for m, by name."""
LAST: Asked = [("last", {"since": RANGE["start"]})]
"""What reads m.x with all the others."""
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
    before = await heard(query, [*NUMBERS, *LAST])
    assert {status for status, _ in before} == {200}
    change(stored, f"ALTER TABLE points.m ALTER COLUMN x TYPE {kind}")
    assert await heard(query, [*NUMBERS, *LAST]) == before


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
    for status, body in await heard(query, [(path, {**one, "measurement": "m"}) for path, one in LISTS]):
        assert status == 200 or (statement.startswith("series_id") and told in body.decode())
    assert {status for status, _ in await heard(query, [*LAST, *LISTS])} == {200}


async def warned(query: Query, path: str, parameters: dict[str, Any]) -> tuple[Any, list[str]]:
    """The answer in JSON, and its warnings, which every other format has in its head."""
    status, answer = await query.get(f"/api/v1/{path}", parameters)
    assert status == 200, answer
    for form in FORMATS:
        told = {**parameters, "format": form}
        async with query.client.get(f"{query.url}/api/v1/{path}", params=told) as response:
            assert response.headers.get("Tidemark-Warning", "") == "; ".join(answer.get("warnings", []))
    return answer, answer.pop("warnings", [])


@pytest.mark.parametrize(
    ("kind", "left"),
    [
        ("boolean USING x > 50", []),
        ("timestamptz USING to_timestamp(x)", []),
        ("text[] USING ARRAY[x::text]", []),
        ("bytea USING ''", []),
        ("text USING CASE WHEN series_id = 1 THEN 'much' ELSE x::text END", ["b", "c"]),
        ("jsonb USING CASE WHEN series_id = 1 THEN '{}' ELSE to_jsonb(x) END", ["b", "c"]),
    ],
)
async def test_what_is_no_number_is_left_out_among_others(
    query: Query, stored: Database, kind: str, left: list[str]
) -> None:
    """Of all measurements all else is answered, as it was before, and a warning names the column."""
    before, _ = await warned(query, *LAST[0])
    lists = await heard(query, LISTS)
    change(stored, f"ALTER TABLE points.m ALTER COLUMN x TYPE {kind}")
    for one in before["series"]:
        if one["measurement"] == "m" and one["host"] not in left:
            del one["fields"]["x"]
    answer, warnings = await warned(query, *LAST[0])
    assert answer == before
    (warning,) = warnings
    assert warning.startswith("points.m has x as ")
    assert warning.endswith(", not double precision: what is no number is left out")
    assert await heard(query, LISTS) == lists
    stored.execute("DELETE FROM points.n")
    page, warnings = await warned(query, "last", {**LAST[0][1], "limit": 1, "search": "a"})
    assert (page["series"], warnings) == (before["series"][:1], [warning])


async def test_a_table_without_its_series_is_left_out_among_others(query: Query, stored: Database) -> None:
    """Of the lists of all measurements its points are missing, and a warning says so; those of no points have it."""
    before, _ = await warned(query, *LAST[0])
    kept = [one for one in before["series"] if one["measurement"] == "n"]
    change(stored, "ALTER TABLE points.m ALTER COLUMN series_id TYPE text")
    warning = "points.m has series_id as text, not integer: its points are left out"
    assert await warned(query, *LAST[0]) == ({**before, "series": kept}, [warning])
    for path, parameters in LISTS:
        answer, warnings = await warned(query, path, parameters)
        assert warnings == ([warning] if parameters else [])
        if parameters and path == "series":
            assert {one["measurement"] for one in answer["series"]} == {"n"}
    stored.execute("DROP TABLE points.n CASCADE")
    for path, parameters in (*LAST, ("series", {"start": RANGE["start"]})):
        answer, warnings = await warned(query, path, parameters)
        assert (answer["series"], warnings) == ([], [warning])


async def test_many_columns_that_are_no_numbers(query: Query, stored: Database) -> None:
    """The warning names some of them, whatever their names are, and how many more there are."""
    names = ["\u6f22\n", *(f"f{number}" for number in range(8))]
    stored.store("\u00e4", [Point((("host", "a"),), START, dict.fromkeys(names, 1.0))])
    stored.execute('DROP VIEW metrics."\u00e4" CASCADE')
    for name in names:
        stored.execute(f'ALTER TABLE points."\u00e4" ALTER COLUMN "{name}" TYPE boolean USING true')
    answer, warnings = await warned(query, *LAST[0])
    assert [one["fields"] for one in answer["series"] if one["measurement"] == "\u00e4"] == [{}]
    assert len(answer["series"]) > 1
    column = 'points."\\xe4" has {} as boolean, not double precision: what is no number is left out'
    assert warnings[:-1] == [column.format(f"f{number}") for number in range(5)]
    assert warnings[-1] == "so it is with 4 more columns"


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
    answers = await heard(query, [*NUMBERS, *LAST, *LISTS])
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
