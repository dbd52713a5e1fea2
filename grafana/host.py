"""The dashboard *Host*: everything that the agent reads of one host."""

from __future__ import annotations

from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models.dashboard import Dashboard, Panel

from grafana.panels import ahead, annotation, board, curve, host_variable, number, percents, rows
from grafana.statements import HOST, forecast, gauge, rate, trend_lines

TOTAL = f"{HOST} AND tags->>'cpu' = 'cpu-total'"
CORES = f"{HOST} AND tags->>'cpu' <> 'cpu-total'"
MODES = ("user", "system", "nice", "iowait", "irq", "softirq", "steal", "guest", "guest_nice", "idle")
PATH, DEVICE, INTERFACE = "tags->>'path'", "tags->>'name'", "tags->>'interface'"

REBOOTS = f"""\
SELECT to_timestamp(boot_time) AS time, 'Reboot' AS text FROM metrics.kernel_at('10m', 'max')
WHERE $__timeFilter(time) AND {HOST} AND to_timestamp(boot_time) BETWEEN $__timeFrom() AND $__timeTo()
GROUP BY 1 ORDER BY 1"""

Panels = list[Builder[Panel]]


def _averages(*columns: str) -> str:
    return ", ".join(f"avg({column}) AS {column}" for column in columns)


def _last(measurement: str, value: str, where: str = HOST) -> str:
    return (
        f"SELECT time, {value} AS value FROM metrics.{measurement}_at('$__interval')\n"
        f"WHERE $__timeFilter(time) AND {where} AND {value} IS NOT NULL ORDER BY 1 DESC LIMIT 1"
    )


def host() -> Dashboard:
    """The dashboard."""
    sections = {
        "Now": _now(),
        "Processor": _processor(),
        "Memory": _memory(),
        "Disks": _disks(),
        "Network": _network(),
    }
    return board("tidemark-host", "Host", [host_variable()], sections, [annotation("Reboots", REBOOTS)])


def _now() -> Panels:
    return [
        number("Uptime", "s", _last("system", "uptime")),
        number("CPU", "percent", _last("cpu", "100 - usage_idle", TOTAL), percents()),
        number("Memory", "percent", _last("mem", "used_percent"), percents()),
        number("Load", "short", _last("system", "load1")),
        number("Cores", "none", _last("system", "n_cpus")),
        number("Processes", "none", _last("processes", "total")),
    ]


def _processor() -> Panels:
    modes = ", ".join(f'avg(usage_{mode}) AS "{mode}"' for mode in MODES)
    cores = gauge("cpu", "100 - avg(usage_idle) AS busy", CORES, "tags->>'cpu'")
    return [
        curve("CPU by mode", "percent", gauge("cpu", modes, TOTAL), stacked=True, highest=100),
        curve("CPU by core", "percent", cores, highest=100),
        curve("Load", "short", gauge("system", _averages("load1", "load5", "load15", "n_cpus"), HOST)),
        curve("Processes", "short", gauge("processes", _averages("running", "blocked", "zombies", "total"), HOST)),
        curve("Context switches and interrupts", "ops", rate("kernel", ("context_switches", "interrupts"), HOST)),
        curve("Uptime", "s", gauge("system", "max(uptime) AS uptime", HOST)),
    ]


def _memory() -> Panels:
    parts = gauge("mem", _averages("used", "cached", "buffered", "free"), HOST)
    return [
        curve("Memory", "bytes", parts, stacked=True),
        curve("Swap", "bytes", gauge("swap", _averages("used", "total"), HOST)),
        curve("Swapped in and out", "Bps", rate("swap", ('"in"', '"out"'), HOST)),
        curve("Memory in use", "percent", gauge("mem", _averages("used_percent"), HOST), highest=100),
    ]


def _disks() -> Panels:
    full = (
        gauge("disk", "max(used_percent) AS used", HOST, PATH),
        trend_lines("disk", "used_percent", HOST, PATH, between=(0, 100)),
    )
    units = {"used": "percent", "free": "bytes", "daily": "bytes", "full_in": "s"}
    return [
        ahead(curve("Full, and where it goes", "percent", full, highest=100)),
        rows("Full in, if it goes on as over the range", forecast(HOST), units, span=12),
        curve("Read and written", "Bps", rate("diskio", ("read_bytes", "write_bytes"), HOST, DEVICE)),
        curve("Operations", "iops", rate("diskio", ("reads", "writes"), HOST, DEVICE)),
        curve("Busy", "percent", gauge("diskio", "avg(io_util) AS busy", HOST, DEVICE), highest=100),
        curve("Inodes in use", "percent", gauge("disk", "max(inodes_used_percent) AS used", HOST, PATH), highest=100),
    ]


def _network() -> Panels:
    lost = ("err_in", "err_out", "drop_in", "drop_out")
    return [
        curve("Received and sent", "Bps", rate("net", ("bytes_recv", "bytes_sent"), HOST, INTERFACE)),
        curve("Packets", "pps", rate("net", ("packets_recv", "packets_sent"), HOST, INTERFACE)),
        curve("Errors and drops", "pps", rate("net", lost, HOST, INTERFACE)),
    ]
