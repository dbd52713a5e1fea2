"""The inputs that read this host's disks: `disk`, what is mounted, and `diskio`, what devices do."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import psutil

from ingest.agent.points import Fields, PartlyRead, Point, attributes, percent

IGNORED_FILESYSTEMS = {"tmpfs", "devtmpfs", "devfs", "iso9660", "overlay", "aufs", "squashfs", "autofs"}
"""Telegraf's default, and autofs, which stands for a mount that is not there yet."""

DISKIO = {
    "reads": "read_count",
    "writes": "write_count",
    "read_bytes": "read_bytes",
    "write_bytes": "write_bytes",
    "read_time": "read_time",
    "write_time": "write_time",
    "io_time": "busy_time",
    "merged_reads": "read_merged_count",
    "merged_writes": "write_merged_count",
}
"""Fields of `diskio` and the attributes of psutil's answer that a system may have."""


def disks() -> list[Point]:
    """`disk`: one point a mounted filesystem; in a container too, `/` is one of them.

    Raises `PartlyRead` when a mount does not tell its usage.
    """
    points = []
    faults = []
    # Of several mounts on one path only the last can be seen.
    mounts = {mount.mountpoint: mount for mount in psutil.disk_partitions(all=True)}
    for mount in mounts.values():
        if mount.fstype in IGNORED_FILESYSTEMS and mount.mountpoint != "/":
            continue
        try:
            usage = os.statvfs(mount.mountpoint)
            if usage.f_blocks > 0:  # proc, sysfs, cgroup and their like have none
                points.append(Point("disk", disk_usage(usage), disk_tags(mount)))
        except OSError as error:
            faults.append(f"{mount.mountpoint}: {error.strerror}")
    if faults:
        raise PartlyRead(points, faults)
    return points


def disk_usage(usage: os.statvfs_result) -> Fields:
    """The fields of `disk`: bytes, inodes, and percent of what users may have (root's reserve left out)."""
    used = (usage.f_blocks - usage.f_bfree) * usage.f_frsize
    free = usage.f_bavail * usage.f_frsize
    inodes_used = max(0, usage.f_files - usage.f_ffree)
    return {
        "total": usage.f_blocks * usage.f_frsize,
        "free": free,
        "used": used,
        "used_percent": percent(used, used + free),
        "inodes_total": usage.f_files,
        "inodes_free": usage.f_ffree,
        "inodes_used": inodes_used,
        "inodes_used_percent": percent(inodes_used, inodes_used + usage.f_ffree),
    }


def disk_tags(mount: Any) -> dict[str, str]:
    """The tags of `disk` for one of psutil's `disk_partitions`; a device mapper's volume has a label, too."""
    device = mount.device if mount.device not in ("", "none") else mount.fstype
    if device.startswith("/dev/mapper/"):
        device = os.path.realpath(device)
    device = device.replace("/dev/", "")
    options = mount.opts.split(",")
    mode = next((mode for mode in ("rw", "ro") if mode in options), "unknown")
    tags = {"path": mount.mountpoint, "device": device, "fstype": mount.fstype, "mode": mode}
    label = Path("/sys/block", device, "dm/name")
    if label.is_file():
        tags["label"] = label.read_text().strip()
    return tags


class DiskIO:
    """`diskio`: counters of each block device since boot, and its load since the reading before."""

    def __init__(self) -> None:
        self._before: dict[str, Fields] = {}
        self._before_seconds = 0.0

    def __call__(self) -> list[Point]:
        """One point for each device that has done anything."""
        now = {name: fields for name, fields in _disk_counters().items() if any(fields.values())}
        now_seconds = time.monotonic()
        before, elapsed_ms = self._before, 1000 * (now_seconds - self._before_seconds)
        self._before, self._before_seconds = now, now_seconds
        return [
            Point("diskio", {**fields, **disk_load(before.get(name), fields, elapsed_ms)}, {"name": name})
            for name, fields in now.items()
        ]


def _disk_counters() -> dict[str, Fields]:
    counters = psutil.disk_io_counters(perdisk=True, nowrap=False)
    devices = {name: attributes(now, DISKIO) for name, now in counters.items()}
    if psutil.LINUX:
        for line in Path("/proc/diskstats").read_text().splitlines():
            _, _, name, *numbers = line.split()
            if name in devices and len(numbers) >= 11:
                devices[name] |= {
                    "iops_in_progress": int(numbers[8]),
                    "weighted_io_time": int(numbers[10]),
                }
    return devices


def disk_load(before: Fields | None, now: Fields, elapsed_ms: float) -> Fields:
    """`io_await` and `io_svctm` (milliseconds an operation) and `io_util` (percent) between two readings.

    {} without a reading before, on a system that counts no busy time, and when a counter began anew.
    """
    if before is None or "io_time" not in now:
        return {}
    passed = {name: now[name] - before[name] for name in ("reads", "writes", "read_time", "write_time", "io_time")}
    if min(passed.values()) < 0:
        return {}
    load: Fields = {}
    if operations := passed["reads"] + passed["writes"]:
        load["io_await"] = (passed["read_time"] + passed["write_time"]) / operations
        load["io_svctm"] = passed["io_time"] / operations
    if elapsed_ms > 0:
        load["io_util"] = 100 * passed["io_time"] / elapsed_ms
    return load
