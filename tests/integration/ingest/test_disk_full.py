"""A disk of the database that is full: what the callers hear, what is counted, and that the writer goes on."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from tests.conftest import copied
from tests.integration.conftest import Heard, Ingest, ServeIngest
from tests.integration.ingest.conftest import Eventually, T, Write, goes_on, is_drained
from tests.small_disk import fill, make_tablespace

FULL = "53100"

ATTEMPTS = 20


@pytest.fixture
def database(server_url: str, template: str, disk: Path) -> Iterator[str]:
    """The URL of a migrated database that is on the small disk, dropped after the test."""
    name = f"tidemark_small_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(server_url, autocommit=True) as server:
        (data,) = server.execute("SHOW data_directory").fetchone() or ("",)
        if not Path(data).is_dir():
            pytest.skip("the server is on another machine")
        make_tablespace(server, name, disk)
        try:
            with copied(server_url, template, name) as url:
                yield url
        finally:
            server.execute(sql.SQL("DROP TABLESPACE {}").format(sql.Identifier(name)))


async def test_points_wait_for_room_on_the_disk(
    known: Ingest, write: Write, disk: Path, eventually: Eventually
) -> None:
    """While the disk is full a group is tried again and again, and it is committed when there is room."""
    waiting: list[asyncio.Task[Heard]] = []

    async def is_full() -> bool:
        if all(task.done() for task in waiting):  # at first, and when there was room after all
            fill(disk / f"ballast-{len(waiting)}")
            numbers = range(len(waiting) + 1, len(waiting) + 3)
            waiting.extend(asyncio.create_task(write(known, in_a_new_chunk(number))) for number in numbers)
        return await known.counted("ingest_database_errors_total", sqlstate=FULL) >= 2

    await eventually(is_full)
    make_room(disk)
    assert {reply.status for reply in await asyncio.gather(*waiting)} == {204}
    stored = known.rows("SELECT f FROM m WHERE time > '2023-01-01' ORDER BY f")
    assert stored == [(float(number),) for number in range(1, len(waiting) + 1)]
    assert await known.counted("ingest_ladder_total", rung="retry") >= 2
    assert await known.counted("ingest_ladder_total", rung="isolate") == 0
    assert await goes_on(known, write)


def in_a_new_chunk(number: int) -> str:
    """A point in a chunk of its own."""
    return f"m,host=a f={number} {T + 30 * 86_400 * number}"


async def write_in_vain(ingest: Ingest, write: Write, disk: Path) -> tuple[str, Heard]:
    """Write points, each in a chunk of its own, until one finds no room: that line, and what its client hears.

    PostgreSQL may give something back after the disk was full: a file that is not needed any more, removed at last.
    """
    for number in range(1, ATTEMPTS):
        fill(disk / f"ballast-{number}")
        line = in_a_new_chunk(number)
        reply = await write(ingest, line)
        if reply.headers.get("Tidemark-Durability") != "committed":
            return line, reply
    raise AssertionError("there is always room")


def make_room(disk: Path) -> None:
    """Take away what fills the disk."""
    for ballast in disk.glob("ballast-*"):
        ballast.unlink()


async def test_points_are_refused_when_the_disk_stays_full(hasty: Ingest, write: Write, disk: Path) -> None:
    """Without a spool the client hears why, and to send it again; afterwards all is as before."""
    line, reply = await write_in_vain(hasty, write, disk)
    assert (reply.status, reply.body["code"]) == (503, "unavailable")
    assert int(reply.headers["Retry-After"]) >= 1
    assert "No space left on device" in reply.message
    assert await hasty.counted("ingest_database_errors_total", sqlstate=FULL) >= 1
    assert await hasty.counted("ingest_points_refused_total") == 1
    assert await hasty.counted("ingest_ladder_total", rung="give_up") == 1
    make_room(disk)
    assert await goes_on(hasty, write)
    assert (await write(hasty, line)).status == 204


async def test_points_are_spooled_while_the_disk_is_full(
    serve_ingest: ServeIngest, write: Write, made: None, disk: Path, tmp_path: Path, eventually: Eventually
) -> None:
    """With a spool on another disk the points are kept there, and are in the database when there is room."""
    ingest = await serve_ingest(retry_seconds=1, spool="on", spool_directory=tmp_path / "spool")
    assert (await write(ingest, "m,host=a f=0 1600000000")).headers["Tidemark-Durability"] == "committed"
    line, reply = await write_in_vain(ingest, write, disk)
    assert (reply.status, reply.headers["Tidemark-Durability"]) == (204, "spooled")
    assert await ingest.counted("ingest_points_kept_total") == 1
    make_room(disk)
    moment = int(line.split()[-1])
    await eventually(lambda: ingest.rows("SELECT 1 FROM m WHERE time = to_timestamp(%s)", moment) == [(1,)])
    await eventually(lambda: is_drained(ingest))
    assert await ingest.counted("ingest_spool_drained_points_total") == 1
    assert await goes_on(ingest, write)
