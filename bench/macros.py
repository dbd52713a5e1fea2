"""Grafana's macros and variables, expanded as its PostgreSQL data source does with TimescaleDB's mode on.

https://grafana.com/docs/grafana/latest/datasources/postgres/ lists them; what the mode changes is `$__timeGroup`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

MACRO = re.compile(r"\$(__\w+)\(([^)]*)\)")
VARIABLE = re.compile(r"\$\{(\w+):sqlstring\}")
SECONDS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}


@dataclass(frozen=True)
class Panel:
    """What a panel knows when it asks."""

    start: datetime
    end: datetime
    interval: str
    variables: Mapping[str, Sequence[str]]

    def expand(self, sql: str) -> str:
        """The statement that reaches the database. Raises `ValueError` for a macro that Grafana does not know."""
        sql = VARIABLE.sub(self._variable, sql)
        sql = sql.replace("$__interval_ms", str(int(seconds(self.interval) * 1000))).replace(
            "$__interval", self.interval
        )
        return MACRO.sub(self._macro, sql)

    def _variable(self, match: re.Match[str]) -> str:
        return ",".join("'" + value.replace("'", "''") + "'" for value in self.variables[match[1]])

    def _macro(self, match: re.Match[str]) -> str:
        name, arguments = match[1], [one.strip() for one in match[2].split(",")]
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
            return bucket + (' AS "time"' if name.endswith("Alias") else "")
        if name not in known:
            raise ValueError(f"Grafana knows no macro ${name}")
        return known[name]


def seconds(interval: str) -> float:
    """The length of an interval as Grafana writes it, `30s` or `1h`."""
    match = re.fullmatch(r"(\d+)(ms|s|m|h|d)", interval)
    if match is None:
        raise ValueError(f"{interval!r} is no interval")
    return int(match[1]) * SECONDS[match[2]]


HOUR = timedelta(hours=1)
RANGES = {"1h": (HOUR, "10s"), "24h": (24 * HOUR, "1m"), "30d": (720 * HOUR, "30m"), "90d": (2160 * HOUR, "2h")}
"""Ranges that are looked at, and the intervals that Grafana then takes on a panel of about a thousand pixels."""
