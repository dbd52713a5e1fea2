"""The rungs of the ladder, each provoked on the real database: what the callers hear, what is counted, what is
stored, and that the writer goes on."""

from __future__ import annotations

import asyncio

import psycopg
import pytest

from tests.integration.conftest import Ingest, ServeIngest
from tests.integration.ingest.conftest import DEADLINE_SECONDS, Blocked, T, Together, Write, goes_on


async def test_new_points_are_copied(known: Ingest, write: Write) -> None:
    """A request of several measurements and shapes is one transaction of plain COPY."""
    before = await known.counted("ingest_ladder_total", rung="copy")
    reply = await write(known, f"m,host=a f=1 {T}", f"m,host=b f=1,g=2 {T}", f"n,host=a f=3 {T}")
    assert reply.status == 204
    assert reply.headers["Tidemark-Durability"] == "committed"
    assert await known.counted("ingest_ladder_total", rung="copy") == before + 1
    assert await known.counted("ingest_ladder_total", rung="merge") == 0
    assert known.rows("SELECT host, f, g FROM m WHERE time > '2023-01-01' ORDER BY host") == [
        ("a", 1.0, None),
        ("b", 1.0, 2.0),
    ]


async def test_a_repeated_point_merges_its_fields(known: Ingest, write: Write) -> None:
    """Fields of one series and time come together in one row, the last value wins, what is not given stays."""
    assert (await write(known, f"m,host=a f=1,g=1 {T}")).status == 204
    assert (await write(known, f"m,host=a g=2,h=2 {T}", f"m,host=a h=3 {T}", f"m,host=a i=4 {T}")).status == 204
    assert known.rows("SELECT f, g, h, i FROM m WHERE time > '2023-01-01'") == [(1.0, 2.0, 3.0, 4.0)]
    assert await known.counted("ingest_ladder_total", rung="merge") == 1
    assert await known.counted("ingest_database_errors_total", sqlstate="23505") == 1
    assert await known.counted("ingest_points_accepted_total") == 5


async def test_a_point_twice_in_one_request_is_one_row(known: Ingest, write: Write) -> None:
    """Of two values in one request the later wins, in one shape and across shapes."""
    reply = await write(known, f"m f=1 {T}", f"m f=2 {T}", f"m f=4,g=1 {T + 1}", f"m f=3 {T + 1}")
    assert reply.status == 204
    assert known.rows("SELECT f, g FROM m WHERE host IS NULL ORDER BY time") == [(2.0, None), (3.0, 1.0)]


async def test_shapes_that_are_merged_together_leave_each_other_alone(known: Ingest, write: Write) -> None:
    """Points that are there already keep the fields that only other points of the same request have."""
    assert (await write(known, f"m,host=a f=1,g=1 {T}", f"m,host=b f=1,g=1 {T}")).status == 204
    assert (await write(known, f"m,host=a f=2 {T}", f"m,host=b g=2 {T}")).status == 204
    assert known.rows("SELECT host, f, g FROM m WHERE time > '2023-01-01' ORDER BY host") == [
        ("a", 2.0, 1.0),
        ("b", 1.0, 2.0),
    ]


async def test_requests_of_one_group_merge_in_their_order(known: Ingest, write: Write, together: Together) -> None:
    """Requests with the same point that are committed together leave the last one's value."""
    assert (await write(known, "m f=0,g=0 1600000000")).status == 204
    replies = await together(known, f"m f=1,g=1 {T}", f"m f=2 {T}", f"m g=3,f=3 {T}", f"m f=4 {T}")
    assert [reply.status for reply in replies] == [204] * 4
    assert known.rows("SELECT f, g FROM m WHERE time > '2023-01-01'") == [(4.0, 3.0)]


