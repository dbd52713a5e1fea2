"""Children that do not outlive us: the kernel signals them when we end, even when we are killed."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Callable

PR_SET_PDEATHSIG = 1  # prctl(2)


def ends_with_parent(number: signal.Signals) -> Callable[[], None]:
    """A function for a child to call before it runs its program: `number` is its signal when we end.

    To be called after a change of user, which clears the arrangement.
    """
    parent = os.getpid()

    def tie() -> None:
        end_with_parent(number)
        if os.getppid() != parent:  # it ended before the kernel knew
            os.kill(os.getpid(), number)

    return tie


def end_with_parent(number: signal.Signals) -> None:
    """Get the signal `number` when our parent ends. Only Linux has it; elsewhere nothing happens."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, number)
