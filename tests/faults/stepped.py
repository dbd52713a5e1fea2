"""`python -m tests.faults.stepped FILE`: ingest, whose clock is off by the seconds that FILE holds at the moment.

The clock of this machine is not ours to step, and a library that fakes it below the interpreter is one more thing to
install; what ingest knows of the time of day it asks these two functions of `time`, which can be stepped under load.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

NANOSECONDS = 1_000_000_000


def step_with(file: Path) -> None:
    """Let the time of day follow `file` from now on; the monotonic clock goes on as it is."""
    right_ns = time.time_ns

    def stepped_ns() -> int:
        return right_ns() + int(file.read_text(encoding="ascii") or 0) * NANOSECONDS

    time.time_ns = stepped_ns
    time.time = lambda: stepped_ns() / NANOSECONDS


def main() -> None:
    """Run ingest with such a clock."""
    step_with(Path(sys.argv.pop()))
    from ingest.__main__ import main as serve  # not before: nothing may take hold of the right clock

    serve()


if __name__ == "__main__":
    main()
