from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from sql import lock
from sql.lock import AlreadyRunningError

HOLD = """
import sys
from pathlib import Path
from sql import lock
with lock.held(Path(sys.argv[1]), "it"):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_the_holder_is_named(tmp_path: Path) -> None:
    """Another process that wants the lock is told which one has it, and gets it as soon as that is killed."""
    path = tmp_path / "new" / "lock"
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with (
            pytest.raises(AlreadyRunningError, match=rf"^it is already running \(pid {holder.pid}\)$"),
            lock.held(path, "it"),
        ):
            pass
        holder.kill()
    with lock.held(path, "it"):
        assert path.read_text() == f"{os.getpid()}\n"
