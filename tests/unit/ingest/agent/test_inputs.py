from __future__ import annotations

from typing import NamedTuple

import psutil
import pytest

from ingest.agent.inputs import CPU_STATES, Cpu, cpu_usage, inputs, meminfo, network
from ingest.agent.points import Point


class CpuTimes(NamedTuple):
    """What psutil gives on Linux, in seconds."""

    user: float = 0.0
    nice: float = 0.0
    system: float = 0.0
    idle: float = 0.0
    iowait: float = 0.0
    irq: float = 0.0
    softirq: float = 0.0
    steal: float = 0.0
    guest: float = 0.0
    guest_nice: float = 0.0


class MacCpuTimes(NamedTuple):
    """What psutil gives on macOS."""

    user: float
    nice: float
    system: float
    idle: float


class NetCounters(NamedTuple):
    """What psutil says of an interface's traffic."""

    bytes_sent: int
    bytes_recv: int
    packets_sent: int
    packets_recv: int
    errin: int
    errout: int
    dropin: int
    dropout: int


class Link(NamedTuple):
    """What psutil says of an interface."""

    speed: int
    flags: str


ZERO = CpuTimes()

FLOATS = "used_percent available_percent inodes_used_percent io_util io_await io_svctm load1 load5 load15"

TELEGRAF = {
    "cpu": "usage_user usage_system usage_idle usage_nice usage_iowait usage_irq usage_softirq usage_steal "
    "usage_guest usage_guest_nice",
    "mem": "active available available_percent buffered cached commit_limit committed_as dirty free high_free "
    "high_total huge_page_size huge_pages_free huge_pages_total inactive low_free low_total mapped page_tables "
    "shared slab sreclaimable sunreclaim swap_cached swap_free swap_total total used used_percent vmalloc_chunk "
    "vmalloc_total vmalloc_used write_back write_back_tmp",
    "swap": "total used free used_percent in out",
    "disk": "total free used used_percent inodes_total inodes_free inodes_used inodes_used_percent",
    "diskio": "reads writes read_bytes write_bytes read_time write_time io_time weighted_io_time iops_in_progress "
    "merged_reads merged_writes",
    "net": "bytes_sent bytes_recv packets_sent packets_recv err_in err_out drop_in drop_out speed",
    "system": "load1 load5 load15 n_cpus uptime",
    "processes": "blocked zombies stopped running sleeping total unknown dead paging total_threads idle",
    "kernel": "boot_time context_switches interrupts processes_forked entropy_avail",
}
"""What Telegraf's inputs send on Linux, by their source; a test may not take it from the code it tests."""

SOMETIMES = {
    "diskio": "io_util io_await io_svctm",
    "system": "n_physical_cpus n_users n_unique_users",
    "processes": "parked",
}

TAGS = {
    "cpu": {"cpu"},
    "disk": {"device", "fstype", "mode", "path"},
    "diskio": {"name"},
    "net": {"interface"},
}


@pytest.fixture(scope="module")
def reading() -> dict[str, list[Point]]:
    """Two readings of this very host, the second of which is given."""
    found = inputs()
    for read in found.values():
        read()
    while not (cpu := found["cpu"]()):
        pass  # the kernel counts in steps of 10 ms, and a percentage needs one to have passed
    return {"cpu": cpu} | {name: read() for name, read in found.items() if name != "cpu"}


@pytest.mark.skipif(not psutil.LINUX, reason="the field sets are those of Linux")
@pytest.mark.parametrize("name", TELEGRAF)
def test_the_fields_are_telegrafs(reading: dict[str, list[Point]], name: str) -> None:
    """Each point has the fields, the types and the tags that Telegraf's input sends, and no other."""
    always, sometimes = set(TELEGRAF[name].split()), set(SOMETIMES.get(name, "").split())
    for point in reading[name]:
        assert point.measurement == name
        assert always <= set(point.fields) <= always | sometimes
        assert set(point.tags) - {"label"} == TAGS.get(name, set())
        for field, value in point.fields.items():
            wanted = float if name == "cpu" or field in FLOATS.split() else int
            assert type(value) is wanted, f"{name}.{field} is {type(value)}"


def test_this_host_is_read(reading: dict[str, list[Point]]) -> None:
    """The numbers are this host's: a root filesystem, one point a core, memory that adds up."""
    assert "/" in {point.tags["path"] for point in reading["disk"]}
    cores = {f"cpu{n}" for n in range(len(psutil.cpu_times(percpu=True)))}
    assert {point.tags["cpu"] for point in reading["cpu"]} <= cores | {"cpu-total"}
    (memory,) = reading["mem"]
    assert memory.fields["total"] == psutil.virtual_memory().total
    assert memory.fields["used"] + memory.fields["available"] == memory.fields["total"]
    (kernel,) = reading["kernel"]
    assert kernel.fields["boot_time"] == int(psutil.boot_time())
    (processes,) = reading["processes"]
    assert 0 < processes.fields["total"] <= processes.fields["total_threads"] + processes.fields["zombies"]


