"""Lengths of time as policies have them: `30m`, `6h`, `90d`, `2w`, `1y`, or a word where there is none. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

SECONDS = {"m": 60, "h": 3600, "d": 86_400, "w": 604_800, "y": 365 * 86_400}
FORM = re.compile(r"([1-9][0-9]{0,4})([mhdwy])")


@dataclass(frozen=True, slots=True)
class Kind:
    """What one value of a policy may be; `catalog.policy` has the same bounds."""

    least: str
    most: str | None = None
    words: tuple[str, ...] = ()

    def allowed(self) -> str:
        """For people."""
        span = f"from {self.least} to {self.most}" if self.most else f"of {self.least} or more"
        words = "".join(f", or {word}" for word in self.words)
        return f"a number and m, h, d, w or y (365 days) {span}{words}"

    def fault(self, text: str) -> str | None:
        """What is wrong with `text`, and what is allowed; None when nothing is."""
        if text in self.words or (
            FORM.fullmatch(text)
            and seconds(text) >= seconds(self.least)
            and (self.most is None or seconds(text) <= seconds(self.most))
        ):
            return None
        return f"{text[:40]!r} is not allowed; allowed: {self.allowed()}"


KINDS: Mapping[str, Kind] = {
    "chunk_interval": Kind("10m", "31d"),
    "compress_after": Kind("10m", words=("off",)),
    "retain_raw": Kind("1d", words=("forever",)),
    "rollup_10m": Kind("1d", words=("forever", "off")),
    "rollup_1h": Kind("1d", words=("forever", "off")),
}
"""The values of a policy, in the order in which they are shown."""


def seconds(text: str) -> int:
    """The length of a duration that has the right form."""
    found = FORM.fullmatch(text)
    assert found is not None, text
    return int(found[1]) * SECONDS[found[2]]
