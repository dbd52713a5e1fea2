"""`python -m sql serve` as a real process: what it makes, how it stops, what it survives, what it refuses."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import psycopg
import pytest

from sql import addresses, engine
from sql.addresses import Role
from tests.conftest import DEADLINE_SECONDS, POLL_SECONDS, ROOT, Commands, Running, kill, open_folder

ANSWERS = "the database answers"

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root runs the database as another account")


def url(commands: Commands, role: Role = "owner") -> str:
    """The address that the database has left for `role`."""
    return addresses.kept(commands.home / addresses.FILE)[addresses.VARIABLES[role]]


def postmaster(commands: Commands) -> psutil.Process:
    """The process that leads PostgreSQL's others."""
    return psutil.Process(int((commands.home / "data" / "postmaster.pid").read_text().split()[0]))


def keep(commands: Commands, word: str) -> None:
    """Commit a word, in place of those of earlier tests."""
    with psycopg.connect(url(commands)) as connection:
        connection.execute("DROP TABLE IF EXISTS public.kept")
        connection.execute("CREATE TABLE public.kept (word text)")
        connection.execute("INSERT INTO public.kept VALUES (%s)", [word])


def kept(commands: Commands) -> list[str]:
    """The words that are still there."""
    with psycopg.connect(url(commands)) as connection:
        return [word for (word,) in connection.execute("SELECT word FROM public.kept ORDER BY word")]


def wait_until_gone(commands: Commands) -> None:
    """Wait until PostgreSQL has no process in the home folder."""
    _, alive = psutil.wait_procs(commands.postgres(), timeout=DEADLINE_SECONDS)
    assert not alive


def refusal(done: subprocess.CompletedProcess[str]) -> str:
    """The one line with which a command has failed."""
    assert done.returncode != 0, done.stdout
    (line,) = done.stderr.splitlines()
    return line


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    """A home folder whose database is made once, by the first test that has it served."""
    with open_folder() as path:
        yield path / "home"


@pytest.fixture
def served(commands: Commands, home: Path) -> Running:
    """A database that is up, made new or by an earlier test."""
    commands.home = home
    commands.environment["TIDEMARK_HOME"] = str(home)
    running = commands.start("sql", "serve")
    running.until(ANSWERS)
    return running


def test_a_new_database_is_private(commands: Commands) -> None:
    """Whatever our umask is: loopback only, an account of its own, passwords that nobody else can read."""
    commands.start("sql", "serve", umask=0o077).until(ANSWERS)

    listening = [
        connection
        for process in commands.postgres()
        for connection in process.net_connections("all")
        if connection.status == psutil.CONN_LISTEN or (connection.family == socket.AF_UNIX and connection.laddr)
    ]
    assert {connection.laddr for connection in listening} == {("127.0.0.1", urlsplit(url(commands)).port)}
    data = (commands.home / "data").stat()
    assert data.st_uid != 0
    assert data.st_mode & 0o777 == 0o700
    assert {process.uids().real for process in commands.postgres()} == {data.st_uid}
    assert (commands.home / addresses.FILE).stat().st_mode & 0o777 == 0o600


def test_a_new_database_is_configured(served: Running, commands: Commands) -> None:
    """UTF-8, checksums, TimescaleDB without telemetry, and a role each for ingest and query that logs in."""
    settings = {
        "server_encoding": "UTF8",
        "data_checksums": "on",
        "shared_preload_libraries": "timescaledb",
        "timescaledb.telemetry_level": "off",
        "listen_addresses": "127.0.0.1",
        "password_encryption": "scram-sha-256",
        "TimeZone": "UTC",
    }
    with psycopg.connect(url(commands)) as connection:
        for name, value in settings.items():
            assert connection.execute("SELECT current_setting(%s)", [name]).fetchone() == (value,), name
    roles: tuple[Role, ...] = ("owner", "ingest", "query")
    for role in roles:
        with psycopg.connect(url(commands, role)) as connection:
            assert connection.info.user == addresses.ACCOUNTS[role]
        assert commands.run("sql", "url", "--role", role).stdout == f"{url(commands, role)}\n"
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            psycopg.connect(url(commands, role), password="wrong")


def test_it_stops_when_asked_and_keeps_what_was_committed(served: Running, commands: Commands) -> None:
    """SIGTERM ends it with status 0 and leaves no process; the next start finds the data, at the same address."""
    keep(commands, "first")
    address = url(commands)
    assert served.stop(signal.SIGTERM) == 0
    assert commands.postgres() == []

    commands.start("sql", "serve").until(ANSWERS)
    assert url(commands) == address
    assert kept(commands) == ["first"]


def test_it_stops_although_a_client_stays(served: Running, commands: Commands) -> None:
    """Clients are given a while to finish; then they are disconnected."""
    with psycopg.connect(url(commands)) as connection:
        assert served.stop(signal.SIGINT) == 0
        with pytest.raises(psycopg.OperationalError):
            connection.execute("SELECT 1")
    said = served.text()
    assert said.index("received smart shutdown request") < said.index("received fast shutdown request")


