"""The passwords of the services' roles and Grafana's on a server of the user's: the embedded one gives its own."""

from __future__ import annotations

from collections.abc import Mapping

import psycopg
from psycopg import sql

from service.errors import TidemarkError
from sql.addresses import ACCOUNTS


class PasswordError(TidemarkError):
    """A password could not be given; the message says why and what to do."""


def give(url: str, passwords: Mapping[str, str]) -> None:
    """Let these roles log in with these passwords; `url` is the owner's address, of a database that is migrated.

    They are scrambled before they are sent: neither the server's log nor its list of statements ever shows one. Raises
    `PasswordError` for an owner that may not alter the role, and for a role that is not there.
    """
    with psycopg.connect(url, autocommit=True, application_name="tidemark migrate") as connection:
        for account, password in passwords.items():
            scrambled = connection.pgconn.encrypt_password(password.encode(), account.encode(), b"scram-sha-256")
            change = sql.SQL("ALTER ROLE {} PASSWORD {}").format(
                sql.Identifier(account), sql.Literal(scrambled.decode())
            )
            try:
                connection.execute(change)
            except psycopg.errors.InsufficientPrivilege:
                raise PasswordError(
                    f"the database's owner may not give the role {account} a password: "
                    "have a superuser do it, or let the services use DATABASE_URL"
                ) from None
            except psycopg.errors.UndefinedObject:
                raise PasswordError(
                    f"there is no role {account}, since the database's owner may not make one: have a superuser run "
                    f"CREATE ROLE {account} LOGIN IN ROLE {ACCOUNTS['query']}"
                ) from None
