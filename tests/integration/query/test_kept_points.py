"""Points that are handed out again are those that there are."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from query.reuse import SMALL_ROWS
from tests.integration.query.conftest import DEADLINE_SECONDS, Query, ServeBoth
from tests.integration.query.panels import Both, ask, at, window

POINTS = "/api/v1/points"
MINUTE = timedelta(minutes=1)
HIGH = {"where": "cpu.usage>95", "match": "host=~web-1|web-2"}


def settled() -> dict[str, Any]:
    """A range that is over."""
    return window(timedelta(hours=2), at(10 * MINUTE))


async def test_points_of_a_settled_range_are_kept(both: Both) -> None:
    """They have a tag by which they are known, in each format another."""
    asked = {**HIGH, **settled()}
    first, again = await both.same_points(**asked), await both.same_points(**asked)
    assert (first.reuse, again.reuse) == ("miss", "hit")
    assert first.answer == again.answer
    assert len(first.answer["points"]) > 10
    tag = first.headers["ETag"]
    assert again.headers["ETag"] == tag
    known = await ask(both.keeping, known=tag, path=POINTS, **asked)
    assert (known.status, known.headers["ETag"]) == (304, tag)
    assert (await ask(both.keeping, "text/csv", tag, POINTS, **asked)).status == 200


@pytest.mark.parametrize("form", ["json", "csv", "ndjson"])
@pytest.mark.parametrize("page", [{}, {"limit": 7}, {"limit": 1000}, {"order": "any"}], ids=str)
async def test_kept_points_are_told_as_they_were(both: Both, form: str, page: dict[str, Any]) -> None:
    """To the byte, in every format, with the next page's place where there is one."""
    asked = {**HIGH, **settled(), **page, "format": form}

    async def told(query: Query) -> tuple[str | None, bytes]:
        async with query.client.get(f"{query.url}{POINTS}", params=asked) as response:
            assert response.status == 200
            return response.headers.get("Tidemark-Cache"), await response.read()

    first, again, (_, plain) = await told(both.keeping), await told(both.keeping), await told(both.plain)
    assert [first, again] == [("miss", plain), ("hit", plain)]


async def test_too_many_points_are_refused_each_time(both: Both, serve_both: ServeBoth) -> None:
    """What is refused is not kept, and what is kept is no way around it."""
    bounded = (await serve_both(max_values=40)).keeping
    asked = {"metric": "cpu.usage", "match": "host=web-1", **settled()}
    for _ in range(3):
        assert (await ask(bounded, path=POINTS, **asked)).status == 400
        page = await ask(bounded, path=POINTS, limit=40, **asked)
        assert len(page.answer["points"]) == 40
        assert page.answer["next"] is not None


async def test_points_of_an_open_range_are_not(both: Both) -> None:
    """Nor have they a tag."""
    for _ in range(2):
        heard = await ask(both.keeping, path=POINTS, **HIGH, **window(timedelta(hours=1)))
        assert (heard.status, heard.reuse) == (200, "bypass")
        assert "ETag" not in heard.headers


@pytest.mark.parametrize(
    ("late", "reuse"),
    [
        ("cpu,host=web-1 usage=99.5 {}", "miss"),
        ("cpu,host=web-1 usage=99.5,speed=3 {}", "miss"),
        ("cpu,host=web-1,rack=r usage=99.5 {}", "miss"),
        ("mem,host=web-1 usage=99.5 {}", "hit"),
    ],
)
async def test_late_points_are_seen(both: Both, late: str, reuse: str) -> None:
    """With the field, and of the series, that came with them; those of others change nothing."""
    asked = {**HIGH, **settled(), "order": "desc"}
    await both.same_points(**asked)
    before = await both.same_points(**asked)
    assert before.reuse == "hit"
    await both.write(late.format(int(at(30 * MINUTE).timestamp())))
    after = await both.same_points(**asked)
    assert after.reuse == reuse
    assert (after.answer == before.answer) == (reuse == "hit")


