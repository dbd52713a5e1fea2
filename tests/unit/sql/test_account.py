from __future__ import annotations

import os
import pwd
from pathlib import Path

import pytest

from sql import account
from sql.account import AccountError

mine = pwd.getpwuid(os.geteuid()).pw_name


@pytest.mark.skipif(os.geteuid() == 0, reason="under root the database has another account")
def test_without_roots_rights_it_is_our_own(tmp_path: Path) -> None:
    """It needs nothing to run as itself, and cannot run as anybody else."""
    chosen = account.choose(None, tmp_path / "data")
    assert (chosen.name, chosen.uid) == (mine, os.geteuid())
    assert chosen.identity() == {}
    with pytest.raises(AccountError, match="only root can run the database as daemon"):
        account.choose("daemon", tmp_path / "data")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may choose")
def test_root_gives_it_to_an_account_without_rights(tmp_path: Path) -> None:
    """The usual one at first, later the owner of the data; and it keeps none of root's groups."""
    chosen = account.choose(None, tmp_path / "data")
    assert chosen.name in account.USUAL
    assert chosen.identity() == {"user": chosen.uid, "group": chosen.gid, "extra_groups": []}
    daemon = pwd.getpwnam("daemon")
    (tmp_path / "data").mkdir()
    os.chown(tmp_path / "data", daemon.pw_uid, daemon.pw_gid)
    assert account.choose(None, tmp_path / "data").name == "daemon"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may choose")
def test_data_that_belongs_to_root_is_refused(tmp_path: Path) -> None:
    """PostgreSQL would not run as its owner, and another account could not write it."""
    with pytest.raises(AccountError, match=f"the data in {tmp_path} belongs to root"):
        account.choose(None, tmp_path)


def test_an_account_that_is_not_there_is_refused(tmp_path: Path) -> None:
    """By name and setting."""
    with pytest.raises(AccountError, match=r"there is no account nope on this machine \(TIDEMARK_ACCOUNT\)"):
        account.choose("nope", tmp_path)
