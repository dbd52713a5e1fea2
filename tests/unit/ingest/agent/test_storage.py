from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

import psutil
import pytest

from ingest.agent.points import Fields, PartlyRead
from ingest.agent.storage import DiskIO, disk_load, disk_tags, disk_usage, disks


class Mount(NamedTuple):
    """What psutil says of a mount."""

    device: str
    mountpoint: str
    fstype: str
    opts: str


class DiskCounters(NamedTuple):
    """What psutil says of a block device on Linux."""

    read_count: int = 0
    write_count: int = 0
    read_bytes: int = 0
    write_bytes: int = 0
    read_time: int = 0
    write_time: int = 0
    read_merged_count: int = 0
    write_merged_count: int = 0
    busy_time: int = 0


COUNTERS: Fields = {"reads": 10, "writes": 10, "read_time": 100, "write_time": 100, "io_time": 150}


def statvfs(blocks: int, free: int, available: int, files: int, files_free: int) -> os.statvfs_result:
    """The kernel's answer for a filesystem with blocks of 4 KiB."""
    return os.statvfs_result((4096, 4096, blocks, free, available, files, files_free, files_free, 0, 255))


def test_usage_leaves_roots_reserve_out() -> None:
    """Of 1000 blocks 400 are used and 500 are left for users: 44 %, as Telegraf reckons."""
    fields = disk_usage(statvfs(1000, 600, 500, 100, 75))
    assert fields == {
        "total": 1000 * 4096,
        "used": 400 * 4096,
        "free": 500 * 4096,
        "used_percent": pytest.approx(100 * 400 / 900),
        "inodes_total": 100,
        "inodes_free": 75,
        "inodes_used": 25,
        "inodes_used_percent": 25.0,
    }


def test_a_filesystem_without_inodes_has_zeros() -> None:
    """btrfs counts no inodes: nothing is divided by nothing."""
    fields = disk_usage(statvfs(1000, 1000, 1000, 0, 0))
    assert (fields["inodes_used"], fields["inodes_used_percent"], fields["used_percent"]) == (0, 0.0, 0.0)


@pytest.mark.parametrize(
    ("mount", "device", "mode"),
    [
        (Mount("/dev/nvme0n1p1", "/", "ext4", "rw,relatime"), "nvme0n1p1", "rw"),
        (Mount("/dev/sr0", "/", "udf", "nosuid,ro"), "sr0", "ro"),
        (Mount("", "/", "zfs", "relatime"), "zfs", "unknown"),
        (Mount("none", "/", "9p", "rw"), "9p", "rw"),
        (Mount("nas:/export", "/", "nfs4", "rw"), "nas:/export", "rw"),
    ],
)
def test_a_mounts_tags(mount: Mount, device: str, mode: str) -> None:
    """A device loses its /dev/, a mount without one has its type for it, and the mode is among the options."""
    assert disk_tags(mount) == {"path": "/", "fstype": mount.fstype, "device": device, "mode": mode}


def test_memory_filesystems_are_left_out_but_the_root_never(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """In a container the root is an overlay, which is ignored anywhere else; a mount of no size is none."""
    mounts = [
        Mount("overlay", "/", "overlay", "rw"),
        Mount("overlay", str(tmp_path), "overlay", "rw"),
        Mount("tmpfs", "/dev/shm", "tmpfs", "rw"),
        Mount("systemd-1", str(tmp_path), "autofs", "rw"),
        Mount("proc", "/proc", "proc", "rw"),
    ]
    monkeypatch.setattr(psutil, "disk_partitions", lambda **_: mounts)
    (root,) = disks()
    assert root.tags == {"path": "/", "device": "overlay", "fstype": "overlay", "mode": "rw"}


def test_a_mount_that_hides_another_is_the_one_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """The path has the usage of what was mounted last, so it gets the tags of that, too."""
    mounts = [Mount("rootfs", "/", "rootfs", "rw"), Mount("/dev/sda1", "/", "ext4", "ro")]
    monkeypatch.setattr(psutil, "disk_partitions", lambda **_: mounts)
    (root,) = disks()
    assert root.tags == {"path": "/", "device": "sda1", "fstype": "ext4", "mode": "ro"}


def test_a_mount_that_went_away_does_not_hide_the_others(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The mounts that answer are read; what is wrong with the other is said with its path."""
    gone = tmp_path / "gone"
    mounts = [Mount("/dev/sdz1", str(gone), "ext4", "rw"), Mount("/dev/sda1", "/", "ext4", "rw")]
    monkeypatch.setattr(psutil, "disk_partitions", lambda **_: mounts)
    with pytest.raises(PartlyRead) as caught:
        disks()
    assert [point.tags["path"] for point in caught.value.points] == ["/"]
    assert caught.value.faults == [f"{gone}: No such file or directory"]


def test_load_is_reckoned_from_two_readings() -> None:
    """Five operations waited 50 ms in all and kept the device busy for 20 ms of a second."""
    now: Fields = {"reads": 13, "writes": 12, "read_time": 130, "write_time": 120, "io_time": 170}
    assert disk_load(COUNTERS, now, 1000.0) == {"io_await": 10.0, "io_svctm": 4.0, "io_util": 2.0}


def test_an_idle_device_has_no_time_an_operation() -> None:
    """Nothing is divided by no operations."""
    assert disk_load(COUNTERS, COUNTERS, 1000.0) == {"io_util": 0.0}


@pytest.mark.parametrize(
    "before",
    [None, COUNTERS | {"reads": 11}, COUNTERS | {"io_time": 151}],
)
def test_without_a_reading_before_there_is_no_load(before: Fields | None) -> None:
    """The first reading has none, nor has the first after a counter began anew."""
    assert disk_load(before, COUNTERS, 1000.0) == {}


def test_a_system_without_busy_time_has_counters_alone() -> None:
    """macOS does not say how long a device was busy."""
    counters = {name: value for name, value in COUNTERS.items() if name != "io_time"}
    assert disk_load(counters, counters, 1000.0) == {}


def test_a_device_that_did_nothing_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Eight empty loop devices are no news; a device that begins to work is."""
    idle, busy = DiskCounters(), DiskCounters(*range(1, 10))
    answers = iter([{"no-such-a": idle, "no-such-b": busy}, {"no-such-a": busy, "no-such-b": busy}])
    monkeypatch.setattr(psutil, "disk_io_counters", lambda **_: next(answers))
    read = DiskIO()
    assert [point.tags["name"] for point in read()] == ["no-such-b"]
    first, second = read()
    assert (first.tags["name"], "io_util" in first.fields) == ("no-such-a", False)
    assert (second.tags["name"], "io_util" in second.fields) == ("no-such-b", True)
