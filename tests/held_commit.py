"""A commit that is held when TimescaleDB has decided what to log of it, and before anybody sees it.

PostgreSQL empties temporary tables that are to be empty after a commit (`ON COMMIT DELETE ROWS`) after extensions had
their say in it, and waits for whoever holds a lock on one of them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import psycopg
from psycopg import sql

from tests.conftest import DEADLINE_SECONDS, POLL_SECONDS

WAITS = "SELECT EXISTS (SELECT FROM pg_locks WHERE pid = %s AND locktype = 'relation' AND NOT granted)"


@contextmanager
def held_commit(url: str, write: Callable[[psycopg.Connection], None]) -> Iterator[None]:
    """What `write` does is about to be committed within the block, and is committed after it."""
    with (
        psycopg.connect(url, autocommit=True) as writer,
        psycopg.connect(url, autocommit=True) as holder,
        ThreadPoolExecutor(1) as commits,
    ):
        writer.execute("CREATE TEMPORARY TABLE held (n int) ON COMMIT DELETE ROWS")
        schema = writer.execute("SELECT nspname FROM pg_namespace WHERE oid = pg_my_temp_schema()").fetchone()
        assert schema is not None
        holder.execute("BEGIN")
        holder.execute(sql.SQL("LOCK TABLE {} IN ACCESS SHARE MODE").format(sql.Identifier(schema[0], "held")))
        writer.execute("BEGIN")
        write(writer)
        writer.execute("INSERT INTO held VALUES (1)")
        committed = commits.submit(writer.execute, "COMMIT")
        try:
            _until_it_waits(url, writer.info.backend_pid)
            yield
        finally:
            holder.execute("ROLLBACK")
            committed.result()


def _until_it_waits(url: str, pid: int) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    with psycopg.connect(url, autocommit=True) as observer:
        while observer.execute(WAITS, (pid,)).fetchone() != (True,):
            assert time.monotonic() < deadline
            time.sleep(POLL_SECONDS)
