"""The dashboard *Host*: everything that the agent reads of one host."""

from __future__ import annotations

from grafana_foundation_sdk.models.dashboard import Dashboard

from grafana.panels import annotation, board, curve, host_variable, number, percents, rows
from grafana.statements import HOST, forecast, gauge, rate

TOTAL = f"{HOST} AND tags->>'cpu' = 'cpu-total'"
CORES = f"{HOST} AND tags->>'cpu' <> 'cpu-total'"
MODES = ("user", "system", "nice", "iowait", "irq", "softirq", "steal", "guest", "guest_nice", "idle")

REBOOTS = f"""\
SELECT to_timestamp(boot_time) AS time, 'Reboot' AS text FROM metrics.kernel_at('10m', 'max')
WHERE $__timeFilter(time) AND {HOST} AND to_timestamp(boot_time) BETWEEN $__timeFrom() AND $__timeTo()
GROUP BY 1 ORDER BY 1"""


def _averages(*columns: str) -> str:
    return ", ".join(f"avg({column}) AS {column}" for column in columns)


def _last(measurement: str, value: str, where: str = HOST) -> str:
    return (
        f"SELECT time, {value} AS value FROM metrics.{measurement}_at('$__interval')\n"
        f"WHERE $__timeFilter(time) AND {where} AND {value} IS NOT NULL ORDER BY 1 DESC LIMIT 1"
    )


def host() -> Dashboard:
    """The dashboard."""
    modes = ", ".join(f'avg(usage_{mode}) AS "{mode}"' for mode in MODES)
    return board(
        "tidemark-host",
        "Host",
        [host_variable()],
        {
            "Now": [
                number("Uptime", "s", _last("system", "uptime")),
                number("CPU", "percent", _last("cpu", "100 - usage_idle", TOTAL), percents()),
                number("Memory", "percent", _last("mem", "used_percent"), percents()),
                number("Load", "short", _last("system", "load1")),
                number("Cores", "none", _last("system", "n_cpus")),
                number("Processes", "none", _last("processes", "total")),
            ],
            "Processor": [
                curve("CPU by mode", "percent", gauge("cpu", modes, TOTAL), stacked=True, highest=100),
                curve(
                    "CPU by core",
                    "percent",
                    gauge("cpu", "100 - avg(usage_idle) AS busy", CORES, "tags->>'cpu'"),
                    highest=100,
                ),
                curve("Load", "short", gauge("system", _averages("load1", "load5", "load15", "n_cpus"), HOST)),
                curve(
                    "Processes", "short", gauge("processes", _averages("running", "blocked", "zombies", "total"), HOST)
                ),
                curve(
                    "Context switches and interrupts", "ops", rate("kernel", ("context_switches", "interrupts"), HOST)
                ),
                curve("Uptime", "s", gauge("system", "max(uptime) AS uptime", HOST)),
            ],
            "Memory": [
                curve(
                    "Memory", "bytes", gauge("mem", _averages("used", "cached", "buffered", "free"), HOST), stacked=True
                ),
                curve("Swap", "bytes", gauge("swap", _averages("used", "total"), HOST)),
                curve("Swapped in and out", "Bps", rate("swap", ('"in"', '"out"'), HOST)),
                curve("Memory in use", "percent", gauge("mem", _averages("used_percent"), HOST), highest=100),
            ],
            "Disks": [
                curve(
                    "Full", "percent", gauge("disk", "max(used_percent) AS used", HOST, "tags->>'path'"), highest=100
                ),
                rows(
                    "Full in, if it goes on as over the range",
                    forecast(HOST),
                    {"used": "percent", "free": "bytes", "daily": "bytes", "full_in": "s"},
                    span=12,
                ),
                curve("Read and written", "Bps", rate("diskio", ("read_bytes", "write_bytes"), HOST, "tags->>'name'")),
                curve("Operations", "iops", rate("diskio", ("reads", "writes"), HOST, "tags->>'name'")),
                curve("Busy", "percent", gauge("diskio", "avg(io_util) AS busy", HOST, "tags->>'name'"), highest=100),
                curve(
                    "Inodes in use", "percent", gauge("disk", "max(inodes_used_percent) AS used", HOST, "tags->>'path'")
                ),
            ],
            "Network": [
                curve(
                    "Received and sent", "Bps", rate("net", ("bytes_recv", "bytes_sent"), HOST, "tags->>'interface'")
                ),
                curve("Packets", "pps", rate("net", ("packets_recv", "packets_sent"), HOST, "tags->>'interface'")),
                curve(
                    "Errors and drops",
                    "pps",
                    rate("net", ("err_in", "err_out", "drop_in", "drop_out"), HOST, "tags->>'interface'"),
                ),
            ],
        },
        [annotation("Reboots", REBOOTS)],
    )
