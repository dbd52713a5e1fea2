"""Grafana's macros and variables, expanded as its PostgreSQL data source does with TimescaleDB's mode on.

https://grafana.com/docs/grafana/latest/datasources/postgres/ lists them; what the mode changes is `$__timeGroup`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

MACRO = re.compile(r"\$(\w+)\(([^)]*)\)(,?)", re.ASCII)
VARIABLE = re.compile(r"\$\{(\w+)\}", re.ASCII)
SECONDS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400, "y": 365 * 86400}


@dataclass(frozen=True)
class Panel:
    """What a panel knows when it asks; of variables a text is a single value, a list those of one that has several."""

    start: datetime
    end: datetime
    interval: str
    variables: Mapping[str, str | Sequence[str]]

    def expand(self, sql: str) -> str:
        """The statement that reaches the database. Raises `ValueError` for a macro that is not among those here."""
        sql = VARIABLE.sub(self._variable, sql)
        sql = sql.replace("$__interval_ms", str(int(seconds(self.interval) * 1000))).replace(
            "$__interval", self.interval
        )
        return MACRO.sub(self._macro, sql)

    def _variable(self, match: re.Match[str]) -> str:
        value = self.variables[match[1]]
        if isinstance(value, str):
            return value.replace("'", "''")
        return ",".join("'" + one.replace("'", "''") + "'" for one in value)

    def _macro(self, match: re.Match[str]) -> str:
        name, arguments, comma = match[1], [one.strip(" ") for one in match[2].split(",")], match[3]
        start, end = (f"'{one.strftime('%Y-%m-%dT%H:%M:%S.%fZ')}'" for one in (self.start, self.end))
        first, last = int(self.start.timestamp()), int(self.end.timestamp())
        column = arguments[0]
        known = {
            "__time": f'{column} AS "time"',
            "__timeEpoch": f'extract(epoch from {column}) as "time"',
            "__timeFilter": f"{column} BETWEEN {start} AND {end}",
            "__timeFrom": start,
            "__timeTo": end,
            "__unixEpochFilter": f"{column} >= {first} AND {column} <= {last}",
            "__unixEpochFrom": str(first),
            "__unixEpochTo": str(last),
        }
        if name in ("__timeGroup", "__timeGroupAlias"):
            bucket = f"time_bucket('{seconds(arguments[1].strip(chr(39))):.3f}s',{column})"
            return bucket + (' AS "time"' if comma or name.endswith("Alias") else "") + comma
        if name not in known:
            raise ValueError(f"the macro ${name} is not known here")
        return known[name] + comma


def seconds(interval: str) -> float:
    """The length of an interval as Grafana writes it, `30s` or `1h`."""
    match = re.fullmatch(r"(\d+)(ms|s|m|h|d|y)", interval)
    if match is None:
        raise ValueError(f"{interval!r} is no interval")
    return int(match[1]) * SECONDS[match[2]]


HOUR = timedelta(hours=1)
RANGES = {"1h": (HOUR, "10s"), "24h": (24 * HOUR, "1m"), "30d": (720 * HOUR, "30m"), "90d": (2160 * HOUR, "2h")}
"""Ranges that are looked at, and the intervals that Grafana then takes on a panel of about a thousand pixels."""
