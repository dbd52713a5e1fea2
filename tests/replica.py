"""A primary and its streaming replicas, made from the embedded engine, each a real server of its own."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import psutil
import psycopg

from sql import command
from sql.addresses import DATABASE, Role
from sql.embedded import Cluster, environment, prepare, sole_use
from sql.postmaster import running
from sql.settings import Embedded
from tests.conftest import engine_folder, open_folder, with_database
from tests.workers import port_nobody_has

HBA = "host replication all 127.0.0.1/32 scram-sha-256\n"
"""What lets a replica stream: a server's own lines do not speak of that."""


@dataclass
class Node:
    """A server, which can be stopped, frozen and started again."""

    cluster: Cluster
    hba: str = ""
    """Lines that its own do not have."""
    _running: ExitStack = field(default_factory=ExitStack)
    _process: subprocess.Popen[bytes] = field(init=False)

    def start(self) -> None:
        """Start it, and wait until it answers."""
        self._process = self._running.enter_context(running(self.cluster, print))
        if self.hba:
            file = self.cluster.home / "pg_hba.conf"
            file.write_text(file.read_text(encoding="utf-8") + self.hba, encoding="utf-8")
            self.execute("SELECT pg_reload_conf()")

    def stop(self, number: signal.Signals = signal.SIGQUIT) -> None:
        """End it: at once, unless another signal is named."""
        self._process.send_signal(number)
        self._process.wait()

    def freeze(self) -> None:
        """Let none of its processes run, the postmaster first, which would start others."""
        for process in self._processes():
            with suppress(psutil.NoSuchProcess):
                process.suspend()

    def thaw(self) -> None:
        """Let all of them go on."""
        for process in self._processes():
            with suppress(psutil.NoSuchProcess):
                process.resume()

    def close(self) -> None:
        """End it for good, whatever state it is in."""
        if self._process.poll() is None:
            self.thaw()
        self._running.close()

    def url(self, role: Role = "owner", database: str = DATABASE) -> str:
        """The address of a database for `role`."""
        return with_database(self.cluster.addresses.url(role), database)

    def execute(self, statement: str, database: str = DATABASE) -> None:
        """Run a statement with its owner's rights."""
        with psycopg.connect(self.url(database=database), autocommit=True) as connection:
            connection.execute(statement.encode())

    def _processes(self) -> list[psutil.Process]:
        postmaster = psutil.Process(self._process.pid)
        return [postmaster, *postmaster.children()]


@contextmanager
def primary() -> Iterator[Node]:
    """A server that replicas may stream from."""
    with open_folder() as home, sole_use(home, print):
        settings = Embedded(home=home, engine=engine_folder(), database_port=port_nobody_has())
        node = Node(prepare(settings, print), HBA)
        node.start()
        try:
            node.execute("ALTER SYSTEM SET fsync = off")  # databases are copied faster, on replicas as well
            node.execute("SELECT pg_reload_conf()")
            yield node
        finally:
            node.close()


@contextmanager
def replica_of(node: Node) -> Iterator[Node]:
    """A replica of a primary's, made by pg_basebackup."""
    with open_folder() as home:
        made = Node(replace(node.cluster, home=home, addresses=replace(node.cluster.addresses, port=port_nobody_has())))
        _copy(node, made.cluster.data)
        made.start()
        try:
            yield made
        finally:
            made.close()


def _copy(node: Node, data: Path) -> None:
    account, programs = node.cluster.account, node.cluster.engine.programs
    data.mkdir(mode=0o700)
    account.own(data)
    command.run(
        "pg_basebackup",
        [
            *(programs / "pg_basebackup", "--pgdata", data, "--dbname", node.url(), "--checkpoint=fast"),
            *("--no-sync", "--wal-method=stream", "--write-recovery-conf"),
        ],
        identity=account.identity(),
        environment=environment(),
        folder=data.parent,
    )
