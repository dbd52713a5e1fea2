"""Answers that are put together from what was computed before are those that are computed anew."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.integration.query.conftest import DEADLINE_SECONDS, Database, ServeBoth, ServeQuery
from tests.integration.query.panels import Both, ask, at, points, window


async def test_a_sliding_window_computes_only_its_ends(both: Both) -> None:
    """A dashboard's curve, asked for again, has its closed windows from the cache, and the others computed."""
    panel: dict[str, Any] = {"metric": "cpu.usage", "fn": "avg,max,count", "by": "host", "step": "1m"}
    assert (await both.same(**panel, **window(timedelta(hours=1)))).reuse == "miss"
    for _ in range(3):
        before = await both.reused()
        asked = await both.same(**panel, **window(timedelta(hours=1)))
        assert asked.reuse == "partial"
        assert await both.reused() - before >= 57
    assert "ETag" not in asked.headers
    assert asked.headers["Cache-Control"] == "no-store"


async def test_another_range_has_what_it_shares(both: Both) -> None:
    """Windows are kept one by one, whatever range they were computed for."""
    panel: dict[str, Any] = {"metric": "cpu.usage", "by": "host", "step": "1m"}
    await both.same(**panel, **window(timedelta(hours=1)))
    assert (await both.same(**panel, **window(timedelta(minutes=30)))).reuse == "partial"
    for least in (57, 117):
        before = await both.reused()
        assert (await both.same(**panel, **window(timedelta(hours=2)))).reuse == "partial"
        assert await both.reused() - before >= least


@pytest.mark.parametrize(
    "panel",
    [
        {"metric": "cpu.usage", "fn": "avg,min,max,sum,count,first,last,stddev,median,p99", "by": "host", "step": "5m"},
        {"metric": "cpu.idle", "fn": "avg", "step": "7m", "fill": "previous"},
        {"metric": "cpu.usage", "by": "host,none", "match": "host=~web-[12]", "step": "10m", "fill": "linear"},
        {"metric": "cpu.usage", "fn": "rate,increase,delta", "by": "host", "step": "10m"},
        {"metric": "cpu.usage", "fn": "max", "by": "host", "step": "10m", "order": "desc", "limit": "2"},
        {"metric": "cpu.usage", "fn": "max", "by": "host", "order": "asc"},
        {"metric": "cpu.usage", "fn": "avg"},
        {"metric": "cpu.usage", "fn": "count", "by": "host", "step": "1d", "tz": "Asia/Kathmandu"},
        {"metric": "cpu.usage", "fn": "count", "match": "host=nobody", "step": "10m"},
    ],
    ids=lambda panel: "-".join(panel.values()).replace("cpu.", "")[:40],
)
async def test_a_settled_range_is_answered_as_it_was(both: Both, panel: dict[str, str]) -> None:
    """A range that is over is all there when it is asked for again, and has a tag by which it is known."""
    settled = window(timedelta(hours=2), datetime.now(UTC) - timedelta(minutes=10))
    first = await both.same(**panel, **settled)
    again = await both.same(**panel, **settled)
    assert (first.reuse, again.reuse) == ("miss", "hit")
    assert first.headers["ETag"] == again.headers["ETag"]
    assert again.headers["Cache-Control"] == "private, no-cache"
    tag = first.headers["ETag"]
    known = await ask(both.keeping, known=tag, **panel, **settled)
    assert (known.status, known.headers["ETag"]) == (304, tag)
    other = await ask(both.keeping, "text/csv", tag, **panel, **settled)
    assert other.status == 200, "another format is another answer"
    for tags in (tag, "*"):
        posted = both.keeping.client.post(
            f"{both.keeping.url}/api/v1/aggregate", json={**panel, **settled}, headers={"If-None-Match": tags}
        )
        async with posted as response:
            assert (response.status, await response.json()) == (200, first.answer), "304 is for GET and HEAD"
            assert "ETag" not in response.headers


async def test_late_points_are_seen(both: Both) -> None:
    """A point that was acknowledged is in every later answer; what was kept and is not met by it is still used."""
    panel: dict[str, Any] = {"metric": "cpu.usage", "fn": "max,count", "by": "host", "step": "1m"}
    settled = window(timedelta(hours=1), datetime.now(UTC) - timedelta(minutes=10))
    first = await both.same(**panel, **settled)
    for ago, value in ((30, 1000), (45, 2000), (30, 3000)):
        moment = at(timedelta(minutes=ago))
        await both.write(f"cpu,host=web-1 usage={value} {int(moment.timestamp())}")
        before, changed = await both.reused(), await both.reused("changed")
        asked = await both.same(**panel, **settled)
        assert str(float(value)) in str(asked.answer)
        assert await both.reused("changed") == changed + 1
        assert await both.reused() - before >= 58
        assert asked.headers["ETag"] != first.headers["ETag"]
        await both.until_kept(**panel, **settled)


