"""`python -m ingest spool`: look at what is on disk, export it, or write it now."""

from __future__ import annotations

import asyncio
import base64
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
from aiohttp import web
from pydantic import Field
from pydantic_settings import CliApp, CliSubCommand

from ingest.app import SPOOL, create_app
from ingest.settings import IngestSettings, SpoolFolder
from ingest.spool import files
from ingest.spool.entry import Request, unpack
from ingest.spool.errors import SpoolError, UnreadableEntry, told
from ingest.spool.slot import REASON, Entry
from ingest.spool.store import Store, survey
from service import logs, settings
from service.settings import MEBIBYTES, Settings

PROG = "python -m ingest spool"
POLL_SECONDS = 0.2
MAX_ENTRY_BYTES = 1024 * MEBIBYTES
"""Of an entry that is looked at, decompressed: more than any that was written."""


@dataclass(frozen=True, slots=True)
class _File:
    """An entry, waiting or set aside."""

    entry: Entry
    reason: str | None
    """Why it was set aside; None for one that waits."""

    def told(self) -> dict[str, Any]:
        return {
            "file": str(self.entry.path),
            "state": "waits" if self.reason is None else "set aside",
            "requests": self.entry.requests,
            "points": self.entry.points,
            "bytes": self.entry.size_bytes,
            "received": _moment(self.entry.received_us),
            "reason": self.reason,
        }


class Show(SpoolFolder):
    """Tell what waits in the spool and what was set aside, and why; ingest may run meanwhile."""

    json_lines: bool = Field(False, description="a JSON object for each entry")

    def cli_cmd(self) -> None:
        """Run the command."""
        found = [file.told() for file in _files(self.spool_directory)]
        if self.json_lines:
            for one in found:
                print(orjson.dumps(one).decode())
            return
        for state in ("waits", "set aside"):
            of_state = [one for one in found if one["state"] == state]
            points = sum(one["points"] for one in of_state)
            print(f"{self.spool_directory}: {len(of_state)} entries of {points} points: {state}")
            for one in of_state:
                counts = (
                    f"{one['requests']} requests, {one['points']} points, {one['bytes']} bytes, since {one['received']}"
                )
                print(f"  {one['file']}: {counts}" + (f": {one['reason']}" if one["reason"] else ""))


class Export(SpoolFolder):
    """Print every request of the spool as a JSON object a line, its body as it came; ingest may run meanwhile."""

    quarantined: bool = Field(False, description="those that were set aside, in place of those that wait")

    def cli_cmd(self) -> None:
        """Run the command."""
        unreadable = 0
        for file in _files(self.spool_directory):
            if (file.reason is not None) is not self.quarantined:
                continue
            try:
                requests = unpack(file.entry.path.read_bytes(), MAX_ENTRY_BYTES)
            except (UnreadableEntry, OSError) as error:
                sys.stderr.write(f"{PROG}: {file.entry.path}: {error}\n")
                unreadable += 1
                continue
            for request in requests:
                print(orjson.dumps(_exported(request)).decode())
        if unreadable:
            raise SystemExit(1)


class Replay(IngestSettings):
    """Write what no running ingest has in its hands into the database, and end when that is done."""

    quarantined: bool = Field(False, description="try again what was set aside, too")
    timeout_seconds: float = Field(300.0, gt=0, description="end after this time, whatever is left")

    def __init__(self, **given: Any) -> None:
        # Of the file that `settings.read` gives to the command above, its subcommands hear nothing.
        super().__init__(_env_file=settings.addresses_in_use(), **given)

    def cli_cmd(self) -> None:
        """Run the command."""
        if self.quarantined:
            print(f"{_put_back(self)} entries that were set aside are tried again", flush=True)
        left = asyncio.run(_drain(self))
        print(f"{left} entries are left" if left else "all is written")
        if others := sum(file.reason is None for file in _files(self.spool_directory)) - left:
            print(f"{others} entries more are in the hands of an ingest that runs")
        raise SystemExit(1 if left else 0)


class Commands(Settings):
    """What waits on disk until the database can take it, and what was set aside."""

    show: CliSubCommand[Show] = Field(description="tell what is there")
    export: CliSubCommand[Export] = Field(description="print it")
    replay: CliSubCommand[Replay] = Field(description="write it into the database now")


def main(argv: list[str]) -> None:
    """Run the command that is named."""
    commands = settings.read(Commands, PROG, argv or ["--help"])
    logs.configure()
    try:
        CliApp.run_subcommand(commands)
    except (SpoolError, OSError) as error:
        sys.stderr.write(f"{PROG}: {error}\n")
        raise SystemExit(1) from None


def _files(folder: Path) -> Iterator[_File]:
    """What lies in the spool, slot by slot."""
    for contents in survey(folder).values():
        for entry in contents.entries:
            yield _File(entry, None)
        for entry in contents.quarantined:
            reason = entry.path.with_suffix(REASON)
            yield _File(entry, reason.read_text(encoding="utf-8").strip() if reason.exists() else "unknown")


def _moment(time_us: int) -> str:
    return datetime.fromtimestamp(time_us / 1e6, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _exported(request: Request) -> dict[str, Any]:
    try:
        body = {"body": request.body.decode()}
    except UnicodeDecodeError:
        body = {"body_base64": base64.b64encode(request.body).decode()}
    return {
        "protocol": request.protocol,
        "precision_ns": request.precision_ns,
        "received": _moment(request.received_us),
        "points": request.points,
        **body,
    }


def _put_back(chosen: IngestSettings) -> int:
    """Let everything that can be read wait again; the number of entries."""
    done = 0
    with Store(chosen.spool_directory, max_bytes=sys.maxsize, max_entry_bytes=MAX_ENTRY_BYTES) as store:
        for file in _files(chosen.spool_directory):
            if file.reason is None:
                continue
            try:
                requests = unpack(file.entry.path.read_bytes(), MAX_ENTRY_BYTES)
            except UnreadableEntry as error:
                sys.stderr.write(f"{PROG}: {file.entry.path}: {error}\n")
                continue
            store.append(requests)
            with told("remove an entry"):
                file.entry.path.unlink(missing_ok=True)
                file.entry.path.with_suffix(REASON).unlink(missing_ok=True)
                files.sync_folder(file.entry.path.parent)
            done += 1
    return done


async def _drain(chosen: Replay) -> int:
    """Run ingest without its port until nothing waits, or its time is over; the number of entries left then."""
    app = create_app(chosen.model_copy(update={"spool": "on"}))
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        deadline = time.monotonic() + chosen.timeout_seconds
        while (left := app[SPOOL].totals().entries) and time.monotonic() < deadline:  # noqa: ASYNC110 - a glance
            await asyncio.sleep(POLL_SECONDS)
        return left
    finally:
        await runner.cleanup()
