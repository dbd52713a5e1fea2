"""`python -m sql maintain`: keeps what is stored as its policies say, in rounds, until it is told to stop.

1. The defaults are those of the settings.
2. Every measurement's policy is applied: where the server has become a community edition meanwhile, that makes what was
   missing; fields that came later get their rollups; points that are rolled up may expire.
3. Rollups are settled up to where they were refreshed, which makes readers rely on them (`sql/rollups.py`).
4. On the Apache edition, which has no jobs, expired chunks are dropped here. On the community edition jobs do it, and
   are watched.

Any number may run: one works, held by an advisory lock of the database, and the others look on.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg

from service import logs
from sql import policies, rollups
from sql.report import failed_jobs
from sql.settings import Maintenance

log = logs.get(__name__)

RETRY_SECONDS = 5.0
NOT_MIGRATED = ("3F000", "42P01", "42883")  # no schema, no table, no function
LOCK = "SELECT pg_try_advisory_lock(hashtextextended('tidemark.maintain', 0))"
MEASUREMENTS = "SELECT name FROM catalog.measurement ORDER BY name"


class Keeper:
    """Rounds of work. What goes wrong is logged once, and again when it is something else."""

    def __init__(self, url: str, settings: Maintenance, *, once: bool = False) -> None:
        self._url = url
        self._settings = settings
        self._once = once
        self._edition: dict[str, Any] | None = None
        self._troubles: dict[str, str] = {}

    def run(self) -> None:
        """Work until `KeyboardInterrupt`, or once; then raises `psycopg.OperationalError` without a database."""
        while True:
            pause = RETRY_SECONDS
            try:
                with psycopg.connect(self._url, autocommit=True, application_name="tidemark maintain") as connection:
                    self._clear("database", "the database answers")
                    pause = self._settings.maintain_seconds
                    while self._round(connection) and not self._once:
                        time.sleep(pause)
            except psycopg.OperationalError as error:
                if self._once:
                    raise
                self._trouble("database", "the database does not answer", str(error).splitlines()[0])
            if self._once:
                return
            time.sleep(min(pause, RETRY_SECONDS))

    def _round(self, connection: psycopg.Connection) -> bool:
        """One round; whether to go on with this connection."""
        try:
            if not _one(connection, LOCK):
                self._trouble("turn", "another process maintains this database", "it holds the lock")
                return False
            self._know(_one(connection, "SELECT catalog.edition()"))
            if policies.put_defaults(connection, self._settings.policy()):
                log.info("the defaults of the policies are other ones now", **self._settings.policy())
            for (measurement,) in connection.execute(MEASUREMENTS).fetchall():
                self._maintain(connection, measurement)
            self._settle(connection)
        except psycopg.ProgrammingError as error:
            if error.sqlstate not in NOT_MIGRATED:
                raise
            self._trouble("schema", "the database has no Tidemark schema, or an older one", "run python -m sql migrate")
            return False
        self._clear("turn", "this process maintains the database")
        self._clear("schema", "the database has its schema")
        self._watch_jobs(connection)
        return True

    def _maintain(self, connection: psycopg.Connection, measurement: str) -> None:
        with self._of_one(f"the policy of {measurement}", "applied"):
            if changed := policies.apply(connection, measurement):
                log.info("a policy was applied", measurement=measurement, changed=changed)
            if self._is_apache and (dropped := _one(connection, "SELECT catalog.expire(%s)", measurement)):
                log.info("expired chunks were dropped", measurement=measurement, chunks=dropped)

    def _settle(self, connection: psycopg.Connection) -> None:
        repeats: list[rollups.Repeat] = []
        with self._of_one("what is rolled up", "settled"):
            repeats = rollups.unsettled(connection)
        for repeat in repeats:
            with self._of_one(f"the rollup {repeat.rollup.view_name}", "settled"):
                rollups.settle(connection, repeat)

    @contextmanager
    def _of_one(self, what: str, done: str) -> Iterator[None]:
        """Work on one of many: what goes wrong with it is told, and the others go on."""
        try:
            yield
        except psycopg.errors.LockNotAvailable:
            self._trouble(what, f"{what} was not {done}", policies.BUSY)
        except psycopg.OperationalError:
            raise
        except (psycopg.DatabaseError, rollups.UnderWayError) as error:
            self._trouble(what, f"{what} was not {done}", str(error).splitlines()[0])
        else:
            self._clear(what, f"{what} is {done}")

    def _watch_jobs(self, connection: psycopg.Connection) -> None:
        failed = {} if self._is_apache else failed_jobs(connection)
        for job, reason in failed.items():
            self._trouble(job, f"{job} failed", reason)
        for job in [one for one in self._troubles if one.startswith("job ") and one not in failed]:
            self._clear(job, f"{job} works again")

    @property
    def _is_apache(self) -> bool:
        return self._edition is not None and self._edition["edition"] == "apache"

    def _know(self, edition: dict[str, Any]) -> None:
        if edition != self._edition:
            self._edition = edition
            without = "no compression and no rollups; expired chunks are dropped by this process"
            log.info("maintaining the database", **edition, **({"limits": without} if self._is_apache else {}))

    def _trouble(self, what: str, told: str, reason: str) -> None:
        if self._troubles.get(what) != reason:
            self._troubles[what] = reason
            log.warning(told, reason=reason)

    def _clear(self, what: str, told: str) -> None:
        if self._troubles.pop(what, None) is not None:
            log.info(told)


def _one(connection: psycopg.Connection, statement: str, *parameters: str) -> Any:
    row = connection.execute(statement.encode(), parameters or None).fetchone()
    assert row is not None
    return row[0]