@pytest.mark.parametrize("fn", ["max,count", "rate,increase"])
async def test_what_is_cheap_is_computed_each_time(stored: Database, serve_both: ServeBoth, fn: str) -> None:
    """Nothing of it is kept, or looked for; it has a tag all the same, which a late point changes."""
    stored.store("cpu", points(timedelta(hours=3), timedelta(0), timedelta(seconds=10)))
    both = await serve_both(cache_min_seconds=DEADLINE_SECONDS)
    panel: dict[str, Any] = {"metric": "cpu.usage", "fn": fn, "by": "host", "step": "5m"}
    settled = window(timedelta(hours=1), datetime.now(UTC) - timedelta(minutes=10))
    asked = [await both.same(**panel, **settled) for _ in range(3)]
    assert {one.reuse for one in asked} == {"miss"}
    (tag,) = {one.headers["ETag"] for one in asked}
    assert (await ask(both.keeping, known=tag, **panel, **settled)).status == 304
    await both.write(f"cpu,host=web-1 usage=1000 {int(at(timedelta(minutes=30)).timestamp())}")
    assert (await both.same(**panel, **settled)).headers["ETag"] != tag
    assert await both.keeping.counted("query_statement_seconds_count", statement="changes") == 0


async def test_late_points_of_others_change_nothing(both: Both) -> None:
    """Neither another measurement's nor those outside of the range."""
    panel: dict[str, Any] = {"metric": "cpu.usage", "by": "host", "step": "1m"}
    settled = window(timedelta(hours=1), datetime.now(UTC) - timedelta(minutes=10))
    await both.same(**panel, **settled)
    late = int(at(timedelta(minutes=30)).timestamp())
    await both.write(
        f"mem,host=web-1 usage=1 {late}", f"cpu,host=web-1 usage=1 {int(at(timedelta(hours=5)).timestamp())}"
    )
    assert (await both.same(**panel, **settled)).reuse == "hit"


async def test_a_stampede_computes_once(both: Both) -> None:
    """Of many who ask for the same that is not there, one computes it, and all have it."""
    panel: dict[str, Any] = {"metric": "cpu.usage", "by": "host", "step": "1m"}
    settled = window(timedelta(hours=1), datetime.now(UTC) - timedelta(minutes=10))
    with both.stored.locked("cpu"):
        asked = [asyncio.create_task(ask(both.keeping, **panel, **settled)) for _ in range(20)]
        await both.stored.until_waiting_for_lock()
        await both.keeping.until_counted("query_reads_total", 20, server="primary", reason="only")
    answers = await asyncio.gather(*asked)
    assert await both.keeping.counted("query_statement_seconds_count", statement="aggregate") == 1
    assert sorted(one.reuse for one in answers) == ["hit"] * 19 + ["miss"]
    assert all(one.answer == answers[0].answer for one in answers)


async def test_one_who_leaves_does_not_leave_the_others_alone(both: Both) -> None:
    """When the client goes for which something is computed, another of those who wait for it has it computed."""
    panel: dict[str, Any] = {"metric": "cpu.usage", "by": "host", "step": "1m"}
    settled = window(timedelta(hours=1), datetime.now(UTC) - timedelta(minutes=10))
    with both.stored.locked("cpu"):
        leaving = asyncio.create_task(ask(both.keeping, **panel, **settled))
        await both.stored.until_waiting_for_lock()
        staying = [asyncio.create_task(ask(both.keeping, **panel, **settled)) for _ in range(3)]
        await both.keeping.until_counted("query_reads_total", 4, server="primary", reason="only")
        leaving.cancel()
        await both.keeping.until_counted("query_statements_abandoned_total", 1)
        await both.stored.until_waiting_for_lock()
    answers = await asyncio.gather(*staying)
    assert sorted(one.reuse for one in answers) == ["hit", "hit", "miss"]


async def test_what_is_written_around_ingest_is_seen_after_a_while(
    database: str, stored: Database, serve_query: ServeQuery
) -> None:
    """Nobody notes what plain SQL does; what was kept is used no longer than the maximum age."""
    stored.store("cpu", points(timedelta(hours=1), timedelta(minutes=5), timedelta(minutes=1)))
    query = await serve_query(database, cache_min_seconds=0, cache_max_age_seconds=1)
    await query.until_ready()
    await query.until_keeping()
    settled = window(timedelta(minutes=50), datetime.now(UTC) - timedelta(minutes=10))
    panel: dict[str, Any] = {"metric": "cpu.usage", "fn": "count", **settled}
    assert (await ask(query, **panel)).answer["series"][0]["value"] > 0
    stored.execute("DELETE FROM points.cpu")
    async with asyncio.timeout(DEADLINE_SECONDS):
        while (await ask(query, **panel)).answer["series"]:  # noqa: ASYNC110 - it comes with time
            await asyncio.sleep(0.05)
    assert await query.counted("query_cache_windows_total", outcome="expired") >= 1


