from __future__ import annotations

import random
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ingest.spool.entry import Request
from ingest.spool.store import Store
from tests.unit.ingest.spool.conftest import ROOMY_BYTES

BODY_BYTES = 50_000

APPEND = """
import sys
from pathlib import Path
from ingest.spool.entry import Request
from ingest.spool.store import Store
store = Store(Path(sys.argv[1]), max_bytes=1 << 30)
number = 0
while True:
    number += 1
    body = (b"cpu,host=web usage=%d\\n" % number) * (int(sys.argv[2]) // 20)
    entry = store.append([Request("influx", 1, number, number, number, number, body)])
    sys.stdout.write(f"{entry.path} {number}\\n")  # at once, also where output is not buffered
    sys.stdout.flush()
"""


def request(number: int) -> Request:
    """The request that the appending process makes as its `number`th."""
    return Request(
        "influx", 1, number, number, number, number, (b"cpu,host=web usage=%d\n" % number) * (BODY_BYTES // 20)
    )


@contextmanager
def appending(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that appends until it is killed, and prints what it may promise."""
    command = [sys.executable, "-c", APPEND, str(folder), str(BODY_BYTES)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def promised(process: subprocess.Popen[str]) -> Iterator[tuple[Path, int]]:
    """What the process prints: an entry's path and its request's number."""
    assert process.stdout is not None
    for line in process.stdout:
        path, number = line.split()
        yield Path(path), int(number)


@pytest.mark.parametrize("seed", range(12))
def test_nothing_promised_is_lost_in_a_kill(folder: Path, seed: int) -> None:
    """Kill a process that appends, anywhere in what it does: all that it promised is there, and nothing is torn."""
    chosen = random.Random(seed)
    with appending(folder) as process:
        lines = promised(process)
        kept = [next(lines) for _ in range(chosen.randrange(1, 20))]
        time.sleep(chosen.uniform(0, 0.004))  # to strike anywhere in the next append
        process.kill()
        kept += lines
        process.wait()  # its lock outlives its output by a moment
    found: dict[Path, list[Request]] = {}
    with Store(folder, max_bytes=ROOMY_BYTES) as store:
        while (entry := store.oldest()) is not None:
            found[entry.path] = store.read(entry)
            store.remove(entry)
        assert store.totals().quarantined_entries == 0
    assert len(found) - len(kept) in (0, 1)  # the last one may be durable before it is promised
    for path, number in kept:
        assert found[path] == [request(number)]
    assert not list(folder.rglob("*.tmp"))


def test_a_killed_process_leaves_its_slot_to_the_next(folder: Path) -> None:
    """While a process lives nobody has its slot; once it is killed, another one that runs adopts what it kept."""
    with Store(folder, max_bytes=ROOMY_BYTES) as store:
        with appending(folder) as process:
            path, number = next(promised(process))
            assert path.parent == folder / "1"
            assert store.adopt() == []
            process.kill()
            process.wait()
            assert path in [entry.path for entry in store.adopt()]
        oldest = store.oldest()
        assert oldest is not None
        assert store.read(oldest) == [request(number)]
