"""Matchers and tags as conditions in SQL, for every statement about series. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, LiteralString

from psycopg import sql
from psycopg.types.json import Jsonb

from query.parameters import Matcher, Operator

HOST = "host"
"""The tag that stands for `catalog.series.host`, which the first of ingest's host tags has filled."""

OPERATORS: dict[Operator, LiteralString] = {"=": "=", "!=": "<>", "=~": "~", "!~": "!~"}

WORDS = re.compile(r"[A-Za-z0-9_:/@ -]*(?:\|[A-Za-z0-9_:/@ -]*)*")
"""A regular expression that only lists values: nothing in it has another meaning than itself."""

CHECK_REGEX: LiteralString = "SELECT '' ~ %(plain)s, '' ~ %(anchored)s"
"""Compiles a regular expression as written too: anchored, `a)|(b` would be well formed and match too much."""


@dataclass(frozen=True, slots=True)
class Statement:
    """A statement and its parameters."""

    text: sql.Composed
    parameters: dict[str, Any]


def is_list(matcher: Matcher) -> bool:
    """Whether the regular expression of a matcher only lists values, and is compared and not compiled."""
    return matcher.is_regex and WORDS.fullmatch(matcher.value) is not None


def anchored(pattern: str) -> str:
    """`pattern` so that it must match a whole value; PostgreSQL takes the option (?i) only at the very start."""
    if pattern.startswith("(?i)"):
        return f"(?i)^(?:{pattern.removeprefix('(?i)')})$"
    return f"^(?:{pattern})$"


def identifier(*parts: str) -> sql.Identifier:
    """A quoted identifier in a statement with parameters, where the driver takes a % for its own sign."""
    return sql.Identifier(*(part.replace("%", "%%") for part in parts))


def conditions(measurement_id: int, match: Sequence[Matcher]) -> Statement:
    """What holds for the rows of catalog.series that every matcher chooses, in one measurement."""
    chosen = matching(match)
    return Statement(
        sql.SQL("s.measurement_id = %(measurement)s AND {}").format(chosen.text),
        {**chosen.parameters, "measurement": measurement_id},
    )


def matching(match: Sequence[Matcher]) -> Statement:
    """What holds for the rows of catalog.series that every matcher chooses, whichever their measurement."""
    found = [_condition(number, matcher) for number, matcher in enumerate(match)]
    parameters: dict[str, Any] = {}
    for one in found:
        parameters.update(one.parameters)
    return Statement(sql.SQL(" AND ").join([one.text for one in found] or [sql.SQL("true").format()]), parameters)


def _condition(number: int, matcher: Matcher) -> Statement:
    tag, value = f"tag_{number}", f"match_{number}"
    if matcher.operator == "=" and matcher.value:
        # In these two forms the condition finds its index.
        if matcher.tag == HOST:
            return Statement(sql.SQL("s.host = {}").format(sql.Placeholder(value)), {value: matcher.value})
        return Statement(
            sql.SQL("s.tags @> {}").format(sql.Placeholder(value)),
            {value: Jsonb({matcher.tag: matcher.value})},
        )
    if is_list(matcher):
        # Comparing with a list takes a fraction of what the expression would, for each series there is.
        compared = sql.SQL("{} = ANY ({})" if matcher.operator == "=~" else "{} <> ALL ({})")
        return Statement(
            compared.format(tag_value(matcher.tag, tag), sql.Placeholder(value)),
            {tag: matcher.tag, value: matcher.value.split("|")},
        )
    operator = sql.SQL(OPERATORS[matcher.operator])
    return Statement(
        sql.SQL("{} {} {}").format(tag_value(matcher.tag, tag), operator, sql.Placeholder(value)),
        {tag: matcher.tag, value: anchored(matcher.value) if matcher.is_regex else matcher.value},
    )


def tag_value(tag: str, placeholder: str) -> sql.Composed:
    """A tag's value in catalog.series; a missing tag is the empty text. `host` is the host that ingest found."""
    if tag == HOST:
        return sql.SQL("coalesce(s.host, '')").format()
    return sql.SQL("coalesce(s.tags ->> {}::text, '')").format(sql.Placeholder(placeholder))
