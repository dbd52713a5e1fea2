"""Matchers and tags as conditions in SQL, for every statement about series. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Literal, LiteralString, NamedTuple

from psycopg import sql
from psycopg.types.json import Jsonb

from query.parameters import Matcher, Operator

HOST = "host"
"""The tag that stands for `catalog.series.host`, which the first of ingest's host tags has filled."""

OPERATORS: dict[Operator, LiteralString] = {"=": "=", "!=": "<>", "=~": "~", "!~": "!~"}

WORDS = re.compile(r"[A-Za-z0-9_:/@ -]*(?:\|[A-Za-z0-9_:/@ -]*)*")
"""A regular expression that only lists values: nothing in it has another meaning than itself."""

OF_MEASUREMENT = sql.SQL("s.measurement_id = %(measurement)s AND {}")

CHECK_REGEX: LiteralString = "SELECT '' ~ %(plain)s, '' ~ %(anchored)s"
"""Compiles a regular expression as written too: anchored, `a)|(b` would be well formed and match too much."""

Planned = Literal["each", "once", "either"]
"""Whether a statement is planned each time, for its values; once, for all, where to plan it is a good part of what it
costs (`light`); or either, where one plan is as good."""


class Statement(NamedTuple):
    """A statement and its parameters."""

    text: sql.SQL | sql.Composed | LiteralString
    parameters: dict[str, Any]
    planned: Planned = "each"


class Form(NamedTuple):
    """What the text of a matcher's condition depends on."""

    way: Literal["host", "hosts", "contains", "contains_any", "list", "compared"]
    """The first four find their index."""
    operator: Operator
    is_host: bool

    @property
    def names_hosts(self) -> bool:
        """Whether hosts are named one by one, and no others are meant."""
        return self.way in ("host", "hosts")


def is_list(matcher: Matcher) -> bool:
    """Whether the regular expression of a matcher only lists values, and is compared and not compiled."""
    return matcher.is_regex and WORDS.fullmatch(matcher.value) is not None


def hosts_named(matcher: Matcher) -> int:
    """How many hosts a matcher names one by one, so that it chooses no others; 0 where it does not."""
    return matcher.value.count("|") + 1 if _form(matcher).names_hosts else 0


def anchored(pattern: str) -> str:
    """`pattern` so that it must match a whole value; PostgreSQL takes the option (?i) only at the very start."""
    if pattern.startswith("(?i)"):
        return f"(?i)^(?:{pattern.removeprefix('(?i)')})$"
    return f"^(?:{pattern})$"


def identifier(*parts: str) -> sql.Identifier:
    """A quoted identifier in a statement with parameters, where the driver takes a % for its own sign."""
    return sql.Identifier(*(part.replace("%", "%%") for part in parts))


def double(row: str, column: str) -> sql.Composed:
    """A field of a row as a double, also where somebody has made its column of other numbers; else it is one anyway."""
    return sql.SQL("{}::float8").format(identifier(row, column))


def number_in(row: str, column: str) -> sql.Composed:
    """The same where it is a column of anything: what is no number there is null."""
    text = sql.SQL("{}::text").format(identifier(row, column))
    return sql.SQL("CASE WHEN pg_input_is_valid({text}, 'float8') THEN {text}::float8 END").format(text=text)


def matching(match: Sequence[Matcher]) -> sql.Composed:
    """The condition that every matcher chooses a row s of catalog.series."""
    return text_of(forms(match))


def forms(match: Sequence[Matcher]) -> tuple[Form, ...]:
    """What the text of matchers' conditions depends on."""
    return tuple(_form(matcher) for matcher in match)


def text_of(match: Sequence[Form]) -> sql.Composed:
    """The same, of matchers of these forms."""
    held = [_condition(number, one) for number, one in enumerate(match)]
    return sql.SQL(" AND ").join(held or [sql.SQL("true").format()])


def values_of(match: Sequence[Matcher]) -> dict[str, Any]:
    """The parameters of that condition."""
    found: dict[str, Any] = {}
    for number, matcher in enumerate(match):
        form, value = _form(matcher), f"match_{number}"
        found |= {f"tag_{number}": matcher.tag, value: matcher.value}
        if form.way == "contains":
            found[value] = Jsonb({matcher.tag: matcher.value})
        elif form.way == "contains_any":
            found[value] = [Jsonb({matcher.tag: one}) for one in matcher.value.split("|")]
        elif form.way in ("hosts", "list"):
            found[value] = matcher.value.split("|")
        elif matcher.is_regex:
            found[value] = anchored(matcher.value)
    return found


def _form(matcher: Matcher) -> Form:
    is_host = matcher.tag == HOST
    if matcher.operator == "=" and matcher.value:
        return Form("host" if is_host else "contains", matcher.operator, is_host)
    if not is_list(matcher):
        return Form("compared", matcher.operator, is_host)
    if matcher.operator == "=~" and "" not in matcher.value.split("|"):
        return Form("hosts" if is_host else "contains_any", matcher.operator, is_host)
    return Form("list", matcher.operator, is_host)


def _condition(number: int, form: Form) -> sql.Composed:
    tag, value = tag_value(f"tag_{number}", is_host=form.is_host), sql.Placeholder(f"match_{number}")
    if form.way == "host":
        return sql.SQL("s.host = {}").format(value)
    if form.way == "hosts":
        return sql.SQL("s.host = ANY ({})").format(value)
    if form.way == "contains":
        return sql.SQL("s.tags @> {}").format(value)
    if form.way == "contains_any":
        return sql.SQL("s.tags @> ANY ({}::jsonb[])").format(value)
    if form.way == "list":
        # Comparing with a list takes a fraction of what the expression would, for each series there is.
        return sql.SQL("{} = ANY ({})" if form.operator == "=~" else "{} <> ALL ({})").format(tag, value)
    return sql.SQL("{} {} {}").format(tag, sql.SQL(OPERATORS[form.operator]), value)


def tag_value(name: str, *, is_host: bool) -> sql.Composed:
    """The value in catalog.series of the tag whose name is in the parameter `name`; a missing tag is the empty text.

    The host is the one that ingest found.
    """
    if is_host:
        return sql.SQL("coalesce(s.host, '')").format()
    return sql.SQL("coalesce(s.tags ->> {}::text, '')").format(sql.Placeholder(name))
