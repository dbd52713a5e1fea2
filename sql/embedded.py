"""The embedded database: a private cluster on the loopback interface, made once and run by `sql serve`.

In the home folder `data` belongs to the database's account; the configuration and the addresses beside it are
ours and are written at each start. A cluster is made beside its place, whole with roles, passwords and its
database, and then moved there, so that what an interruption leaves is never used.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from psycopg import sql

from service.errors import TidemarkError
from sql import addresses, command, lock
from sql.account import Account, choose
from sql.addresses import ACCOUNTS, DATABASE, Addresses
from sql.engine import Engine, Say, find
from sql.leftovers import end_leftovers
from sql.settings import Embedded

PRIVATE_LOCALE_MAJOR = 17  # the first with a locale provider of its own

# In single-user mode a statement ends with a semicolon and an empty line.
ROLES = """\
DO $$ BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = {name}) THEN
        CREATE ROLE {role} LOGIN;
    END IF;
END $$;

ALTER ROLE {role} PASSWORD {password};

"""


class EmbeddedError(TidemarkError):
    """The embedded database cannot be made or run; the message says why and what to do."""


@dataclass(frozen=True)
class Cluster:
    """A cluster that is ready to be started."""

    home: Path
    engine: Engine
    account: Account
    addresses: Addresses

    @property
    def data(self) -> Path:
        """PostgreSQL's data folder."""
        return self.home / "data"


@contextmanager
def sole_use(home: Path, say: Say) -> Iterator[None]:
    """Be the only one to use the cluster of `home`: what a killed run has left there is ended.

    Raises `AlreadyRunningError` when another process has it, `LeftoverError` when something does not end.
    """
    with lock.held(home / "serve.lock", "the embedded database"):
        end_leftovers(home / "data", say)
        yield


def prepare(settings: Embedded, say: Say) -> Cluster:
    """The cluster of these settings, made first where it is missing; hold `sole_use` for it.

    Raises `EngineError`, `AccountError`, `CommandError` or `EmbeddedError`, each with what to do.
    """
    home = settings.home
    account = choose(settings.account, home / "data")
    engine = find(settings.engine or home / "engine", say)
    _require_reach(account, home, engine)
    _require_same_major(engine, home / "data")
    file = home / addresses.FILE
    kept = addresses.load(file, settings.database_port)
    cluster = Cluster(home, engine, account, kept or addresses.create(settings.database_port))
    if not cluster.data.exists():
        say(f"making a database in {cluster.data}, owned by {account.name}")
        _initialise(cluster)
    elif kept is None:
        say("the database's passwords were lost: setting new ones")
        _single_user(cluster, cluster.data, _roles(cluster.addresses))
    addresses.save(cluster.addresses, file)  # last: passwords that are kept are those that are set
    return cluster


def environment() -> dict[str, str]:
    """The environment of PostgreSQL's programs: nothing of ours can change what they do."""
    return {"PATH": os.defpath, "LC_ALL": "C"}


def _initialise(cluster: Cluster) -> None:
    unfinished = cluster.home / "data.new"
    if unfinished.exists():
        shutil.rmtree(unfinished)
    unfinished.mkdir(mode=0o700)
    cluster.account.own(unfinished)
    locale = ["--locale=C", "--encoding=UTF8"]
    if cluster.engine.major >= PRIVATE_LOCALE_MAJOR:
        locale += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
    command.run(
        "initdb",
        [
            *(cluster.engine.programs / "initdb", "--pgdata", unfinished, "--username", ACCOUNTS["owner"]),
            *("--auth=reject", "--data-checksums", *locale),
        ],
        identity=cluster.account.identity(),
        environment=environment(),
        folder=cluster.home,
    )
    create = sql.SQL("CREATE DATABASE {};\n\n").format(sql.Identifier(DATABASE)).as_string()
    _single_user(cluster, unfinished, _roles(cluster.addresses) + create)
    unfinished.rename(cluster.data)


def _roles(known: Addresses) -> str:
    """Statements that make sure of the three roles and their passwords."""
    return "".join(
        sql.SQL(ROLES)
        .format(name=sql.Literal(name), role=sql.Identifier(name), password=sql.Literal(known.passwords[role]))
        .as_string()
        for role, name in ACCOUNTS.items()
    )


def _single_user(cluster: Cluster, data: Path, statements: str) -> None:
    """Run `statements` on a cluster that nobody serves."""
    command.run(
        "setting up the database's roles",
        [
            *(cluster.engine.programs / "postgres", "--single", "-j", "-D", data),
            *("-c", "exit_on_error=on", "-c", "log_min_error_statement=panic", "postgres"),
        ],
        text=statements,
        identity=cluster.account.identity(),
        environment=environment(),
        folder=cluster.home,
    )


def _require_reach(account: Account, home: Path, engine: Engine) -> None:
    """Raise `EmbeddedError` when the account cannot reach what it has to run or to write."""
    for path in (home, engine.programs):
        reached = subprocess.run(["test", "-x", path], check=False, **account.identity())
        if reached.returncode != 0:
            raise EmbeddedError(
                f"the account {account.name}, which the database runs as, cannot reach {path}: "
                "choose another TIDEMARK_HOME, or another TIDEMARK_ACCOUNT"
            )


def _require_same_major(engine: Engine, data: Path) -> None:
    if not data.exists():
        return
    try:
        found = (data / "PG_VERSION").read_text(encoding="ascii").strip()
    except FileNotFoundError:
        raise EmbeddedError(f"{data} is not a PostgreSQL data folder: choose another TIDEMARK_HOME") from None
    if found != str(engine.major):
        raise EmbeddedError(
            f"the data in {data} was written by PostgreSQL {found} and the engine here is {engine.major}: "
            "dump it with the old engine and restore it, or choose another TIDEMARK_HOME"
        )
