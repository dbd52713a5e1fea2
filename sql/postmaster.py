"""Starts, watches and stops the postmaster of an embedded cluster."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import psycopg
from psycopg.pq import PGconn, Ping

from service.settings import MEBIBYTES
from sql.addresses import LOOPBACK
from sql.embedded import Cluster, EmbeddedError, environment, prepare, sole_use
from sql.engine import Say
from sql.lifeline import ends_with_parent
from sql.ports import require_free
from sql.settings import Embedded

STOPS = ((signal.SIGTERM, 5.0), (signal.SIGINT, 60.0), (signal.SIGQUIT, 10.0))
"""How to stop, and for how long to wait for it: when all clients have left, at once, without a checkpoint."""

POLL_SECONDS = 0.05
SAY_SECONDS = 10.0

CONFIGURATION = """\
# Written at each start of the embedded database; ALTER SYSTEM changes a setting for good.
listen_addresses = '{host}'
port = {port}
unix_socket_directories = ''
hba_file = '{hba}'
max_connections = 100
shared_preload_libraries = 'timescaledb'
timescaledb.telemetry_level = off
max_worker_processes = 32
timescaledb.max_background_workers = {timescaledb_workers}
shared_buffers = {shared_buffers}MB
maintenance_work_mem = 128MB
max_wal_size = 2GB
checkpoint_timeout = 15min
jit = off
timezone = 'UTC'
log_timezone = 'UTC'
log_line_prefix = '%q[%u@%d] '
log_checkpoints = off
log_min_error_statement = panic
"""
HBA = "host all all {host}/32 scram-sha-256\n"


@contextmanager
def running(cluster: Cluster, say: Say) -> Iterator[subprocess.Popen[bytes]]:
    """Run the cluster's postmaster; it answers when the body begins and has stopped when it ends.

    Raises `EmbeddedError` when it does not come up; what it said is on our standard error.
    """
    process = _start(cluster)
    try:
        _wait_until_ready(cluster, process, say)
        yield process
    finally:
        stop(process)


def _start(cluster: Cluster) -> subprocess.Popen[bytes]:
    hba = cluster.home / "pg_hba.conf"
    configuration = cluster.home / "postgresql.conf"
    hba.write_text(HBA.format(host=LOOPBACK), encoding="utf-8")
    configuration.write_text(
        CONFIGURATION.format(
            host=LOOPBACK,
            port=cluster.addresses.port,
            hba=str(hba).replace("'", "''"),
            # The Apache edition has no jobs of any use; the one that it starts fails.
            timescaledb_workers=16 if cluster.engine.community else 0,
            shared_buffers=shared_buffers_mebibytes(_memory_bytes()),
        ),
        encoding="utf-8",
    )
    for file in (hba, configuration):
        file.chmod(0o644)  # the database's account reads them, whatever our umask is
    return subprocess.Popen(
        [cluster.engine.programs / "postgres", "-D", cluster.data, "-c", f"config_file={configuration}"],
        cwd=cluster.home,
        env=environment(),
        stdin=subprocess.DEVNULL,
        # Signals to our process group are ours to handle: a stop of the group is not one of the backends.
        start_new_session=True,
        preexec_fn=ends_with_parent(signal.SIGINT),
        **cluster.account.identity(),
    )


def shared_buffers_mebibytes(memory_bytes: int) -> int:
    """A quarter of the memory, up to a gibibyte: this host has other work to do."""
    return max(64, min(1024, memory_bytes // 4 // MEBIBYTES))


def _memory_bytes() -> int:
    """This host's memory, or what this control group may have of it."""
    total = int(psutil.virtual_memory().total)
    try:
        limit = Path("/sys/fs/cgroup/memory.max").read_text(encoding="ascii").strip()
    except OSError:
        return total
    return min(total, int(limit)) if limit.isdigit() else total


def _wait_until_ready(cluster: Cluster, process: subprocess.Popen[bytes], say: Say) -> None:
    """Wait as long as it takes: after a crash the log is replayed first, however much there is of it."""
    address = f"host={LOOPBACK} port={cluster.addresses.port}".encode()
    told = time.monotonic()
    while PGconn.ping(address) != Ping.OK:
        if process.poll() is not None:
            raise EmbeddedError(f"the database did not start (status {process.returncode}); its lines above say why")
        if time.monotonic() - told > SAY_SECONDS:
            say("the database is recovering")
            told = time.monotonic()
        time.sleep(POLL_SECONDS)
    try:
        psycopg.connect(cluster.addresses.url("owner")).close()
    except psycopg.OperationalError as error:
        raise EmbeddedError(f"the database refuses its owner: {str(error).splitlines()[0]}") from None


def serve(settings: Embedded, say: Say) -> None:
    """Run the embedded database until SIGTERM or SIGINT (as `KeyboardInterrupt`); make it first where needed.

    Raises `EmbeddedError` when it ends by itself, or what `prepare` raises.
    """
    with sole_use(settings.home, say):
        require_free(LOOPBACK, settings.database_port, "TIDEMARK_DATABASE_PORT")
        cluster = prepare(settings, say)
        try:
            with running(cluster, say) as process:
                say(f"the database answers on {LOOPBACK}:{settings.database_port}")
                status = process.wait()
        except KeyboardInterrupt:
            say("the database has stopped")
            return
        raise EmbeddedError(f"the database ended by itself (status {status}); its lines above say why")


def stop(process: subprocess.Popen[bytes]) -> None:
    """Stop a postmaster: let clients finish for a while, then disconnect them."""
    for number, seconds in STOPS:
        process.send_signal(number)
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            continue
        return
