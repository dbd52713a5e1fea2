from __future__ import annotations

from pathlib import Path

import pytest

from sql import debian
from sql.debian import DebianError, Mirrors, Source

USUAL = """\
http://deb.example/debian/ bookworm main
http://deb.example/debian/ bookworm non-free-firmware
http://deb.example/debian/ bookworm-updates main
http://deb.example/debian-security/ bookworm-security main
"""


def test_the_mirrors_of_a_usual_system() -> None:
    """One archive, and the one of its security updates."""
    assert debian.mirrors(USUAL) == Mirrors("http://deb.example/debian/", "http://deb.example/debian-security/")


@pytest.mark.parametrize(
    "others",
    [
        "https://others.example/linux/debian/ bookworm stable\n",
        "https://others.example/linux/debian/ bookworm main\n",
        "http://others.example/pub/repos/apt/ bookworm-pgdg main\n",
        "cdrom:[Debian_12]/ bookworm main\n",
        "https://flat.example/packages/ / \n",
    ],
)
def test_other_archives_are_not_taken_for_debians(others: str) -> None:
    """Though they name their suites as Debian does, and come first."""
    assert debian.mirrors(others + USUAL) == debian.mirrors(USUAL)


def test_a_system_without_security_updates() -> None:
    """Goes without."""
    assert debian.mirrors("http://deb.example/debian/ sid main\n") == Mirrors("http://deb.example/debian/", None)


@pytest.mark.parametrize("indexes", ["", "http://a.example/ubuntu/ noble main\n", "cdrom:[Debian_12]/ bookworm main\n"])
def test_a_system_without_a_debian_mirror(indexes: str) -> None:
    """There is nothing to guess."""
    with pytest.raises(DebianError, match="apt's configuration names no Debian mirror"):
        debian.mirrors(indexes)


def test_the_sources_are_of_one_suite_and_signed() -> None:
    """Each of our suites, from the mirror that serves it, vouched for by the one keyring."""
    source = Source("arm64", Path("/keys.gpg"), Mirrors("http://m/debian/", "http://s/security/"))
    options = "[arch=arm64 lang=none target=Packages signed-by=/keys.gpg]"
    assert source.lines().splitlines() == [
        f"deb {options} http://m/debian/ trixie main",
        f"deb {options} http://m/debian/ trixie-updates main",
        f"deb {options} http://s/security/ trixie-security main",
    ]
    without = Source("arm64", Path("/keys.gpg"), Mirrors("http://m/debian/", None))
    assert without.lines() == "".join(source.lines().splitlines(keepends=True)[:2])
