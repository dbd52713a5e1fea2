"""Processor time and memory of processes, from outside."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import psutil

SAMPLE_SECONDS = 0.25
MEBIBYTE = 1024 * 1024


@dataclass
class Usage:
    """What a process and its children used while they were watched."""

    cpu_seconds: float = 0.0
    peak_mib: float = 0.0
    """The highest sum of what they hold for themselves and their share of what they share (PSS)."""
    samples_mib: list[float] = field(default_factory=list)


@contextmanager
def watched(pids: dict[str, int]) -> Iterator[dict[str, Usage]]:
    """Watch processes by name, each with its children; the figures are whole when the block has ended."""
    found = {name: Usage() for name in pids}
    families = {name: psutil.Process(pid) for name, pid in pids.items()}
    before = {name: _cpu(process) for name, process in families.items()}
    finished = threading.Event()

    def sample() -> None:
        while True:
            for name, process in families.items():
                found[name].samples_mib.append(_memory_mib(process))
            if finished.wait(SAMPLE_SECONDS):
                return

    sampler = threading.Thread(target=sample, daemon=True)
    sampler.start()
    try:
        yield found
    finally:
        finished.set()
        sampler.join()
        for name, process in families.items():
            found[name].cpu_seconds = _cpu(process) - before[name]
            found[name].peak_mib = max(found[name].samples_mib)


def _family(process: psutil.Process) -> list[psutil.Process]:
    return [process, *process.children(recursive=True)]


def _cpu(process: psutil.Process) -> float:
    total = 0.0
    for one in _family(process):
        try:
            times = one.cpu_times()
        except psutil.NoSuchProcess:
            continue
        total += times.user + times.system
        if one.pid == process.pid:
            total += times.children_user + times.children_system
    return total


def _memory_mib(process: psutil.Process) -> float:
    total = 0
    for one in _family(process):
        try:
            total += one.memory_full_info().pss
        except psutil.NoSuchProcess:
            continue
    return total / MEBIBYTE