async def test_what_is_written_around_ingest_may_be_noted_by_hand(both: Both) -> None:
    """The owner says what was changed, in the transaction that changes it, and the next answer has it."""
    panel: dict[str, Any] = {"metric": "cpu.usage", "fn": "max", "step": "1m"}
    settled = window(timedelta(hours=1), datetime.now(UTC) - timedelta(minutes=10))
    await both.same(**panel, **settled)
    both.stored.execute("""
        WITH changed AS (UPDATE points.cpu SET usage = 7)
        SELECT catalog.note_late('{cpu}', '{0}', ARRAY[(extract(epoch FROM now()) * 1000000)::bigint])
    """)
    asked = await both.same(**panel, **settled)
    assert {number for _, number in asked.answer["series"][0]["points"]} == {7.0}


async def test_a_measurement_that_was_dropped_is_forgotten(both: Both) -> None:
    """What is taken out of the catalog begins another epoch, in which nothing of the last one is used."""
    panel = {
        "metric": "cpu.usage",
        "fn": "count",
        **window(timedelta(hours=1), datetime.now(UTC) - timedelta(minutes=10)),
    }
    assert (await both.same(**panel)).answer["series"]
    both.stored.execute("SELECT catalog.drop_measurement('cpu')")
    both.stored.store("cpu", points(timedelta(hours=3), timedelta(hours=2), timedelta(minutes=10)))
    assert (await both.same(**panel)).answer["series"] == []


@pytest.mark.parametrize("step", ["1m", None])
@pytest.mark.parametrize("resolution", ["auto", "raw"])
async def test_points_that_are_no_longer_kept_are_in_no_answer(both: Both, resolution: str, step: str | None) -> None:
    """What was computed of them is not used once they have expired, whichever the resolution."""
    long_ago = datetime(2026, 3, 1, tzinfo=UTC)
    panel: dict[str, Any] = {"metric": "cpu.usage", "fn": "max", "resolution": resolution}
    panel |= window(timedelta(minutes=3), long_ago + timedelta(minutes=3)) | ({"step": step} if step else {})
    await both.write(*(f"cpu usage={n} {int(long_ago.timestamp()) + 60 * n}" for n in range(3)))
    assert (await both.until_kept(**panel)).answer["series"]
    both.stored.execute("DELETE FROM points.cpu WHERE time < %s", long_ago + timedelta(minutes=3))
    both.stored.execute("UPDATE catalog.retention SET dropped_before = %s", long_ago + timedelta(minutes=3))
    for _ in range(2):
        assert (await both.same(**panel)).answer["series"] == []


async def test_an_answer_with_too_many_rows_is_not_kept(
    database: str, stored: Database, serve_query: ServeQuery
) -> None:
    """It is given as it is made."""
    stored.store("cpu", points(timedelta(hours=1), timedelta(0), timedelta(seconds=10)))
    query = await serve_query(database, cache_min_seconds=0, cache_max_rows=100)
    await query.until_ready()
    await query.until_keeping()
    for rows, reuse in (("1m", "miss"), ("30m", "hit")):
        panel: dict[str, Any] = {"metric": "cpu.usage", "by": "host", "step": rows}
        settled = window(timedelta(minutes=45), datetime.now(UTC) - timedelta(minutes=5))
        first, again = await ask(query, **panel, **settled), await ask(query, **panel, **settled)
        assert again.reuse == reuse
        assert first.answer == again.answer


async def test_an_answer_with_too_many_windows_is_not_kept(
    database: str, stored: Database, serve_query: ServeQuery
) -> None:
    """They are not looked for either."""
    stored.store("cpu", points(timedelta(hours=1), timedelta(0), timedelta(seconds=10)))
    query = await serve_query(database, cache_min_seconds=0, cache_max_windows=40)
    await query.until_ready()
    await query.until_keeping()
    panel = {"metric": "cpu.usage", "step": "1m", **window(timedelta(minutes=45))}
    for _ in range(2):
        assert (await ask(query, **panel)).reuse == "bypass"
    assert await query.counted("query_cache_entries") == 0


async def test_refusals_stay_refusals(database: str, stored: Database, serve_query: ServeQuery) -> None:
    """An answer past a bound is refused each time, and nothing of it is kept."""
    stored.store("cpu", points(timedelta(hours=1), timedelta(0), timedelta(seconds=10)))
    query = await serve_query(database, cache_min_seconds=0, max_values=100)
    await query.until_ready()
    await query.until_keeping()
    panel: dict[str, Any] = {"metric": "cpu.usage", "by": "host", "step": "1m", **window(timedelta(minutes=50))}
    for _ in range(2):
        assert (await ask(query, **panel)).answer["limit"] == "QUERY_MAX_VALUES"
    assert await query.counted("query_cache_entries") == 0
