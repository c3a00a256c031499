"""Cgroup trees, `/proc` and `/sys/dev/block` on disk, as kernels 6.18 (v1) and 6.12 (v2) write them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from collectors.cgroup import CgroupReader
from collectors.facts import Container, ContainerState

if TYPE_CHECKING:
    from pathlib import Path

STARTED = datetime(2026, 11, 23, 15, 0, tzinfo=UTC)

V2 = {
    "cpu.stat": "usage_usec 12500000\nuser_usec 9000000\nsystem_usec 3500000\nnice_usec 0\n"
    "core_sched.force_idle_usec 0\nnr_periods 400\nnr_throttled 12\nthrottled_usec 750000\nnr_bursts 0\nburst_usec 0\n",
    "cpu.max": "50000 100000\n",
    "cpu.weight": "100\n",
    "cpu.pressure": "some avg10=0.00 avg60=0.00 avg300=0.00 total=2500000\n"
    "full avg10=0.00 avg60=0.00 avg300=0.00 total=1250000\n",
    "memory.current": "104857600\n",
    "memory.stat": "anon 62914560\nfile 31457280\nkernel 4194304\nkernel_stack 65536\npagetables 131072\n"
    "sec_pagetables 0\npercpu 1152\nsock 0\nvmalloc 0\nshmem 0\nzswap 0\nzswapped 0\nfile_mapped 8388608\n"
    "file_dirty 0\nfile_writeback 0\nswapcached 0\nanon_thp 0\nfile_thp 0\nshmem_thp 0\ninactive_anon 0\n"
    "active_anon 62914560\n"
    "inactive_file 20971520\nactive_file 10485760\nunevictable 0\nslab_reclaimable 368560\nslab_unreclaimable 171952\n"
    "workingset_refault_anon 0\nworkingset_refault_file 0\npgscan 0\npgsteal 0\npgfault 1234\npgmajfault 5\n",
    "memory.low": "268435456\n",
    "memory.min": "0\n",
    "memory.peak": "209715200\n",
    "memory.swap.current": "4096\n",
    "memory.swap.max": "max\n",
    "memory.pressure": "some avg10=0.00 avg60=0.00 avg300=0.00 total=750000\n"
    "full avg10=0.00 avg60=0.00 avg300=0.00 total=500000\n",
    "memory.max": "536870912\n",
    "memory.events": "low 0\nhigh 0\nmax 7\noom 2\noom_kill 1\noom_group_kill 0\n",
    "pids.current": "7\n",
    "pids.max": "max\n",
    "io.stat": "8:0 rbytes=4096 wbytes=8192 rios=1 wios=2 dbytes=0 dios=0\n"
    "259:3 rbytes=1 wbytes=2 rios=1 wios=1 dbytes=0 dios=0\n",
    "io.pressure": "some avg10=0.00 avg60=0.00 avg300=0.00 total=125000\n"
    "full avg10=0.00 avg60=0.00 avg300=0.00 total=62500\n",
}

V1 = {
    "cpu/cpu.stat": "nr_periods 400\nnr_throttled 12\nthrottled_time 750000000\n",
    "cpu/cpu.cfs_quota_us": "50000\n",
    "cpu/cpu.cfs_period_us": "100000\n",
    "cpu/cpu.shares": "1024\n",
    "cpuacct/cpuacct.usage": "12500000000\n",
    "cpuacct/cpuacct.stat": "user 900\nsystem 350\n",
    "memory/memory.usage_in_bytes": "104857600\n",
    "memory/memory.stat": "cache 1\nrss 2\ninactive_file 3\n"
    "total_cache 31457280\ntotal_rss 62914560\ntotal_mapped_file 8388608\ntotal_swap 4096\n"
    "total_inactive_file 20971520\n",
    "memory/memory.limit_in_bytes": "536870912\n",
    "memory/memory.soft_limit_in_bytes": "268435456\n",
    "memory/memory.memsw.limit_in_bytes": "9223372036854771712\n",
    "memory/memory.max_usage_in_bytes": "209715200\n",
    "memory/memory.failcnt": "5\n",
    "memory/memory.memsw.failcnt": "2\n",
    "memory/memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 1\n",
    "pids/pids.current": "7\n",
    "pids/pids.max": "100\n",
    "blkio/blkio.throttle.io_service_bytes_recursive": "8:0 Read 4096\n8:0 Write 8192\n"
    "8:0 Sync 0\n8:0 Async 12288\n8:0 Discard 0\n8:0 Total 12288\nTotal 12288\n",
    "blkio/blkio.throttle.io_serviced_recursive": "8:0 Read 1\n8:0 Write 2\n"
    "8:0 Sync 0\n8:0 Async 3\n8:0 Discard 0\n8:0 Total 3\nTotal 3\n",
}

MEMINFO = """\
MemTotal:        8388608 kB
MemFree:         1048576 kB
MemAvailable:    4194304 kB
Buffers:           65536 kB
SwapTotal:       2097152 kB
SwapFree:        2093056 kB
"""

NET_DEV = """\
Inter-|   Receive                            |  Transmit
 face |bytes packets errs drop fifo frame compressed multicast|bytes packets errs drop fifo colls carrier compressed
    lo:     500    5    0    0    0     0          0         0   500    5    0    0    0     0       0          0
  eth0: 1048576 1000    0    0    0     0          0         0 524288 800    0    0    0     0       0          0
veth12:      77    1    0    0    0     0          0         0    77    1    0    0    0     0       0          0
"""


def a_container(number: int = 1, **changes: Any) -> Container:
    """Give a running container, the `number`th of its kind."""
    values: dict[str, Any] = {
        "id": f"{number:012x}" + "ab" * 26,
        "name": f"web-{number}",
        "image": "shop/web:1.4",
        "image_id": "sha256:" + "cd" * 32,
        "state": ContainerState.RUNNING,
        "pid": 1000 + number,
        "created_at": STARTED,
        "started_at": STARTED,
    }
    return Container(**values | changes)


class CgroupTree:
    """A host's kernel files under one directory, and the reader of them."""

    def __init__(self, root: Path) -> None:
        self.cgroups, self.proc, self.devices = root / "cgroup", root / "proc", root / "block"
        for directory in (self.cgroups, self.proc, self.devices):
            directory.mkdir(parents=True)
        (self.proc / "meminfo").write_text(MEMINFO)
        (self.proc / "vmstat").write_text("nr_free_pages 1\noom_kill 3\n")
        (self.devices / "8:0").symlink_to("../../devices/pci0000:00/host0/block/sda")
        self.reader = CgroupReader(self.cgroups, self.proc, self.devices)

    def add_v2(self, path: str) -> Path:
        """Write the cgroup `path` of the unified hierarchy."""
        (self.cgroups / "cgroup.controllers").write_text("cpuset cpu io memory pids\n")
        directory = self.cgroups / path
        directory.mkdir(parents=True)
        for name, text in V2.items():
            (directory / name).write_text(text)
        return directory

    def add_v1(self, path: str) -> Path:
        """Write the cgroup `path` under every v1 controller; gives the place of the controllers."""
        for name, text in V1.items():
            controller, file = name.split("/")
            directory = self.cgroups / controller / path
            directory.mkdir(parents=True, exist_ok=True)
            (directory / file).write_text(text)
        return self.cgroups

    def add_process(self, pid: int, cgroup: str = "") -> None:
        """Write the `/proc` entry of a process: its traffic and its cgroups."""
        (self.proc / str(pid) / "net").mkdir(parents=True)
        (self.proc / str(pid) / "net" / "dev").write_text(NET_DEV)
        (self.proc / str(pid) / "cgroup").write_text(cgroup)