async def test_a_new_field_is_told_of(both: Both) -> None:
    """Of points that do not have it, and were kept before there was one that has."""
    asked = {**HIGH, **settled()}
    for _ in range(2):
        assert "speed" not in (await both.same_points(**asked)).answer["columns"]
    await both.write(f"cpu,host=web-1 speed=3 {int(at(MINUTE).timestamp())}")
    for _ in range(2):
        assert "speed" in (await both.same_points(**asked)).answer["columns"]


async def test_what_is_asked_tells_answers_apart(both: Both) -> None:
    """Each parameter does, and each page is kept by itself."""
    chosen: list[dict[str, Any]] = [
        {},
        {"where": "cpu.usage>90"},
        {"where": "cpu.usage>=95"},
        {"where": ["cpu.usage>95", "cpu.idle>1"]},
        {"where": "cpu.idle>1"},
        {"match": "host=web-1"},
        {"match": "host!=web-1"},
        {"metric": "cpu.idle"},
        {"metric": ["cpu.usage", "cpu.idle"]},
        {"by": "host,rack"},
        {"by": ""},
        {"order": "desc"},
        {"order": "any"},
        {"limit": 3},
        {"limit": 4},
        {"limit": 3, "order": "desc"},
    ]
    common = {**HIGH, **settled()}
    tags = []
    for one in chosen:
        assert (await both.same_points(**{**common, **one})).reuse == "miss"
    for one in chosen:
        heard = await both.same_points(**{**common, **one})
        assert heard.reuse == "hit"
        tags.append(heard.headers["ETag"])
    assert len(set(tags)) == len(chosen)
    page, pages = await both.same_points(**common, limit=7), []
    while (following := page.answer["next"]) is not None:
        page = await both.same_points(**common, limit=7, after=following)
        pages.append(page.reuse)
    assert len(pages) > 1
    assert set(pages) == {"miss"}
    assert page.answer["points"]


async def test_many_points_are_not_kept(both: Both) -> None:
    """They are handed on as they come, and have no tag."""
    for number in itertools.count():
        heard = await both.same_points(measurement="cpu", **settled())
        assert len(heard.answer["points"]) > SMALL_ROWS
        assert heard.reuse == "miss"
        assert "ETag" not in heard.headers
        if number == 2:
            break


async def test_points_that_are_no_longer_kept_are_not_told(both: Both) -> None:
    """An answer of them is not used once they have expired."""
    long_ago = datetime(2026, 3, 1, tzinfo=UTC)
    asked = {"measurement": "cpu", "start": long_ago.isoformat(), "end": (long_ago + 2 * MINUTE).isoformat()}
    await both.write(*(f"cpu,host=web-1 usage={n} {int(long_ago.timestamp()) + 60 * n}" for n in range(2)))
    await both.until_kept(path="/api/v1/points", **asked)
    both.stored.execute("DELETE FROM points.cpu WHERE time < %s", long_ago + MINUTE)
    both.stored.execute("UPDATE catalog.retention SET dropped_before = %s", long_ago + MINUTE)
    for _ in range(2):
        assert [row[-1] for row in (await both.same_points(**asked)).answer["points"]] == [1]


async def test_a_measurement_that_is_made_anew_is_another(both: Both) -> None:
    """Its points are asked for anew, whatever the same name meant before."""
    asked = {**HIGH, **settled()}
    await both.same_points(**asked)
    both.stored.execute("SELECT catalog.drop_measurement('cpu')")
    await both.write(f"cpu,host=web-1 idle=1,usage=99 {int(at(30 * MINUTE).timestamp())}")
    heard = await both.same_points(**asked)
    assert [row[3:] for row in heard.answer["points"]] == [[1, 99]]


async def test_cheap_points_are_asked_for_each_time(serve_both: ServeBoth, both: Both) -> None:
    """They have a tag all the same."""
    frugal = await serve_both(cache_min_seconds=60)
    asked = {**HIGH, **settled()}
    heard = [await frugal.same_points(**asked) for _ in range(3)]
    assert [one.reuse for one in heard] == ["miss"] * 3
    assert len({one.headers["ETag"] for one in heard}) == 1


