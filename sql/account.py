"""The account that the embedded database belongs to: PostgreSQL refuses to run as root."""

from __future__ import annotations

import os
import pwd
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from service.errors import TidemarkError

USUAL = ("postgres", "nobody")


class AccountError(TidemarkError):
    """No account that the database could run as; the message says what to set."""


@dataclass(frozen=True)
class Account:
    """An unprivileged account of this machine."""

    name: str
    uid: int
    gid: int

    def identity(self) -> dict[str, Any]:
        """What to tell `subprocess` so that a program runs as this account."""
        if self.uid == os.geteuid():
            return {}
        return {"user": self.uid, "group": self.gid, "extra_groups": []}

    def own(self, path: Path) -> None:
        """Hand `path` over to the account."""
        if self.uid != os.geteuid():
            os.chown(path, self.uid, self.gid)


def choose(named: str | None, data: Path) -> Account:
    """The account for the database whose data is, or will be, in the folder `data`.

    Without root's rights it is our own. With them it is the one `named`, else the owner of the data, else the
    first of `USUAL` that exists. Raises `AccountError` when there is none, or when it cannot be used.
    """
    account = _wanted(named, data)
    if account.uid == 0:
        raise AccountError(f"PostgreSQL does not run as {account.name}: set TIDEMARK_ACCOUNT to another account")
    if os.geteuid() not in (0, account.uid):
        raise AccountError(f"only root can run the database as {account.name} (TIDEMARK_ACCOUNT)")
    if data.exists() and (owner := data.stat().st_uid) != account.uid:
        raise AccountError(
            f"the data in {data} belongs to {_called(owner)}, not to {account.name}: run as that account, "
            f"or as root with TIDEMARK_ACCOUNT={_called(owner)}, or choose another TIDEMARK_HOME"
        )
    return account


def _wanted(named: str | None, data: Path) -> Account:
    if named is not None:
        try:
            return _account(pwd.getpwnam(named))
        except KeyError:
            raise AccountError(f"there is no account {named} on this machine (TIDEMARK_ACCOUNT)") from None
    uid = os.geteuid()
    if uid == 0 and data.exists():
        uid = data.stat().st_uid
    if uid != 0:
        try:
            return _account(pwd.getpwuid(uid))
        except KeyError:
            raise AccountError(
                f"user id {uid} is not in /etc/passwd, and PostgreSQL needs it there: "
                "add it, or set DATABASE_URL to another server"
            ) from None
    known = {entry.pw_name: entry for entry in pwd.getpwall()}
    for name in USUAL:
        if name in known:
            return _account(known[name])
    raise AccountError(f"none of the accounts {', '.join(USUAL)} exists: set TIDEMARK_ACCOUNT to one that does")


def _account(entry: pwd.struct_passwd) -> Account:
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid)


def _called(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user id {uid}"