def test_killing_the_postmaster_ends_it_and_loses_nothing(served: Running, commands: Commands) -> None:
    """The end of PostgreSQL is the end of the command, with a line; a new start recovers what was committed."""
    keep(commands, "committed")
    postmaster(commands).kill()
    assert served.process.wait(DEADLINE_SECONDS) == 1
    assert "the database ended by itself (status -9)" in served.text()

    commands.start("sql", "serve").until(ANSWERS)
    assert kept(commands) == ["committed"]


def test_killing_the_command_ends_the_postmaster(served: Running, commands: Commands) -> None:
    """A killed command leaves no PostgreSQL behind."""
    keep(commands, "committed")
    served.process.kill()
    wait_until_gone(commands)

    commands.start("sql", "serve").until(ANSWERS)
    assert kept(commands) == ["committed"]


def test_killing_everything_loses_nothing(served: Running, commands: Commands) -> None:
    """Every process killed at once, and a new start at once."""
    keep(commands, "committed")
    kill([psutil.Process(served.process.pid), *commands.postgres()])

    commands.start("sql", "serve").until(ANSWERS)
    assert kept(commands) == ["committed"]


def test_a_postmaster_that_was_left_is_ended_first(served: Running, commands: Commands) -> None:
    """One that is slow to notice that its command was killed is waited for, and then the new one starts."""
    keep(commands, "committed")
    left = postmaster(commands)
    left.suspend()
    served.process.kill()
    served.process.wait()

    restarted = commands.start("sql", "serve")
    restarted.until("ending what an earlier run of the database left")
    left.resume()
    restarted.until(ANSWERS)
    assert kept(commands) == ["committed"]


def test_a_process_number_that_was_given_out_again(served: Running, commands: Commands) -> None:
    """After a crash the number of the old postmaster may be that of another process of the same account."""
    lock_file = commands.home / "data" / "postmaster.pid"
    lines = lock_file.read_text().splitlines()
    keep(commands, "committed")
    kill([psutil.Process(served.process.pid), *commands.postgres()])
    wait_until_gone(commands)
    owner = lock_file.stat().st_uid
    with subprocess.Popen(["sleep", "infinity"], user=owner) as other:
        try:
            lock_file.write_text("\n".join([str(other.pid), *lines[1:], ""]))
            commands.start("sql", "serve").until(ANSWERS)
        finally:
            other.kill()
    assert kept(commands) == ["committed"]


def test_an_interrupted_initdb_is_done_again(commands: Commands) -> None:
    """What a killed first start has left is not used, and does not stand in the way."""
    interrupted = commands.start("sql", "serve")
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not (commands.home / "data.new" / "base").exists():
        assert time.monotonic() < deadline, interrupted.text()
        time.sleep(POLL_SECONDS)
    interrupted.process.kill()
    interrupted.process.wait()
    assert not (commands.home / "data").exists()

    commands.start("sql", "serve").until(ANSWERS)
    keep(commands, "first")
    assert kept(commands) == ["first"]


def test_lost_passwords_are_set_anew(served: Running, commands: Commands) -> None:
    """Without its file of addresses a database gets new passwords, and keeps its data."""
    keep(commands, "committed")
    lost = url(commands, "query")
    served.stop()
    (commands.home / addresses.FILE).unlink()

    commands.start("sql", "serve").until(ANSWERS)
    assert kept(commands) == ["committed"]
    psycopg.connect(url(commands, "query")).close()
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(lost)


def test_a_second_one_is_refused(served: Running, commands: Commands) -> None:
    """Two cannot run the same database; the first one is named and goes on."""
    line = refusal(commands.run("sql", "serve"))
    assert line == f"python -m sql: the embedded database is already running (pid {served.process.pid})"
    keep(commands, "still there")


def test_a_taken_port_is_refused(commands: Commands) -> None:
    """The line names the port, its holder and the setting."""
    port = int(commands.environment["TIDEMARK_DATABASE_PORT"])
    with socket.create_server(("127.0.0.1", port)):
        line = refusal(commands.run("sql", "serve"))
    holder = f"{psutil.Process().name()} (pid {os.getpid()})"
    assert line == f"python -m sql: port {port} is taken by {holder}: end that, or set TIDEMARK_DATABASE_PORT"


def test_data_of_another_version_is_refused(served: Running, commands: Commands) -> None:
    """The line names both versions; the data is left as it is."""
    keep(commands, "committed")
    served.stop()
    version = commands.home / "data" / "PG_VERSION"
    right = version.read_text()
    version.write_text("9\n")
    line = refusal(commands.run("sql", "serve"))
    assert f"was written by PostgreSQL 9 and the engine here is {right.strip()}" in line

    version.write_text(right)
    commands.start("sql", "serve").until(ANSWERS)
    assert kept(commands) == ["committed"]