async def test_an_open_range_is_told_to_be_one(serve_both: ServeBoth, both: Both) -> None:
    """Also where one as long was cheap, and would not be looked for."""
    frugal = await serve_both(cache_min_seconds=60)
    for path, asked in (("/api/v1/points", HIGH), ("/api/v1/aggregate", {"metric": "cpu.usage"})):
        last = datetime.now(UTC)
        for end, reuse in ((last - 10 * MINUTE, "miss"), (last, "bypass")):
            for _ in range(2):
                heard = await frugal.same(path=path, **asked, **window(timedelta(hours=1), end))
                assert heard.reuse == reuse


async def test_each_answer_is_counted_once(both: Both) -> None:
    """Under what its header says, also where it has no rows; one that is refused is none."""
    few = {"metric": "cpu.usage", "by": "host", "step": "1s", "fill": "0"}
    assert (await ask(both.keeping, **few, **window(timedelta(hours=20)))).status == 400
    nobody = {"match": "host=nobody"}
    told: Counter[str] = Counter()
    for path in ("/api/v1/points", "/api/v1/aggregate"):
        for asked in (HIGH | nobody, HIGH):
            chosen = asked if path == "/api/v1/points" else {"metric": "cpu.usage", "match": asked["match"]}
            for times in (settled(), window(timedelta(hours=1))):
                for _ in range(3):
                    told[(await both.same(path=path, **chosen, **times)).reuse] += 1
    for outcome in ("hit", "partial", "miss", "bypass"):
        assert await both.keeping.counted("query_cache_requests_total", outcome=outcome) == told[outcome]
    assert min(told[outcome] for outcome in ("hit", "miss", "bypass")) > 0


async def test_nobody_waits_for_points_of_another_range(serve_both: ServeBoth, both: Both) -> None:
    """What is kept as a whole is no part of what others ask for."""
    patient = await serve_both(wait_seconds=2 * DEADLINE_SECONDS)

    def waiting() -> int:
        return len(both.stored.statements("wait_event_type = 'Lock' AND query LIKE '%SELECT p.time%'"))

    with both.stored.locked("cpu"):
        asked = [
            asyncio.create_task(ask(patient.keeping, path=POINTS, **HIGH, **window(MINUTE, at(number * MINUTE))))
            for number in (10, 20, 30)
        ]
        await both.stored.until(lambda: waiting() == len(asked))
        assert not any(one.done() for one in asked)
    assert [one.reuse for one in await asyncio.gather(*asked)] == ["miss"] * 3


async def test_a_stampede_reads_points_once(both: Both) -> None:
    """Of many who ask for the same that is not there, one has it read, and all have it."""
    asked = {**HIGH, **settled()}
    with both.stored.locked("cpu"):
        asking = [asyncio.create_task(ask(both.keeping, path=POINTS, **asked)) for _ in range(20)]
        await both.stored.until_waiting_for_lock()
        await both.keeping.until_counted("query_reads_total", 20, server="primary", reason="only")
    answers = await asyncio.gather(*asking)
    assert Counter(one.reuse for one in answers) == {"hit": 19, "miss": 1}
    assert all(one.answer == answers[0].answer for one in answers)


async def test_points_of_long_ago_are_kept_however_their_measurement_is_named(both: Both) -> None:
    """By its parameter, by metrics, by conditions, and by several of these."""
    long_ago = datetime(2026, 3, 1, tzinfo=UTC)
    times = {"start": long_ago.isoformat(), "end": (long_ago + 2 * MINUTE).isoformat()}
    await both.write(f"cpu,host=web-1 usage=97 {int(long_ago.timestamp())}")
    for asked in (
        {"measurement": "cpu"},
        {"metric": "cpu.usage"},
        HIGH,
        {"measurement": "cpu", "metric": "cpu.usage"},
        {"measurement": "cpu", **HIGH},
    ):
        kept = await both.until_kept(path="/api/v1/points", **asked, **times)
        assert len(kept.answer["points"]) == 1


async def test_metrics_of_another_measurement_are_refused_each_time(both: Both) -> None:
    """Also when they are known, and would name one."""
    await both.write(f"mem used=1 {int(at(MINUTE).timestamp())}")
    for _ in range(2):
        await both.same_points(metric="cpu.usage", **settled())
        heard = await ask(both.keeping, path=POINTS, metric="cpu.usage", measurement="mem", **settled())
        assert heard.status == 400
        assert "not of mem" in heard.answer["message"]
