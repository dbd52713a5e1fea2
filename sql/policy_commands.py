"""`python -m sql policy`: how long data is kept, and in which form; shown, set and unset."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import orjson
import psycopg
from pydantic import AliasChoices, Field
from pydantic_settings import CliApp, CliPositionalArg, CliSubCommand

from service.settings import Settings
from sql import policies, tables
from sql.durations import KINDS
from sql.policies import Change
from sql.settings import Server

TRIES = 5
"""How often to try for a second each, where somebody uses a table."""


class PolicyCommand(Server):
    """What every command has."""

    as_json: bool = Field(False, validation_alias=AliasChoices("json"), description="print JSON")

    def connect(self) -> psycopg.Connection:
        """A connection with the owner's rights."""
        return psycopg.connect(self.url("owner"), application_name="tidemark policy")


class List(PolicyCommand):
    """Show the rows of the policy, and what follows from them for each measurement."""

    def cli_cmd(self) -> None:
        """Run the command."""
        with self.connect() as connection:
            own, effective = policies.own(connection), policies.effective(connection)
        if self.as_json:
            _print_json({"policies": own, "measurements": effective})
            return
        rows = [[row["pattern"] or "(default)", *(row[name] for name in KINDS)] for row in own]
        print(*tables.lines(["policy", *KINDS], rows), "", sep="\n")
        rows = [[row["measurement"], *(row[name] for name in KINDS)] for row in effective]
        print(*tables.lines(["measurement", *KINDS], rows), sep="\n")


class Changing(PolicyCommand):
    """A command that changes a row of the policy."""

    pattern: CliPositionalArg[str] = Field(description="a measurement's name, or a pattern with * and ?")
    dry_run: bool = Field(False, description="only show what would change")

    def change(self, connection: psycopg.Connection) -> None:
        """Change the row."""
        raise NotImplementedError

    def cli_cmd(self) -> None:
        """Run the command."""
        policies.checked_pattern(self.pattern)
        with self.connect() as connection:
            with connection.transaction(force_rollback=self.dry_run):
                before = policies.effective(connection)
                self.change(connection)
                changed = policies.changes(before, policies.effective(connection))
            affected = list(dict.fromkeys(one.measurement for one in changed))
            connection.commit()
            connection.autocommit = True
            outcomes = {} if self.dry_run else dict(_applied(connection, affected))
        self._tell(changed, outcomes)
        if any("failed" in outcome for outcome in outcomes.values()):
            raise SystemExit(1)

    def _tell(self, changed: list[Change], outcomes: dict[str, dict[str, Any]]) -> None:
        if self.as_json:
            told = {"pattern": self.pattern, "dry_run": self.dry_run}
            _print_json({**told, "changes": [asdict(one) for one in changed], "applied": outcomes})
            return
        if not changed:
            print("nothing changes for the measurements that there are; those to come will have it")
            return
        rows = [[one.measurement, one.value, one.was, one.becomes] for one in changed]
        print(*tables.lines(["measurement", "value", "was", "would be" if self.dry_run else "is"], rows), sep="\n")
        for measurement, outcome in outcomes.items():
            words = outcome.get("failed") or ", ".join([*outcome["done"], *outcome["waiting"]])
            print(f"{measurement}: {words or 'nothing to do'}")


class Set(Changing):
    """Set values for a measurement, or for all that match a pattern, and apply them: `set 'disk*' retain_raw=30d`."""

    values: CliPositionalArg[list[str]] = Field(
        description=f"name=value of {', '.join(KINDS)}; durations as 6h, 90d, 1y; off, forever, inherit"
    )

    def change(self, connection: psycopg.Connection) -> None:
        """Change the row."""
        policies.put(connection, self.pattern, policies.given(self.values))


class Unset(Changing):
    """Take the row of a measurement or pattern away: what others say counts again, the defaults in the end."""

    def change(self, connection: psycopg.Connection) -> None:
        """Change the row."""
        if not policies.remove(connection, self.pattern):
            patterns = ", ".join(row["pattern"] for row in policies.own(connection) if row["pattern"])
            raise policies.PolicyError(f"nothing is set for {self.pattern!r}; there is {patterns or 'nothing set yet'}")


class Policy(Settings):
    """How long data is kept, and in which form."""

    list: CliSubCommand[List] = Field(description="show the policies")
    set: CliSubCommand[Set] = Field(description="set values for a measurement or a pattern")
    unset: CliSubCommand[Unset] = Field(description="take a measurement's or pattern's values away")

    def cli_cmd(self) -> None:
        """Run the command that is named."""
        CliApp.run_subcommand(self)


def _applied(connection: psycopg.Connection, measurements: list[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """What was done for each measurement and what has to wait, or why it failed."""
    for measurement in measurements:
        for _ in range(TRIES):
            try:
                done = policies.apply(connection, measurement)
                outcome: dict[str, Any] = {"done": done, "waiting": policies.waiting(connection, measurement)}
                break
            except psycopg.errors.LockNotAvailable:
                outcome = {"failed": policies.BUSY}
        yield measurement, outcome


def _print_json(told: Any) -> None:
    print(orjson.dumps(told, option=orjson.OPT_INDENT_2).decode())
