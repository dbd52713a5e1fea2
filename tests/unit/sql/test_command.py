from __future__ import annotations

import pytest

from sql import command
from sql.command import CommandError


def test_what_a_program_prints_is_returned() -> None:
    """Its input is what it was given, and its words are English."""
    assert command.run("reading", ["cat"], text="a\nb\n") == "a\nb\n"
    assert command.run("asking", ["sh", "-c", 'echo "$LC_ALL"']) == "C\n"
    assert command.run("asking", ["sh", "-c", 'echo "$LC_ALL $A"'], environment={"A": "b"}) == "C b\n"


def test_a_slow_program_can_be_told_about(monkeypatch: pytest.MonkeyPatch) -> None:
    """We are called while it runs, and get all that it prints."""
    monkeypatch.setattr(command, "MEANWHILE_SECONDS", 0.01)
    looked: list[str] = []
    slow = ["sh", "-c", "sleep 0.1; head -c 1000000 /dev/zero | tr '\\0' x"]
    assert command.run("writing", slow, meanwhile=lambda: looked.append("once")) == "x" * 1_000_000
    assert looked


def test_a_failure_says_what_was_done_and_why() -> None:
    """One line; without a reason, the status."""
    with pytest.raises(CommandError, match=r"^mending failed: it is broken$"):
        command.run("mending", ["sh", "-c", "echo it is broken >&2; exit 3"])
    with pytest.raises(CommandError, match=r"^mending failed: status 3$"):
        command.run("mending", ["sh", "-c", "exit 3"])


@pytest.mark.parametrize(
    ("printed", "told"),
    [
        ("", None),
        ("a\nb\n\n", "b"),
        ("W: a warning\nE: Failed to fetch x\nE: Some files failed", "Failed to fetch x"),
        ("W: GPG error: NO_PUBKEY", "GPG error: NO_PUBKEY"),
        ("LOG: going\npostgres: FATAL:  no room\nhint", "postgres: FATAL:  no room"),
        ("initdb: error: could not create\ninitdb: removing", "initdb: error: could not create"),
    ],
)
def test_the_line_that_tells_the_fault(printed: str, told: str | None) -> None:
    """The first of the most telling kind, else the last."""
    assert command.fault(printed) == told
