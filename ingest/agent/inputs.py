"""What is read from this host: one function or class for each of Telegraf's inputs.

Names, units, types and formulas are those of Telegraf (github.com/influxdata/telegraf, plugins/inputs/<name>)
and of the library it reads with (gopsutil), so that its dashboards fit. Where psutil does not give a field on
Linux, it is read from /proc.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import psutil

from ingest.agent.points import Fields, Input, Point, attributes, percent
from ingest.agent.storage import DiskIO, disks

CPU_STATES = ("user", "system", "idle", "nice", "iowait", "irq", "softirq", "steal", "guest", "guest_nice")

MEMORY = {
    "active": "active",
    "buffered": "buffers",
    "cached": "cached",
    "free": "free",
    "inactive": "inactive",
    "shared": "shared",
    "slab": "slab",
    "wired": "wired",
}
"""Fields of `mem` and the attributes of psutil's answer that a system may have."""

MEMINFO = {
    "commit_limit": "CommitLimit",
    "committed_as": "Committed_AS",
    "dirty": "Dirty",
    "high_free": "HighFree",
    "high_total": "HighTotal",
    "huge_page_size": "Hugepagesize",
    "huge_pages_free": "HugePages_Free",
    "huge_pages_total": "HugePages_Total",
    "low_free": "LowFree",
    "low_total": "LowTotal",
    "mapped": "Mapped",
    "page_tables": "PageTables",
    "sreclaimable": "SReclaimable",
    "sunreclaim": "SUnreclaim",
    "swap_cached": "SwapCached",
    "swap_free": "SwapFree",
    "swap_total": "SwapTotal",
    "vmalloc_chunk": "VmallocChunk",
    "vmalloc_total": "VmallocTotal",
    "vmalloc_used": "VmallocUsed",
    "write_back": "Writeback",
    "write_back_tmp": "WritebackTmp",
}
"""Fields of `mem` and the lines of Linux' /proc/meminfo."""

NET = {
    "bytes_sent": "bytes_sent",
    "bytes_recv": "bytes_recv",
    "packets_sent": "packets_sent",
    "packets_recv": "packets_recv",
    "err_in": "errin",
    "err_out": "errout",
    "drop_in": "dropin",
    "drop_out": "dropout",
}

PROCESS_STATES = {
    psutil.STATUS_RUNNING: "running",
    psutil.STATUS_SLEEPING: "sleeping",
    psutil.STATUS_DISK_SLEEP: "blocked",
    psutil.STATUS_STOPPED: "stopped",
    psutil.STATUS_TRACING_STOP: "stopped",
    psutil.STATUS_ZOMBIE: "zombies",
    psutil.STATUS_DEAD: "dead",
    psutil.STATUS_IDLE: "idle",
    psutil.STATUS_PARKED: "parked",
}

KERNEL = {
    "btime": "boot_time",
    "ctxt": "context_switches",
    "intr": "interrupts",
    "processes": "processes_forked",
}
"""The first words of lines of /proc/stat and the fields of `kernel` that follow them."""


def inputs() -> dict[str, Input]:
    """The inputs of this system by name; those that compare with the reading before are new."""
    found: dict[str, Input] = {
        "cpu": Cpu(),
        "mem": memory,
        "swap": swap,
        "disk": disks,
        "diskio": DiskIO(),
        "net": network,
        "system": system,
        "processes": processes,
    }
    if psutil.LINUX:
        found["kernel"] = kernel
    return found


class Cpu:
    """`cpu`, of all cores together (cpu-total) and of each (cpu0, ...): percent since the reading before."""

    def __init__(self) -> None:
        self._before: dict[str, Any] = {}

    def __call__(self) -> list[Point]:
        """One point for each core that was there at the reading before."""
        now: dict[str, Any] = {f"cpu{n}": times for n, times in enumerate(psutil.cpu_times(percpu=True))}
        now["cpu-total"] = psutil.cpu_times()
        before, self._before = self._before, now
        return [
            Point("cpu", usage, {"cpu": name})
            for name, times in now.items()
            if name in before and (usage := cpu_usage(before[name], times))
        ]


