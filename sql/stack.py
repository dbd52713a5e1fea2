"""What `make up` runs: every process of the `Procfile`, with the embedded database unless a server is named.

honcho runs the processes and prints their lines; when one ends, it stops the others. Ours, in addition, do not
outlive the launcher: when it is killed they are told to stop.
"""

from __future__ import annotations

import functools
import os
import signal
import sys
from pathlib import Path
from typing import Any

import honcho.manager
import honcho.process
from honcho.environ import parse_procfile

from service.settings import variable_of
from sql import lock
from sql.addresses import LOOPBACK
from sql.embedded import prepare, sole_use
from sql.engine import Say
from sql.lifeline import end_with_parent, ends_with_parent
from sql.ports import require_apart, require_free
from sql.ready import place
from sql.settings import Stack

ROOT = Path(__file__).resolve().parent.parent
DATABASE_PROCESS = "db"
STOP_SECONDS = 20
"""How long the processes have to stop before they are killed: ingest drains, then the database's clients are cut."""
STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)
ASKED_TO_STOP = tuple(128 + number for number in STOP_SIGNALS)


def up(settings: Stack, say: Say) -> int:
    """Run everything until SIGINT or SIGTERM, or until a process ends; the status to exit with.

    Raises a `TidemarkError` when something stands in the way before anything runs.
    """
    with lock.held(settings.home / "up.lock", "Tidemark"):
        require_apart(_places(settings))
        require_free(settings.ingest_host, settings.ingest_port, "INGEST_PORT")
        require_free(settings.query_host, settings.query_port, "QUERY_PORT")
        manager = Manager()
        environment = {**os.environ, **variables(settings), **_database(settings, say)}
        processes = parse_procfile((ROOT / "Procfile").read_text(encoding="utf-8")).processes
        for name, line in processes.items():
            if name != DATABASE_PROCESS or settings.database_url is None:
                manager.add_process(name, f"exec {line}", env=environment, cwd=str(ROOT))
        _loop(manager)
    if manager.returncode in ASKED_TO_STOP:
        return 0
    say("a process ended, so everything was stopped; its lines above say why")
    return 1


def _places(settings: Stack) -> dict[str, tuple[str, int]]:
    """Where is listened, by the settings of the ports."""
    places = {
        "INGEST_PORT": (settings.ingest_host, settings.ingest_port),
        "QUERY_PORT": (settings.query_host, settings.query_port),
    }
    if settings.database_url is None:
        places["TIDEMARK_DATABASE_PORT"] = (LOOPBACK, settings.database_port)
    return places


def _loop(manager: Manager) -> None:
    honcho.manager.KILL_WAIT = STOP_SECONDS  # it has no parameter for this
    try:
        manager.loop()
    except BrokenPipeError:
        # Nobody reads our output any more. When we end without ado, the processes are told to stop.
        os._exit(1)


def variables(settings: Stack) -> dict[str, str]:
    """What the processes are told: every setting under its own name, and the programs of this environment first."""
    told = {
        variable_of(Stack, name): str(value)
        for name, value in settings.model_dump(exclude_none=True).items()
        if not name.endswith("database_url")
    }
    if "AGENT_URL" not in os.environ:
        told["AGENT_URL"] = f"http://{place(settings.ingest_host, settings.ingest_port)}"
    if "AGENT_INSTRUMENTS_URLS" not in os.environ:
        services = ((settings.ingest_host, settings.ingest_port), (settings.query_host, settings.query_port))
        told["AGENT_INSTRUMENTS_URLS"] = ",".join(f"http://{place(*service)}/metrics" for service in services)
    path = [str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]
    return {**told, "PATH": os.pathsep.join(path), "PYTHONUNBUFFERED": "1"}


def _database(settings: Stack, say: Say) -> dict[str, str]:
    """The addresses of the server that the user names, else of the embedded database, prepared here."""
    if settings.database_url is not None:
        return settings.named_urls()
    with sole_use(settings.home, say):
        require_free(LOOPBACK, settings.database_port, "TIDEMARK_DATABASE_PORT")
        return prepare(settings, say).addresses.variables()


class Process(honcho.process.Process):  # type: ignore[misc]
    """A process that is told to stop when the launcher is gone, however that went."""

    def run(self, events: Any = None, ignore_signals: bool = False) -> None:
        """As honcho's: in a process of its own, which starts the program and passes its lines on."""
        end_with_parent(signal.SIGKILL)
        self._child_ctor = functools.partial(honcho.process.Popen, preexec_fn=ends_with_parent(signal.SIGTERM))
        super().run(events, ignore_signals)


class Manager(honcho.manager.Manager):  # type: ignore[misc]
    """honcho's manager, with our processes, and safe to stop while it starts."""

    def __init__(self) -> None:
        super().__init__()
        self._process_ctor = Process

    def _start(self) -> None:
        """As honcho's; a signal that comes before the processes' ids are known waits until they are."""
        handlers = {number: signal.getsignal(number) for number in STOP_SIGNALS}
        early: list[int] = []
        for number in STOP_SIGNALS:
            signal.signal(number, lambda number, _: early.append(number))
        super()._start()
        messages = []
        while not self._all_started():
            messages.append(message := self.events.get())
            if message.type == "start":
                self._processes[message.name]["pid"] = message.data["pid"]
        for message in messages:
            self.events.put(message)
        for number, handler in handlers.items():
            signal.signal(number, handler)
        if early:
            signal.raise_signal(early[0])
