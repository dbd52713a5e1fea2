"""Under which addresses a database is reached, by role: the embedded one's, and those of a server of the user's.

The embedded database's are kept in one file (`service.settings.addresses_file`), which is also where its
passwords live: `DATABASE_URL` for the owner, `INGEST_DATABASE_URL` and `QUERY_DATABASE_URL` for the two roles.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

FILE = "database.env"  # the name that service.settings.addresses_file knows
DATABASE = "tidemark"
LOOPBACK = "127.0.0.1"

Role = Literal["owner", "ingest", "query"]

ACCOUNTS: Mapping[Role, str] = {"owner": "tidemark", "ingest": "tidemark_ingest", "query": "tidemark_query"}
GRAFANA = "grafana_reader"
"""The account of Grafana, which is nobody's role here: no process of ours has it."""
VARIABLES: Mapping[Role, str] = {
    "owner": "DATABASE_URL",
    "ingest": "INGEST_DATABASE_URL",
    "query": "QUERY_DATABASE_URL",
}
SEARCH_PATH = "metrics,public"


@dataclass(frozen=True)
class Addresses:
    """The addresses of an embedded database."""

    port: int
    passwords: Mapping[Role, str]

    def url(self, role: Role) -> str:
        """The address for `role`, with its password."""
        account, password = ACCOUNTS[role], quote(self.passwords[role], safe="")
        return f"postgresql://{account}:{password}@{LOOPBACK}:{self.port}/{DATABASE}"

    def variables(self) -> dict[str, str]:
        """The addresses as environment variables."""
        return {variable: self.url(role) for role, variable in VARIABLES.items()}


def kept(file: Path) -> dict[str, str]:
    """The variables in `file`, as `save` left them there; empty when it is not there."""
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return {}
    return dict(line.split("=", 1) for line in lines if "=" in line)


def load(file: Path, port: int) -> Addresses | None:
    """Addresses at `port` with the passwords kept in `file`; None when one of them is not there."""
    variables = kept(file)
    passwords = {role: urlsplit(variables.get(name, "")).password for role, name in VARIABLES.items()}
    if not all(passwords.values()):
        return None
    return Addresses(port, {role: unquote(password) for role, password in passwords.items() if password})


def create(port: int) -> Addresses:
    """Addresses at `port` with new passwords."""
    return Addresses(port, {role: secrets.token_urlsafe(24) for role in VARIABLES})


def save(addresses: Addresses, file: Path) -> None:
    """Leave the addresses in `file`, which nobody else can read, and which is never half written."""
    draft = file.with_name(f"{file.name}.new")
    draft.unlink(missing_ok=True)
    with open(draft, "x", opener=lambda path, flags: os.open(path, flags, 0o600)) as stream:
        stream.writelines(f"{name}={value}\n" for name, value in addresses.variables().items())
        stream.flush()
        os.fsync(stream.fileno())
    draft.replace(file)


def as_role(url: str, role: Role) -> str:
    """The address of a server of the user's, with the rights of `role` from its first statement on."""
    if role == "owner":
        return url
    parts = urlsplit(url)
    parameters = dict(parse_qsl(parts.query))
    ours = f"-c role={ACCOUNTS[role]} -c search_path={SEARCH_PATH}"
    parameters["options"] = f"{parameters.get('options', '')} {ours}".strip()
    return parts._replace(query=urlencode(parameters, quote_via=quote)).geturl()


def without_password(url: str) -> str:
    """`url` as it can be shown."""
    parts = urlsplit(url)
    account, at, place = parts.netloc.rpartition("@")
    parameters = [(name, value) for name, value in parse_qsl(parts.query) if "password" not in name]
    query = urlencode(parameters, quote_via=quote)
    return parts._replace(netloc=f"{account.partition(':')[0]}{at}{place}", query=query).geturl()
