"""What a client takes: the lists with qualities of Accept and Accept-Encoding (RFC 9110, 12.4 and 12.5). Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

WEIGHT = re.compile(r"0?\.[0-9]{1,3}|0\.?|1(?:\.0{0,3})?")
"""A quality: at most 1, with at most three decimals; without the zero before them too, as Java's own client has it."""
MOST_HELD = 128
"""Headers whose meaning is remembered, since clients say the same with every request."""
LONGEST_HELD = 1024
"""Longer ones are looked into each time."""


def listed(lines: Sequence[str]) -> str | None:
    """The one list that the lines of a header are (RFC 9110, 5.3); None where there are none."""
    return ",".join(lines) if lines else None


def by_quality(header: str, offered: tuple[str, ...]) -> tuple[str, ...]:
    """Those of `offered` that the header takes, the best liked first; of equals, in the order of `offered`.

    A name may be a media type, which `type/*` and `*/*` stand for too, or a coding, which `*` stands for. The most
    specific entry decides. A quality that is none counts as 0.
    """
    return _held(header, offered) if len(header) <= LONGEST_HELD else _liked(header, offered)


def _liked(header: str, offered: tuple[str, ...]) -> tuple[str, ...]:
    qualities = _qualities(header)
    liked = []
    for name in offered:
        kind, slash, _ = name.partition("/")
        ranges = (name, f"{kind}/*", "*/*") if slash else (name, "*")
        quality = next((qualities[one] for one in ranges if one in qualities), 0.0)
        if quality > 0:
            liked.append((quality, name))
    return tuple(name for _, name in sorted(liked, key=lambda one: -one[0]))


_held = lru_cache(MOST_HELD)(_liked)


def _qualities(header: str) -> dict[str, float]:
    qualities: dict[str, float] = {}
    for entry in header.split(","):
        name, *parameters = (part.strip().lower() for part in entry.split(";"))
        quality = 1.0
        for parameter in parameters:
            key, _, value = parameter.partition("=")
            if key.strip() == "q":
                quality = _quality(value.strip())
        if name:
            qualities[name] = quality
    return qualities


def _quality(text: str) -> float:
    return float(text) if WEIGHT.fullmatch(text) else 0.0
