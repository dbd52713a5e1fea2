"""What measurements, fields and tags may be called, and how many of each a point may have.

A name becomes an identifier of PostgreSQL's: at most 63 bytes of UTF-8, and never a NUL. Tags are values, in
jsonb: their number and their total size are bounded.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

MAX_NAME_BYTES = 63
"""PostgreSQL's NAMEDATALEN - 1."""

MAX_HOST_BYTES = 2048
"""Of a series' host, which is in an index: PostgreSQL refuses an entry of more than 2,704 bytes."""

TAKEN = re.compile(r"(?:time|series_id|host|tags|ctid|xmin|xmax|cmin|cmax|tableoid)_*")
"""Fields whose column has one underscore more, by the database's `catalog.column_of`."""

RESERVED_PREFIX = "_tidemark_"
"""The indexes of the hypertables are named so, and share their schema with the measurements."""


class Rejected(ValueError):
    """A point cannot be taken: `reason` is the short name that an instrument counts, the text is for people."""

    def __init__(self, reason: str, text: str) -> None:
        super().__init__(text)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Limits:
    """The bounds of a point and of a request's points; each is a setting of ingest."""

    max_fields: int
    max_tags: int
    max_tag_bytes: int
    max_shapes: int
    """Of all points of a request."""
    host_tags: tuple[str, ...] = ()
    """The first of these that a point has is its series' host."""

    @property
    def max_head_bytes(self) -> int:
        """The longest measurement with its tags in line protocol: all escaped, two more bytes for each tag."""
        return 2 * (MAX_NAME_BYTES + self.max_tag_bytes + self.max_tags) + 1


def check_measurement(name: str) -> None:
    """Raise `Rejected` unless `name` can be the name of a hypertable."""
    _check_identifier("measurement", name)
    if name.startswith(RESERVED_PREFIX):
        raise Rejected("name", f"measurement {name!r}: names that begin with {RESERVED_PREFIX!r} are reserved")


def check_fields(fields: Collection[str], limits: Limits) -> None:
    """Raise `Rejected` unless the fields can be columns of one hypertable."""
    if len(fields) > limits.max_fields:
        raise too_many_fields(limits)
    for name in fields:
        _check_identifier("field", name)
        if len(name) == MAX_NAME_BYTES and TAKEN.fullmatch(name):
            raise Rejected(
                "name",
                f"field {shown(name)!r}: its column has one _ more, at most {MAX_NAME_BYTES} bytes are allowed",
            )


def check_tags(tags: Mapping[str, str], limits: Limits) -> None:
    """Raise `Rejected` unless the tags are within their bounds and can be stored as jsonb."""
    if len(tags) > limits.max_tags:
        raise Rejected(
            "max_tags", f"{len(tags)} tags, at most {limits.max_tags} are allowed (INGEST_MAX_TAGS_PER_POINT)"
        )
    size = 0
    for key, value in tags.items():
        size += _byte_length(key, "the key of tag", key) + _byte_length(value, "the value of tag", key)
    if size > limits.max_tag_bytes:
        raise too_many_tag_bytes(limits)
    host = next((key for key in limits.host_tags if key in tags), None)
    if host is not None and (length := len(tags[host].encode())) > MAX_HOST_BYTES:
        raise Rejected(
            "max_tag_bytes",
            f"the value of tag {shown(host)!r}, the host: {length} bytes, at most {MAX_HOST_BYTES} are allowed",
        )


def too_many_fields(limits: Limits) -> Rejected:
    """What to raise for a point with more fields than `limits` allow."""
    setting = "INGEST_MAX_FIELDS_PER_MEASUREMENT"
    return Rejected("max_fields", f"the point has more than {limits.max_fields} fields ({setting})")


def too_many_shapes(limits: Limits) -> Rejected:
    """What to raise for a point of a request that has points of as many sets of fields as `limits` allow."""
    setting = "INGEST_MAX_SHAPES_PER_REQUEST"
    return Rejected("max_shapes", f"the request has more than {limits.max_shapes} different sets of fields ({setting})")


def too_many_tag_bytes(limits: Limits) -> Rejected:
    """What to raise for a point with longer tags than `limits` allow."""
    setting = "INGEST_MAX_TAG_BYTES"
    return Rejected("max_tag_bytes", f"the point has more than {limits.max_tag_bytes} bytes of tags ({setting})")


def _check_identifier(kind: str, name: str) -> None:
    length = _byte_length(name, kind, name)
    if length == 0:
        raise Rejected("name", f"the {kind}'s name is empty")
    if length > MAX_NAME_BYTES:
        raise Rejected("name", f"{kind} {shown(name)!r}: {length} bytes, at most {MAX_NAME_BYTES} are allowed")


def _byte_length(text: str, kind: str, name: str) -> int:
    """The length in UTF-8. PostgreSQL stores neither a NUL nor half of a surrogate pair."""
    if "\0" in text:
        raise Rejected("name", f"{kind} {shown(name)!r} contains a NUL character")
    try:
        return len(text.encode())
    except UnicodeEncodeError:
        raise Rejected("name", f"{kind} {shown(name)!r} contains a lone surrogate, which is not text") from None


def shown(name: str) -> str:
    """A name as a message or a header may show it: bounded, and text that UTF-8 can carry whatever it held."""
    short = name if len(name) <= MAX_NAME_BYTES else f"{name[:MAX_NAME_BYTES]}..."
    return short.encode(errors="backslashreplace").decode()


def listed(found: Sequence[str]) -> str:
    """The first few names of `found`, for a message."""
    return ", ".join(map(shown, found[:5])) + (", ..." if len(found) > 5 else "")
