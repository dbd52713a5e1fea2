"""Several processes on one port: a supervisor that listens, and workers that accept and serve.

1. The supervisor takes the port, and forks the workers. It never has an event loop or threads, which a fork breaks
   (but those of libraries that end theirs before a fork, as numpy's does).
2. A worker that ends by itself is started anew after a pause. What waits to be accepted is left to the others.
3. SIGTERM or SIGINT: the supervisor has every worker finish its requests, waits for them, and ends.
4. A worker whose supervisor is gone, however that went, stops in the same way: each holds the reading end of a pipe
   whose writing end is the supervisor's alone, and which the kernel closes with it.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import shutil
import signal
import socket
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvloop
from aiohttp import web

from service import logs
from service.accepting import SharedSite
from service.connections import Bound
from service.siblings import WORKER, Worker
from service.web import BACKLOG, SHELL, STOP_SIGNALS, refused_in_one_line, serve
from service.web import run as run_alone

log = logs.get(__name__)

RESTART_SECONDS = 1.0
"""From a worker's unexpected end to its next start."""
HEARD = (*STOP_SIGNALS, signal.SIGCHLD)
FORK = multiprocessing.get_context("fork")


@dataclass(frozen=True)
class Service:
    """What every worker serves, and how."""

    prog: str
    make_app: Callable[[], web.Application]
    url: str
    listeners: Sequence[socket.socket]
    workers: int
    bound: Bound
    """On connections, for each worker."""
    server_options: Mapping[str, Any]


def run(
    prog: str,
    make_app: Callable[[], web.Application],
    host: str,
    port: int,
    workers: int,
    bound: Bound,
    **server_options: Any,
) -> None:
    """As `service.web.run`, with so many processes; a single one is this process itself, without a supervisor."""
    if workers == 1:
        run_alone(prog, make_app, host, port, bound, **server_options)
        return
    with refused_in_one_line(prog, host, port):
        listeners = listen(host, port)
    Supervisor(Service(prog, make_app, f"http://{host}:{port}", listeners, workers, bound, server_options)).run()


def listen(host: str, port: int) -> list[socket.socket]:
    """Sockets that listen on every address of `host`, and do not block; `OSError` when one cannot be taken."""
    found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    listeners = []
    for family, address in dict.fromkeys((family, address) for family, _, _, _, address in found):
        listeners.append(socket.create_server(address, family=family, backlog=BACKLOG))
        listeners[-1].setblocking(False)
    return listeners


class Supervisor:
    """Keeps the workers of a service running until it is told to stop."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._running: dict[int, multiprocessing.context.ForkProcess] = {}
        self._due = dict.fromkeys(range(service.workers), 0.0)
        """When the workers that do not run are to be started, by the monotonic clock."""
        self._ended: Counter[int] = Counter()
        """How often each worker has ended unexpectedly."""
        self._lifeline, self._grip = os.pipe()

    def run(self) -> None:
        """Keep them running until SIGTERM or SIGINT; then stop them, and return when all have ended."""
        # A signal that is blocked waits to be fetched: none is missed, and none comes in the middle of something.
        signal.pthread_sigmask(signal.SIG_BLOCK, HEARD)
        with tempfile.TemporaryDirectory(prefix="tidemark-") as folder:
            while True:
                self._start_due(Path(folder))
                if self._next_signal() in STOP_SIGNALS:
                    break
                self._note_ended()
            self._stop()

    def _start_due(self, folder: Path) -> None:
        now = time.monotonic()
        for number in [number for number, due in self._due.items() if due <= now]:
            process = FORK.Process(target=self._work, args=(number, folder), daemon=True)
            try:
                process.start()
            except OSError as error:
                log.error("a worker could not be started", worker=number, error=str(error))  # noqa: TRY400
                self._due[number] = now + RESTART_SECONDS
            else:
                self._running[number] = process
                del self._due[number]

    def _next_signal(self) -> int | None:
        """Wait for a signal, or until a worker is due."""
        if not self._due:
            return signal.sigwaitinfo(HEARD).si_signo
        told = signal.sigtimedwait(HEARD, max(0.0, min(self._due.values()) - time.monotonic()))
        return None if told is None else told.si_signo

    def _note_ended(self) -> None:
        for number, process in list(self._running.items()):
            if process.exitcode is not None:
                log.error("a worker ended unexpectedly", worker=number, pid=process.pid, exit_status=process.exitcode)
                del self._running[number]
                self._ended[number] += 1
                self._due[number] = time.monotonic() + RESTART_SECONDS

    def _stop(self) -> None:
        for listener in self._service.listeners:
            listener.close()
        for process in self._running.values():
            process.terminate()
        for number, process in self._running.items():
            process.join()
            if process.exitcode:
                log.warning("a worker did not stop in order", worker=number, exit_status=process.exitcode)

    def _work(self, number: int, folder: Path) -> None:
        """A worker's whole life, in its own process."""
        os.close(self._grip)
        signal.pthread_sigmask(signal.SIG_SETMASK, STOP_SIGNALS)  # until its event loop hears them
        logs.bind(worker=number)
        uvloop.run(_serve(self._service, number, self._ended[number], folder, self._lifeline))


async def _serve(service: Service, number: int, restarts: int, folder: Path, lifeline: int) -> None:
    """Serve as a worker until told to stop, or until the supervisor is gone."""
    app = service.make_app()
    shell = app[SHELL]
    worker = Worker(number, service.workers, folder, name=shell.name, registry=shell.registry, restarts=restarts)
    app[WORKER] = worker
    loop = asyncio.get_running_loop()

    def orphaned() -> None:
        loop.remove_reader(lifeline)
        log.error("the supervisor is gone")
        shutil.rmtree(folder, ignore_errors=True)  # which is the supervisor's to do otherwise
        signal.raise_signal(signal.SIGTERM)

    loop.add_reader(lifeline, orphaned)
    async with worker.answering():
        await serve(
            app,
            lambda runner: [SharedSite(runner, listener) for listener in service.listeners],
            service.prog,
            service.url,
            service.bound,
            service.server_options,
        )