def test_something_else_in_its_place_is_refused(commands: Commands) -> None:
    """A folder that PostgreSQL has not made is left alone."""
    data = commands.home / "data"
    data.mkdir(parents=True)
    if os.geteuid() == 0:
        os.chown(data, pwd.getpwnam("nobody").pw_uid, -1)
    (data / "letters").touch()
    assert f"{data} is not a PostgreSQL data folder" in refusal(commands.run("sql", "serve"))
    assert (data / "letters").exists()


@as_root
def test_the_named_account_has_it(commands: Commands) -> None:
    """TIDEMARK_ACCOUNT decides at first; later the owner of the data does, and another account is refused."""
    commands.environment["TIDEMARK_ACCOUNT"] = "nobody"
    first = commands.start("sql", "serve")
    first.until(ANSWERS)
    assert (commands.home / "data").stat().st_uid == pwd.getpwnam("nobody").pw_uid
    first.stop()

    commands.environment["TIDEMARK_ACCOUNT"] = "daemon"
    line = refusal(commands.run("sql", "serve"))
    assert f"the data in {commands.home}/data belongs to nobody, not to daemon" in line

    del commands.environment["TIDEMARK_ACCOUNT"]
    commands.start("sql", "serve").until(ANSWERS)


@as_root
@pytest.mark.parametrize(
    ("account", "reason"),
    [
        ("root", "PostgreSQL does not run as root: set TIDEMARK_ACCOUNT to another account"),
        ("no-such-account", "there is no account no-such-account on this machine (TIDEMARK_ACCOUNT)"),
    ],
)
def test_an_account_that_cannot_have_it(commands: Commands, account: str, reason: str) -> None:
    """An account that does not exist, or that PostgreSQL refuses, is refused by name."""
    assert refusal(commands.run("sql", "serve", "--account", account)) == f"python -m sql: {reason}"


@as_root
def test_a_home_that_the_account_cannot_reach(commands: Commands, tmp_path: Path) -> None:
    """The line names the folder and the setting."""
    tmp_path.chmod(0o700)
    line = refusal(commands.run("sql", "serve", "--home", str(tmp_path / "home")))
    assert f"cannot reach {tmp_path}/home: choose another TIDEMARK_HOME" in line


@as_root
def test_without_roots_rights(commands: Commands, shared_engine: Path) -> None:
    """Another user runs it as well as root does, from the same engine, and owns all of it."""
    engine.private(shared_engine, print)
    nobody = pwd.getpwnam("nobody")
    python, environment = interpreter_for(nobody.pw_uid)
    commands.home.mkdir()
    os.chown(commands.home, nobody.pw_uid, nobody.pw_gid)
    log = commands.home.with_name("log")
    with log.open("wb") as file:
        process = subprocess.Popen(
            [python, "-m", "sql", "serve"],
            env={**commands.environment, **environment},
            cwd=ROOT,
            stdout=file,
            stderr=subprocess.STDOUT,
            user=nobody.pw_uid,
            group=nobody.pw_gid,
            extra_groups=[],
        )
    commands.started.append(Running(process, log))
    commands.started[-1].until(ANSWERS)
    keep(commands, "by nobody")
    assert {path.stat().st_uid for path in commands.home.iterdir()} == {nobody.pw_uid}


@as_root
def test_a_user_without_an_entry_in_passwd(commands: Commands) -> None:
    """PostgreSQL needs one: the line says so."""
    nameless = 54321
    python, environment = interpreter_for(nameless)
    commands.home.mkdir()
    os.chown(commands.home, nameless, -1)
    command = [python, "-m", "sql", "serve"]
    wanted = {**commands.environment, **environment}
    done = subprocess.run(
        command, env=wanted, cwd=ROOT, capture_output=True, text=True, check=False, user=nameless, extra_groups=[]
    )
    assert refusal(done).startswith(f"python -m sql: user id {nameless} is not in /etc/passwd")


def interpreter_for(uid: int) -> tuple[str, dict[str, str]]:
    """A Python that the account `uid` may run, with what its environment needs to find our packages."""
    packages = {"PYTHONPATH": sysconfig.get_path("purelib"), "PYTHONDONTWRITEBYTECODE": "1"}
    for python in (sys.executable, *filter(None, [shutil.which("python3", path="/usr/bin:/usr/local/bin")])):
        command = [python, "-c", "import sql.postmaster"]
        environment = {**os.environ, **packages}
        try:
            tried = subprocess.run(command, env=environment, cwd=ROOT, user=uid, extra_groups=[], capture_output=True)
        except PermissionError:
            continue
        if tried.returncode == 0:
            return python, packages
    pytest.skip("no Python here that another account may run")
