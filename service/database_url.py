"""The address of a database, as every process takes it among its settings.

The drivers read an address each in their own way: of a password with an @ or a / in it, one takes a part for the name
of a host or a port, and tells it in its errors. So what is not written as it should be is refused before they see it.
"""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, SecretStr

FORM = (
    "postgresql://user:password@host:port/database, with signs such as @ / ? # % in the password as %40 %2F %3F %23 %25"
)
HIGHEST_PORT = 65535

_PLACE = r"(?:\[[^]/?#@]*\]|[^]\[/?#@:,]*)(?::\d{1,5})?"
_SHAPE = re.compile(
    r"postgres(?:ql)?://"
    r"(?:[^/?#@]*@)?"  # the user, and the password
    rf"(?P<places>{_PLACE}(?:,{_PLACE})*)"
    r"(?:/[^?#@]*)?"  # the database
    r"(?:\?[^#]*)?"
)
_PORT = re.compile(r":(\d+)(?=,|$)")
_HALF_ENCODED = re.compile(r"%(?![0-9A-Fa-f]{2})")


def is_database_url(text: str) -> bool:
    """Whether `text` is an address that every driver reads alike; several hosts may stand with commas between them."""
    shape = _SHAPE.fullmatch(text)
    if shape is None or _HALF_ENCODED.search(text):
        return False
    return all(0 < int(port) <= HIGHEST_PORT for port in _PORT.findall(shape["places"]))


def _checked(value: SecretStr) -> SecretStr:
    if not is_database_url(value.get_secret_value()):
        raise ValueError(f"is not of the form {FORM}")
    return value


DatabaseUrl = Annotated[SecretStr, AfterValidator(_checked)]
"""A setting that is the address of a database; its value is never told."""