def test_usage_is_the_share_of_the_time_that_passed() -> None:
    """Ten seconds passed, of them four for the user: 40 %; all states together are 100 %."""
    before = ZERO._replace(user=100.0, system=50.0, idle=1000.0)
    now = ZERO._replace(user=104.0, system=51.0, idle=1004.0, iowait=1.0)
    usage = cpu_usage(before, now)
    assert usage == dict.fromkeys((f"usage_{state}" for state in CPU_STATES), 0.0) | {
        "usage_user": 40.0,
        "usage_system": 10.0,
        "usage_idle": 40.0,
        "usage_iowait": 10.0,
    }


def test_a_guests_time_is_not_counted_twice() -> None:
    """The kernel counts a guest's time in user and in nice, too; the shares still make 100 %."""
    now = ZERO._replace(user=6.0, guest=4.0, nice=3.0, guest_nice=2.0, idle=1.0)
    usage = cpu_usage(ZERO, now)
    assert usage["usage_user"] == 20.0
    assert usage["usage_guest"] == 40.0
    assert usage["usage_nice"] == 10.0
    assert usage["usage_guest_nice"] == 20.0
    assert sum(usage.values()) == pytest.approx(100.0)


def test_no_time_no_usage() -> None:
    """Without time between two readings, or with a clock that went back, there is no share of it."""
    assert cpu_usage(ZERO, ZERO) == {}
    assert cpu_usage(ZERO._replace(idle=5.0), ZERO) == {}


def test_a_system_with_fewer_states_has_zeros() -> None:
    """macOS counts four states; the others are 0, as with Telegraf."""
    usage = cpu_usage(MacCpuTimes(0.0, 0.0, 0.0, 0.0), MacCpuTimes(1.0, 0.0, 1.0, 2.0))
    assert usage["usage_idle"] == 50.0
    assert usage["usage_steal"] == 0.0
    assert len(usage) == len(CPU_STATES)


def test_the_first_reading_has_no_usage(monkeypatch: pytest.MonkeyPatch) -> None:
    """A percentage needs a reading before; a core that was not there has none either."""
    cores = [ZERO]
    monkeypatch.setattr(psutil, "cpu_times", lambda percpu=False: list(cores) if percpu else cores[0])
    cpu = Cpu()
    assert cpu() == []
    cores[:] = [ZERO._replace(user=1.0, idle=3.0), ZERO._replace(idle=4.0)]
    assert {point.tags["cpu"]: point.fields["usage_user"] for point in cpu()} == {"cpu-total": 25.0, "cpu0": 25.0}
    cores[:] = [times._replace(idle=times.idle + 4.0) for times in cores]
    assert {point.tags["cpu"]: point.fields["usage_idle"] for point in cpu()} == {
        "cpu-total": 100.0,
        "cpu0": 100.0,
        "cpu1": 100.0,
    }


def test_meminfo_is_in_bytes_but_for_numbers_of_pages() -> None:
    """A line with a unit is in kB; one without counts huge pages; one that is absent is 0."""
    fields = meminfo("Dirty:  14456 kB\nHugePages_Total:  3\nHugepagesize:  2048 kB\nNobody: 1 kB\n")
    assert fields["dirty"] == 14456 * 1024
    assert fields["huge_pages_total"] == 3
    assert fields["huge_page_size"] == 2 * 1024 * 1024
    assert fields["high_total"] == 0


def test_only_interfaces_that_are_up_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """The loopback and what is down are left out, and so is what went away between two questions."""
    counters = NetCounters(1, 2, 3, 4, 5, 6, 7, 8)
    monkeypatch.setattr(
        psutil,
        "net_if_stats",
        lambda: {
            "lo": Link(0, "up,loopback,running"),
            "eth0": Link(1000, "up,broadcast"),
            "wg0": Link(0, "up"),
            "eth1": Link(1000, "broadcast"),
        },
    )
    names = ("lo", "eth0", "eth1", "wg0", "gone")
    monkeypatch.setattr(psutil, "net_io_counters", lambda **_: dict.fromkeys(names, counters))
    points = {point.tags["interface"]: point.fields for point in network()}
    assert points.keys() == {"eth0", "wg0"}
    assert points["eth0"] == {
        "bytes_sent": 1,
        "bytes_recv": 2,
        "packets_sent": 3,
        "packets_recv": 4,
        "err_in": 5,
        "err_out": 6,
        "drop_in": 7,
        "drop_out": 8,
        "speed": 1000,
    }
    assert points["wg0"]["speed"] == -1