def cpu_usage(before: Any, now: Any) -> Fields:
    """The share of each state, in percent of the time between two `cpu_times` of psutil's; {} if none passed."""
    passed = {state: getattr(now, state, 0.0) - getattr(before, state, 0.0) for state in CPU_STATES}
    # The kernel counts a guest's time as the user's too.
    passed["user"] -= passed["guest"]
    passed["nice"] -= passed["guest_nice"]
    total = sum(passed.values())
    if total <= 0:
        return {}
    return {f"usage_{state}": 100 * seconds / total for state, seconds in passed.items()}


def memory() -> list[Point]:
    """`mem`, in bytes and percent."""
    now = psutil.virtual_memory()
    used = now.total - now.available
    fields: Fields = {
        "total": now.total,
        "available": now.available,
        "used": used,
        "available_percent": percent(now.available, now.total),
        "used_percent": percent(used, now.total),
    }
    fields |= attributes(now, MEMORY)
    if psutil.LINUX:
        fields |= meminfo(Path("/proc/meminfo").read_text())
    return [Point("mem", fields)]


def meminfo(text: str) -> Fields:
    """The fields of `mem` that /proc/meminfo holds, in bytes (huge pages by number); 0 for an absent line."""
    values = {}
    for line in text.splitlines():
        name, _, rest = line.partition(":")
        number, *unit = rest.split()
        values[name] = int(number) * (1024 if unit else 1)
    return {field: values.get(name, 0) for field, name in MEMINFO.items()}


def swap() -> list[Point]:
    """`swap`, in bytes and percent."""
    now = psutil.swap_memory()
    fields: Fields = {
        "total": now.total,
        "used": now.used,
        "free": now.free,
        "used_percent": percent(now.used, now.total),
        "in": now.sin,
        "out": now.sout,
    }
    return [Point("swap", fields)]


def network() -> list[Point]:
    """`net`: counters of each interface that is up, but for the loopback; `speed` in Mbit/s, -1 unknown."""
    links = psutil.net_if_stats()
    points = []
    for name, now in psutil.net_io_counters(pernic=True, nowrap=False).items():
        flags = links[name].flags.split(",") if name in links else []
        if "up" in flags and "loopback" not in flags:
            fields = {**attributes(now, NET), "speed": links[name].speed or -1}
            points.append(Point("net", fields, {"interface": name}))
    return points


def system() -> list[Point]:
    """`system`: load averages, numbers of cores and of users, uptime in seconds."""
    load1, load5, load15 = psutil.getloadavg()
    fields: Fields = {
        "load1": load1,
        "load5": load5,
        "load15": load15,
        "uptime": int(time.time() - psutil.boot_time()),
    }
    for name, cores in (("n_cpus", psutil.cpu_count()), ("n_physical_cpus", psutil.cpu_count(logical=False))):
        if cores is not None:
            fields[name] = cores
    if Path("/var/run/utmp").exists():  # without it nobody knows who is logged in
        users = [user.name for user in psutil.users()]
        fields["n_users"] = len(users)
        fields["n_unique_users"] = len(set(users))
    return [Point("system", fields)]


def processes() -> list[Point]:
    """`processes`: how many there are in each state, and how many threads they have."""
    names = ("blocked", "zombies", "stopped", "running", "sleeping", "total", "unknown", "dead", "paging", "idle")
    fields: Fields = {**dict.fromkeys(names, 0), "total_threads": 0}
    for process in psutil.process_iter(["status", "num_threads"]):
        state = PROCESS_STATES.get(process.info["status"], "unknown")
        fields[state] = fields.get(state, 0) + 1
        fields["total"] += 1
        fields["total_threads"] += process.info["num_threads"] or 0
    return [Point("processes", fields)]


def kernel() -> list[Point]:
    """`kernel`: counters since boot, the time of the boot in Unix seconds, the entropy left in bits."""
    fields: Fields = {}
    for line in Path("/proc/stat").read_text().splitlines():
        word, number, *_ = line.split(maxsplit=2)
        if word in KERNEL:
            fields[KERNEL[word]] = int(number)
    fields["entropy_avail"] = int(Path("/proc/sys/kernel/random/entropy_avail").read_text())
    return [Point("kernel", fields)]
