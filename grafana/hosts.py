"""The dashboard *Hosts*: the fleet at a glance, who is highest, who is silent."""

from __future__ import annotations

from grafana_foundation_sdk.models.dashboard import Dashboard

from grafana.panels import bars, board, linked, number, percents, rows, trends
from grafana.statements import LAST_SEEN, SILENT_AFTER, top

TOTAL = "tags->>'cpu' = 'cpu-total'"
BUSY = "100 - avg(usage_idle)"
NET_RATE = "(max(bytes_recv) - min(bytes_recv) + max(bytes_sent) - min(bytes_sent))"


def _trend(measurement: str, value: str, where: str = "host IS NOT NULL") -> str:
    return (
        f"SELECT time_bucket('$__interval', time) AS time, host, {value}\n"
        f"FROM metrics.{measurement}_at('$__interval') WHERE $__timeFilter(time) AND {where} GROUP BY 1, 2 ORDER BY 1"
    )


SEEN = f"SELECT host, extract(epoch FROM now() - seen)::float8 AS seen_ago FROM ({LAST_SEEN}) hosts ORDER BY 1"
TRENDS = {
    "CPU": _trend("cpu", f"{BUSY} AS cpu", TOTAL),
    "Memory": _trend("mem", "avg(used_percent) AS memory"),
    "Fullest disk": _trend("disk", "max(used_percent) AS disk"),
}

SILENT = (
    f"SELECT host, seen, extract(epoch FROM now() - seen)::float8 AS silent_for FROM ({LAST_SEEN}) hosts\n"
    f"WHERE seen BETWEEN $__timeFrom() AND now() - interval '{SILENT_AFTER}' ORDER BY seen DESC"
)

NETWORK = (
    "SELECT host, sum(bytes)\n"
    "  / extract(epoch FROM $__timeTo()::timestamptz - $__timeFrom()::timestamptz)::float8 AS value\n"
    f"FROM (\n  SELECT host, tags, {NET_RATE} AS bytes FROM metrics.net_at('$__interval', 'max')\n"
    "  WHERE $__timeFilter(time) AND host IS NOT NULL GROUP BY 1, 2\n) interfaces\n"
    "GROUP BY 1 HAVING sum(bytes) IS NOT NULL ORDER BY 2 DESC LIMIT 10"
)


def hosts() -> Dashboard:
    """The dashboard."""
    return board(
        "tidemark-hosts",
        "Hosts",
        [],
        {
            "Fleet": [
                number("Hosts", "none", f"SELECT count(*) AS hosts FROM ({LAST_SEEN}) hosts", span=12),
                number(
                    "Silent",
                    "none",
                    f"SELECT count(*) FILTER (WHERE seen < now() - interval '{SILENT_AFTER}') AS silent\n"
                    f"FROM ({LAST_SEEN}) hosts",
                    percents(1, 2),
                    span=12,
                ),
                linked(trends(rows("Fleet", SEEN, {"seen_ago": "s"}), "host", TRENDS, "percent")),
            ],
            "Highest over the range": [
                bars("CPU", "percent", top("cpu", BUSY, TOTAL), percents()),
                bars("Memory", "percent", top("mem", "avg(used_percent)"), percents()),
                bars("Fullest disk", "percent", top("disk", "max(used_percent)"), percents()),
                bars("Network", "Bps", NETWORK),
            ],
            "Silent": [linked(rows("Silent hosts", SILENT, {"silent_for": "s"}))],
        },
    )
