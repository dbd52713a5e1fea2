"""Fetches packages of Debian 13 with a private apt: no root, and nothing of the system's is changed.

The mirrors are those of the system's own apt, and so are its proxies and passwords; the suites are ours, and
the Debian archive's keyring vouches for them. Works on any Debian that knows that keyring.
"""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from service.errors import TidemarkError
from service.settings import MEBIBYTES
from sql import command

SUITE = "trixie"
ARCHITECTURES = ("amd64", "arm64")
CODENAMES = frozenset(
    ("bullseye", "bookworm", "trixie", "forky", "duke", "sid", "oldstable", "stable", "testing", "unstable")
)
KEYRINGS = tuple(Path("/usr/share/keyrings", f"debian-archive-keyring.{kind}") for kind in ("gpg", "pgp"))

CONFIGURATION = """\
Dir::State "{folder}/state";
Dir::State::lists "{folder}/state/lists";
Dir::State::status "{folder}/status";
Dir::Cache "{folder}/cache";
Dir::Cache::archives "{folder}/cache/archives";
Dir::Etc::sourcelist "{folder}/sources.list";
Dir::Etc::sourceparts "-";
Dir::Etc::preferences "-";
Dir::Etc::preferencesparts "-";
APT::Default-Release "";
APT::Sandbox::User "root";
APT::Update::Error-Mode "any";
APT::Get::AllowUnauthenticated "false";
Acquire::AllowInsecureRepositories "false";
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
"""


class DebianError(TidemarkError):
    """This system cannot fetch Debian's packages; the message says what it lacks."""


@dataclass(frozen=True)
class Mirrors:
    """Where the packages come from."""

    main: str
    security: str | None
    """The address of the security updates; None where the system has none."""


@dataclass(frozen=True)
class Source:
    """All that is needed to fetch packages on this system."""

    architecture: str
    keyring: Path
    mirrors: Mirrors

    def lines(self) -> str:
        """The text of a `sources.list`: package indexes only, of our suite."""
        options = f"arch={self.architecture} lang=none target=Packages signed-by={self.keyring}"
        suites = [(self.mirrors.main, SUITE), (self.mirrors.main, f"{SUITE}-updates")]
        if self.mirrors.security is not None:
            suites.append((self.mirrors.security, f"{SUITE}-security"))
        return "".join(f"deb [{options}] {address} {suite} main\n" for address, suite in suites)


def source() -> Source:
    """What this system offers; raises `DebianError` when that is not enough."""
    for program in ("apt-get", "dpkg", "dpkg-deb"):
        if shutil.which(program) is None:
            raise DebianError(f"this system has no {program}")
    architecture = command.run("dpkg --print-architecture", ["dpkg", "--print-architecture"]).strip()
    if architecture not in ARCHITECTURES:
        raise DebianError(f"its architecture is {architecture}, not {' or '.join(ARCHITECTURES)}")
    keyring = next((path for path in KEYRINGS if path.exists()), None)
    if keyring is None:
        raise DebianError(f"there is no {KEYRINGS[0]} (the package debian-archive-keyring)")
    return Source(architecture, keyring, mirrors(_package_indexes()))


def mirrors(indexes: str) -> Mirrors:
    """Debian's mirrors among `indexes`, which has a line `address suite component` for each package index.

    Other archives use Debian's suite names too, but they have no updates suite beside them.
    """
    served: dict[str, set[str]] = {}
    for line in indexes.splitlines():
        match line.split():
            case [address, suite, "main"] if not address.startswith("cdrom:"):
                served.setdefault(address, set()).add(suite)
    main = [address for address, suites in served.items() if suites & CODENAMES]
    if not main:
        raise DebianError("apt's configuration names no Debian mirror")
    security = [
        address
        for address, suites in served.items()
        if any(suite.removesuffix("-security") in CODENAMES for suite in suites - CODENAMES)
    ]
    best = max(main, key=lambda address: any(suite.endswith("-updates") for suite in served[address]))
    return Mirrors(best, security[0] if security else None)


def _package_indexes() -> str:
    return command.run(
        "asking apt for its mirrors",
        [
            *("apt-get", "indextargets", "--no-release-info", "Created-By: Packages"),
            *("--format", "$(REPO_URI) $(RELEASE) $(COMPONENT)"),
        ],
    )


def fetch(source: Source, packages: Sequence[str], folder: Path, say: Callable[[str], None]) -> list[Path]:
    """Download `packages` below `folder`, verified, and return their files.

    Raises `CommandError` with apt's own words when a mirror fails or a signature does not hold.
    """
    apt = _private_apt(source, folder)
    say(f"reading the package lists of {source.mirrors.main}")
    command.run("apt-get update", [*apt, "update"])
    files = folder / "debs"
    files.mkdir()
    total = _total_bytes(command.run("apt-get download", [*apt, "--print-uris", "download", *packages]))
    say(f"downloading {len(packages)} packages, {total / MEBIBYTES:.0f} MB")

    def report() -> None:
        arrived = sum(file.stat().st_size for file in files.iterdir())
        say(f"  {arrived / MEBIBYTES:.0f} of {total / MEBIBYTES:.0f} MB")

    command.run("apt-get download", [*apt, "download", *packages], folder=files, meanwhile=report)
    return sorted(files.glob("*.deb"))


def _private_apt(source: Source, folder: Path) -> list[str]:
    for name in ("state/lists/partial", "cache/archives/partial"):
        (folder / name).mkdir(parents=True)
    (folder / "status").touch()
    (folder / "sources.list").write_text(source.lines(), encoding="utf-8")
    configuration = folder / "apt.conf"
    configuration.write_text(CONFIGURATION.format(folder=folder), encoding="utf-8")
    # Read last of all, this file wins over the system's configuration, and keeps the rest of it.
    return ["apt-get", "--config-file", str(configuration)]


def _total_bytes(uris: str) -> int:
    # A line is: 'address' file bytes hash
    return sum(int(shlex.split(line)[2]) for line in uris.splitlines() if line.startswith("'"))
