"""`python -m sql`: the database's commands, and `up`, which runs everything."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress

import orjson
import psycopg
from pydantic import AliasChoices, Field
from pydantic_settings import CliApp, CliSubCommand

from service import logs, settings
from service.errors import TidemarkError
from sql import passwords, policies, postmaster, ready, report, stack
from sql.addresses import Role
from sql.maintain import Keeper
from sql.migrate import migrate
from sql.policy_commands import Policy
from sql.settings import Defaults, Embedded, Maintenance, Passwords, Server, Services, Stack

PROG = "python -m sql"
INTERRUPTED = 130


def say(line: str) -> None:
    """Tell the user something, at once."""
    print(line, flush=True)


class Serve(Embedded):
    """Run the embedded database in the foreground, until SIGTERM or Ctrl-C; make it first where needed."""

    def cli_cmd(self) -> None:
        """Run the command."""
        postmaster.serve(self, say)


class Migrate(Server, Defaults, Passwords):
    """Bring the schema, the defaults of the policies and the roles' passwords up to date; harmless when they are."""

    def cli_cmd(self) -> None:
        """Run the command."""
        outcome = migrate(self.url("owner"))
        with psycopg.connect(self.url("owner"), application_name="tidemark migrate") as connection:
            policies.put_defaults(connection, self.policy())
        for name in outcome.applied:
            say(f"applied {name}")
        passwords.give(self.url("owner"), self.passwords())
        say(f"the schema is at version {outcome.version}")
        say(f"TimescaleDB {ready.edition_line(outcome)}")


class Url(Server):
    """Print the database's address, for psql and other clients."""

    role: Role = Field("owner", description="whose address: its rights are those that the client has")

    def cli_cmd(self) -> None:
        """Run the command."""
        say(self.url(self.role))


class Ready(Services):
    """Wait for the database, migrate, wait for the services, say where everything is, and stay."""

    def cli_cmd(self) -> None:
        """Run the command."""
        ready.ready(self, say)
        ready.stay()


class Maintain(Server, Maintenance):
    """Apply policies and drop what has expired, again and again, until SIGTERM or Ctrl-C."""

    once: bool = Field(False, description="do it once, and end")

    def cli_cmd(self) -> None:
        """Run the command."""
        with suppress(KeyboardInterrupt):
            Keeper(self.url("owner"), self, once=self.once).run()


class Report(Server):
    """Tell what is stored, how small it is, and how the jobs do."""

    as_json: bool = Field(False, validation_alias=AliasChoices("json"), description="print JSON")

    def cli_cmd(self) -> None:
        """Run the command."""
        with psycopg.connect(self.url("owner"), application_name="tidemark report") as connection:
            told = report.report(connection)
        if self.as_json:
            say(orjson.dumps(told, option=orjson.OPT_INDENT_2).decode())
        else:
            say("\n".join(report.lines(told)))


class Up(Stack):
    """Run everything: the embedded database (unless DATABASE_URL is set), ingest, query and the agent."""

    def cli_cmd(self) -> None:
        """Run the command."""
        raise SystemExit(stack.up(self, say))


class Commands(settings.Settings):
    """Tidemark's database, and everything at once."""

    up: CliSubCommand[Up] = Field(description="run everything")
    serve: CliSubCommand[Serve] = Field(description="run the embedded database")
    migrate: CliSubCommand[Migrate] = Field(description="bring the schema up to date")
    maintain: CliSubCommand[Maintain] = Field(description="apply policies and drop what has expired")
    policy: CliSubCommand[Policy] = Field(description="show and set policies")
    report: CliSubCommand[Report] = Field(description="tell what is stored")
    url: CliSubCommand[Url] = Field(description="print the database's address")
    ready: CliSubCommand[Ready] = Field(description="wait until everything is ready, and say where it is")


def main() -> None:
    """Run the command that is named; a fault is one line on standard error and a status that is not 0."""
    commands = settings.read(Commands, PROG, sys.argv[1:] or ["--help"])
    logs.configure()
    os.umask(0o022)  # what we make in the home folder is for the database's account to read
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        CliApp.run_subcommand(commands)
    except KeyboardInterrupt:
        raise SystemExit(INTERRUPTED) from None
    except TidemarkError as error:
        fail(str(error))
    except psycopg.OperationalError as error:
        fail(f"the database does not answer: {str(error).splitlines()[0]}")
    except OSError as error:
        fail(f"{error.strerror}: {error.filename}" if error.filename else str(error))


def fail(reason: str) -> None:
    """Say why, and end."""
    sys.stderr.write(f"{PROG}: {reason}\n")
    raise SystemExit(1)


if __name__ == "__main__":
    main()
