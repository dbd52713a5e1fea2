"""Compression by policy: what is compressed and when; late points and new fields fit in, and nothing is lost."""

from __future__ import annotations

import psycopg
import pytest
from psycopg import sql

from tests.community.stored import Measurement, Stored, in_webassembly


def chunks(m: Measurement) -> dict[str, int]:
    """The numbers of chunks: all, compressed, and those to be compressed (again)."""
    found = m.stored.rows(
        "SELECT chunks, compressed_chunks, due_chunks FROM catalog.storage_report() WHERE measurement = %s", m.name
    )
    return dict(zip(("all", "compressed", "due"), *found, strict=True))


def totals(m: Measurement) -> tuple[int, float]:
    """How many points there are, and the sum of their values."""
    ((count, total),) = m.stored.rows(sql.SQL("SELECT count(*), sum(f) FROM {}").format(m.points))
    return count, total


def test_a_series_is_a_segment(stored: Stored) -> None:
    """The newest points come first, and the job is there from the first moment on."""
    m = stored.new(compress_after="2h", chunk_interval="1h")
    assert stored.rows(
        "SELECT attname::text, segmentby_column_index, orderby_column_index, orderby_asc "
        "FROM timescaledb_information.compression_settings WHERE hypertable_name = %s ORDER BY 1",
        m.name,
    ) == [("series_id", 1, None, None), ("time", None, 1, False)]
    assert ("policy_compression", m.name) in m.jobs()
    assert m.apply() == []


def test_old_chunks_are_compressed(stored: Stored) -> None:
    """Those whose end is old enough, and no others; every point stays."""
    m = stored.new(compress_after="2h", chunk_interval="1h", retain_raw="forever")
    m.fill("9 hours", "0 hours", series=10)
    before = totals(m)
    assert chunks(m)["due"] in (6, 7)
    m.run("compression")
    now = chunks(m)
    assert now["compressed"] in (6, 7)
    assert 2 <= now["all"] - now["compressed"] <= 4
    assert now["due"] == 0
    assert totals(m) == before


def test_late_points_are_compressed_again(stored: Stored) -> None:
    """New ones and corrections into compressed chunks: the chunk is due again, and its job compresses all of it."""
    m = stored.new(compress_after="1h", chunk_interval="1h", retain_raw="forever")
    m.fill("9 hours", "0 hours", "2 minutes")
    m.run("compression")
    m.fill("8 hours", "4 hours", "1 minute")
    count, total = totals(m)
    assert chunks(m)["due"] in (4, 5)
    m.run("compression")
    assert chunks(m)["due"] == 0
    assert totals(m) == (count, total)
    m.fill("8 hours", "8 hours - 1 second")
    assert totals(m) in ((count + 3, pytest.approx(total, abs=300)), (count, total + 3))


def test_fields_that_come_later(stored: Stored) -> None:
    """A hypertable with compressed chunks can gain columns; they are empty there, and can be filled."""
    m = stored.new("f", compress_after="1h", chunk_interval="1h", retain_raw="forever")
    m.fill("6 hours", "0 hours")
    m.run("compression")
    m.grow("f", "g", "h")
    assert stored.value(sql.SQL("SELECT count(*) FROM {} WHERE g IS NOT NULL").format(m.points)) == 0
    stored.rows(
        sql.SQL(
            "INSERT INTO {} (time, series_id, g) SELECT time, series_id, 5 FROM {} "
            "WHERE time < now() - interval '4 hours' ON CONFLICT (series_id, time) DO UPDATE SET g = EXCLUDED.g"
        ).format(m.points, m.points)
    )
    m.run("compression")
    assert chunks(m)["due"] == 0
    found = stored.rows(sql.SQL("SELECT count(*), count(f), count(g), max(g) FROM {}").format(m.points))
    ((count, with_f, with_g, greatest),) = found
    assert count == with_f == 6 * 60 * 3
    assert with_g == pytest.approx(2 * 60 * 3, abs=3)
    assert greatest == 5


def test_it_can_be_turned_off_and_on(stored: Stored) -> None:
    """Off: no more chunks are compressed, and what is compressed stays so."""
    m = stored.new(compress_after="1h", chunk_interval="1h", retain_raw="forever")
    m.fill("5 hours", "0 hours")
    m.run("compression")
    compressed = chunks(m)["compressed"]
    stored.set_policy(m.name, compress_after="off", chunk_interval="1h", retain_raw="forever")
    assert m.apply()[0] == "compression off"
    assert ("policy_compression", m.name) not in m.jobs()
    assert chunks(m) == {"all": chunks(m)["all"], "compressed": compressed, "due": 0}
    stored.set_policy(m.name, compress_after="2h", chunk_interval="1h", retain_raw="forever")
    assert m.apply()[0] == "compressed after 02:00:00"
    assert m.apply() == []


def test_a_table_in_use_is_not_waited_for(community_url: str) -> None:
    """For longer than a second: an error that says so, and nothing half changed."""
    if in_webassembly(community_url):
        pytest.skip("the server in WebAssembly has one connection")
    with psycopg.connect(community_url, autocommit=True) as connection, psycopg.connect(community_url) as reader:
        stored = Stored(connection)
        try:
            connection.execute("CREATE OR REPLACE FUNCTION catalog.is_community() RETURNS boolean RETURN false")
            m = stored.new()
            connection.execute(IS_COMMUNITY)
            reader.execute(sql.SQL("LOCK TABLE {} IN ACCESS SHARE MODE").format(m.points))
            with pytest.raises(psycopg.errors.LockNotAvailable):
                m.apply()
            assert m.jobs() == {}
            reader.rollback()
            assert m.apply()
        finally:
            connection.execute(IS_COMMUNITY)
            stored.close()


IS_COMMUNITY = """
    CREATE OR REPLACE FUNCTION catalog.is_community() RETURNS boolean LANGUAGE sql STABLE SET search_path = pg_catalog
    AS $$ SELECT catalog.edition() ->> 'edition' = 'community' $$
"""
