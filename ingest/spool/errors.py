"""What the spool raises.

SpoolError
├── SpoolUnavailable    what was asked for cannot be done now
│   ├── SpoolFull       past the bound of its bytes
│   ├── SpoolTooOld     past the bound of its age
│   └── SpoolFailed     the operating system refuses; `reason` is its name for that, such as ENOSPC
├── SpoolLost           an entry's file is gone
└── UnreadableEntry     an entry that can be set aside, but not replayed
    ├── CorruptEntry    not what was written
    └── UnknownVersion  whole, perhaps, but of a version that this code does not know
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from service.errors import TidemarkError


class SpoolError(TidemarkError):
    """The base of the spool's errors."""


class SpoolUnavailable(SpoolError):
    """What was asked for cannot be done now."""

    reason: str
    """In a word, for an instrument."""


class SpoolFull(SpoolUnavailable):
    """The requests would go past the bound of bytes; they are not kept."""

    reason = "full"


class SpoolTooOld(SpoolUnavailable):
    """What waits has waited for so long that no more is to wait behind it."""

    reason = "age"


class SpoolFailed(SpoolUnavailable):
    """The operating system refuses what the spool needs."""

    def __init__(self, message: str, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


class SpoolLost(SpoolError):
    """An entry that was there is not any more, and nobody of us removed it."""


class UnreadableEntry(SpoolError):
    """An entry that cannot be replayed by this code."""


class CorruptEntry(UnreadableEntry):
    """An entry that is not what was written."""


class UnknownVersion(UnreadableEntry):
    """An entry of a version that this code does not know."""


@contextmanager
def told(what: str) -> Iterator[None]:
    """Raise what the operating system refuses as `SpoolFailed`: "the spool cannot `what`". Names no path."""
    try:
        yield
    except OSError as error:
        reason = errno.errorcode.get(error.errno or 0, type(error).__name__)
        raise SpoolFailed(f"the spool cannot {what}: {error.strerror or error} ({reason})", reason) from error