async def test_a_point_that_another_writer_has_not_committed_yet_is_merged_with(
    known: Ingest, write: Write, owner: psycopg.Connection, blocked: Blocked, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A COPY waits only for a moment for another's transaction; then it waits in the merge, and succeeds."""
    monkeypatch.setattr("ingest.ladder.LONG_WAIT_SECONDS", DEADLINE_SECONDS)
    assert (await write(known, "m,host=a f=0,g=0 1600000000")).status == 204
    with owner.transaction():
        owner.execute(
            "INSERT INTO points.m (time, series_id, f) SELECT to_timestamp(%s), id, 7 FROM catalog.series", (T,)
        )
        reply = asyncio.create_task(write(known, f"m,host=a g=8 {T}"))
        await blocked("INSERT INTO")
    assert (await reply).status == 204
    assert known.rows("SELECT f, g FROM m WHERE time > '2023-01-01'") == [(7.0, 8.0)]
    assert await known.counted("ingest_database_errors_total", sqlstate="55P03") == 1


async def test_a_refused_value_fails_its_own_request_alone(
    known: Ingest, write: Write, together: Together, owner: psycopg.Connection
) -> None:
    """The request with a value that only the database refuses hears so; others of its group are committed."""
    owner.execute("ALTER TABLE points.m ADD CONSTRAINT below_hundred CHECK (f < 100)")
    replies = await together(known, f"m,host=a f=1 {T}", f"m,host=a f=666 {T + 1}", f"m,host=a f=2 {T + 2}")
    assert [reply.status for reply in replies] == [204, 400, 204]
    assert "below_hundred" in replies[1].body["message"]
    assert replies[1].body["sqlstate"] == "23514"
    assert known.rows("SELECT f FROM m WHERE time > '2023-01-01' ORDER BY f") == [(1.0,), (2.0,)]
    assert await known.counted("ingest_ladder_total", rung="isolate") == 1
    assert await known.counted("ingest_ladder_total", rung="reject") == 1
    assert await known.counted("ingest_points_rejected_total", reason="database") == 1
    assert await goes_on(known, write)


async def test_a_duplicate_that_cannot_be_merged_is_refused(
    known: Ingest, write: Write, owner: psycopg.Connection
) -> None:
    """A unique index that somebody added does not keep the writer going in circles."""
    owner.execute("CREATE UNIQUE INDEX ON points.m (f, time)")
    assert (await write(known, f"m,host=a f=1 {T}")).status == 204
    reply = await write(known, f"m,host=b f=1 {T}")
    assert (reply.status, reply.body["sqlstate"]) == (400, "23505")
    assert await goes_on(known, write)


FAILURES = """
    CREATE TABLE IF NOT EXISTS public.failure (value float8, code text, times int, tries text);
    GRANT SELECT ON public.failure TO tidemark_ingest;
    CREATE OR REPLACE FUNCTION public.fail() RETURNS trigger LANGUAGE plpgsql AS $$
    DECLARE planned public.failure;
    BEGIN
        SELECT * INTO planned FROM public.failure WHERE value = NEW.f;
        IF FOUND AND nextval(planned.tries) <= planned.times THEN
            RAISE EXCEPTION 'as the test wants' USING ERRCODE = planned.code;
        END IF;
        RETURN NEW;
    END $$;
    CREATE OR REPLACE TRIGGER fail BEFORE INSERT ON points.m FOR EACH ROW EXECUTE FUNCTION public.fail();
    CREATE SEQUENCE public.tries_{0};
    GRANT USAGE ON public.tries_{0} TO tidemark_ingest;
    INSERT INTO public.failure VALUES ({0}, '{1}', {2}, 'public.tries_{0}');
"""


def let_fail(owner: psycopg.Connection, value: int, code: str, times: int = 1_000_000) -> None:
    """Have a trigger raise an SQLSTATE for points of measurement m with this value, as often as said."""
    owner.execute(FAILURES.format(value, code, times).encode())


async def test_an_error_nobody_foresaw_is_tried_again_alone(
    hasty: Ingest, write: Write, together: Together, owner: psycopg.Connection
) -> None:
    """The request that meets a damaged catalog is refused for now, not for good; the others are committed."""
    assert (await write(hasty, f"m,host=a f=0 {T}")).status == 204  # the chunk, which gets the trigger too
    owner.execute(
        "CREATE FUNCTION public.gone() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$;"
        "CREATE TRIGGER gone BEFORE INSERT ON points.m FOR EACH ROW WHEN (NEW.f = 666) EXECUTE FUNCTION public.gone();"
        "DELETE FROM pg_proc WHERE oid = 'public.gone'::regproc"
    )
    replies = await together(hasty, f"m,host=a f=1 {T + 1}", f"m,host=a f=666 {T + 2}", f"m,host=a f=2 {T + 3}")
    assert [reply.status for reply in replies] == [204, 503, 204]
    assert "cache lookup failed for function" in replies[1].message
    assert await hasty.counted("ingest_database_errors_total", sqlstate="XX000") >= 3
    assert await hasty.counted("ingest_ladder_total", rung="isolate") == 1
    assert await hasty.counted("ingest_points_refused_total") == 1
    owner.execute("DROP TRIGGER gone ON points.m")
    assert (await write(hasty, f"m,host=a f=666 {T + 2}")).status == 204


async def test_an_outage_ends_the_trying_one_by_one(
    known: Ingest, together: Together, owner: psycopg.Connection
) -> None:
    """When the server fails while requests are tried alone, the rest wait and go together afterwards."""
    let_fail(owner, 666, "XX000", times=2)
    let_fail(owner, 777, "57P03", times=1)
    before = await known.counted("ingest_ladder_total", rung="copy")
    values = (666, 777, 1, 2, 3)
    replies = await together(known, *(f"m,host=a f={value} {T + place}" for place, value in enumerate(values)))
    assert [reply.status for reply in replies] == [204] * 5
    assert known.rows("SELECT f FROM m WHERE time > '2023-01-01' ORDER BY time") == [(value,) for value in values]
    # The busy points of the test, the four that waited, and the one that was tried again alone.
    assert await known.counted("ingest_ladder_total", rung="copy") == before + 2 + 1 + 1


async def test_points_under_way_are_waited_for(
    serve_ingest: ServeIngest, write: Write, made: None, owner: psycopg.Connection
) -> None:
    """A transaction that takes longer than a request may wait is not given up, and succeeds or fails as it does."""
    ingest = await serve_ingest(copiers=1, retry_seconds=0.5)
    assert (await write(ingest, "m,host=a f=0 1600000000")).status == 204
    owner.execute(
        "CREATE FUNCTION public.dawdle() RETURNS trigger LANGUAGE plpgsql "
        "AS $$ BEGIN PERFORM pg_sleep(1); RETURN NEW; END $$"
    )
    owner.execute("CREATE TRIGGER dawdle BEFORE INSERT ON points.m FOR EACH ROW EXECUTE FUNCTION public.dawdle()")
    let_fail(owner, 666, "40001")
    assert (await write(ingest, f"m,host=a f=1 {T}")).status == 204
    assert ingest.rows("SELECT f FROM m WHERE time > '2023-01-01'") == [(1.0,)]
    assert (await write(ingest, f"m,host=a f=666 {T + 1}")).status == 503
    assert await ingest.counted("ingest_database_errors_total", sqlstate="40001") == 1


async def test_a_locked_table_holds_up_nobody_else(
    hasty: Ingest, write: Write, together: Together, owner: psycopg.Connection, database: str
) -> None:
    """While somebody keeps a table locked, its requests are refused and those of other tables are committed."""
    assert (await write(hasty, "n f=0 1600000000")).status == 204
    with psycopg.connect(database) as other:
        other.execute("LOCK TABLE points.n IN ACCESS EXCLUSIVE MODE")
        replies = await together(hasty, f"m,host=a f=1 {T}", f"n f=1 {T}", f"m,host=a f=2 {T + 1}")
        assert [reply.status for reply in replies] == [204, 503, 204]
        assert "lock timeout" in replies[1].body["message"]
    assert (await write(hasty, f"n f=1 {T}")).status == 204


async def test_a_table_dropped_by_hand_is_made_again(
    known: Ingest, write: Write, together: Together, owner: psycopg.Connection
) -> None:
    """Its new points are committed under series of their own; others of the group do not suffer."""
    owner.execute("SELECT catalog.drop_rollups(id, '10m') FROM catalog.measurement; DROP TABLE points.m CASCADE")
    replies = await together(known, f"m,host=a f=1 {T}", f"busy f=2 {T}", f"m,host=b f=3 {T}")
    assert [reply.status for reply in replies] == [204, 204, 204]
    assert known.rows("SELECT host, f FROM m ORDER BY host") == [("a", 1.0), ("b", 3.0)]
    assert await known.counted("ingest_ladder_total", rung="relearn") >= 1


async def test_a_column_dropped_by_hand_fails_nobody_else(
    hasty: Ingest, write: Write, together: Together, owner: psycopg.Connection
) -> None:
    """What the catalog has and the table lacks is told to those who send it, again and again, and to no others."""
    owner.execute("SELECT catalog.drop_rollups(id, '10m') FROM catalog.measurement")
    owner.execute("ALTER TABLE points.m DROP COLUMN f CASCADE")
    replies = await together(hasty, f"m,host=a f=1 {T}", f"busy f=2 {T}")
    assert [reply.status for reply in replies] == [503, 204]
    assert 'column "f"' in replies[0].body["message"]


RETYPE = """SELECT catalog.drop_rollups(id, '10m') FROM catalog.measurement;
            DROP VIEW metrics.m CASCADE; ALTER TABLE points.m"""


@pytest.mark.parametrize("kind", ["numeric", "bigint", "integer", "real", "text"])
async def test_a_column_changed_by_hand_takes_what_it_can(
    known: Ingest, write: Write, together: Together, owner: psycopg.Connection, kind: str
) -> None:
    """A number is stored as the column's type has it: the bytes of a double are not taken for something else."""
    owner.execute(f"{RETYPE} ALTER f TYPE {kind}".encode())
    replies = await together(known, f"m,host=a f=2 {T}", f"busy f=3 {T}")
    assert [reply.status for reply in replies] == [204, 204]
    assert (await write(known, f"m,host=a f=4 {T}", f"m,host=b f=5 {T}")).status == 204
    stored = "SELECT f::float8 FROM points.m WHERE time > '2023-01-01' ORDER BY series_id"
    assert known.rows(stored) == [(4.0,), (5.0,)]


async def test_a_column_changed_to_no_number_fails_nobody_else(
    hasty: Ingest, write: Write, together: Together, owner: psycopg.Connection
) -> None:
    """Though a double has as many bytes: it is told to those who send it, and to no others."""
    owner.execute(f"{RETYPE} ALTER f TYPE timestamptz USING to_timestamp(f)".encode())
    replies = await together(hasty, f"m,host=a f=1 {T}", f"busy f=2 {T}")
    assert [reply.status for reply in replies] == [503, 204]
    assert 'column "f" is of type timestamp with time zone' in replies[0].body["message"]


async def test_a_fault_of_ingest_is_answered(
    known: Ingest, write: Write, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """When our own code fails the request hears so at once, the log has it once, and the writer goes on."""

    def broken(columns: object) -> bytes:
        raise ZeroDivisionError("as the test wants")

    with monkeypatch.context() as patch:
        patch.setattr("ingest.ladder.encode", broken)
        reply = await write(known, f"m,host=a f=1 {T}")
    assert (reply.status, reply.body["code"]) == (500, "internal error")
    assert capsys.readouterr().out.count("ZeroDivisionError: as the test wants") == 1
    assert await known.counted("ingest_points_refused_total") == 1
    assert await goes_on(known, write)
