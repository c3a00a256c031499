"""The figures of one cgroup, v1 or v2, as a frozen reading."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from collectors import cgroup_files as files

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from collectors.cgroup_files import Flow

_CHUNK = 64 * 1024
_SHORT = 2048
"""Less than this in the first read is the whole file: the kernel ends a read early only near a full page."""

_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What the kernel counted for one container until now; `None` is a figure that could not be read."""

    cpu_seconds: float | None = None
    cpu_user_seconds: float | None = None
    cpu_system_seconds: float | None = None
    cpu_periods: int | None = None
    """Enforcement periods that passed; like the two below `None` also without a CPU quota."""
    cpu_throttled_periods: int | None = None
    cpu_throttled_seconds: float | None = None
    memory_bytes: int | None = None
    memory_working_set_bytes: int | None = None
    """Usage without the file cache that can be dropped first."""
    memory_rss_bytes: int | None = None
    memory_cache_bytes: int | None = None
    memory_limit_bytes: int | None = None
    """`None` also when unlimited."""
    pids: int | None = None
    pids_limit: int | None = None
    """`None` also when unlimited."""
    block_io: Mapping[str, Flow] = field(default_factory=dict)
    """Read and written, per device name."""
    network: Mapping[str, Flow] = field(default_factory=dict)
    """Received and sent, per interface; empty when the container shares a network namespace."""


class BlockDevices:
    """The names of block devices by `major:minor`."""

    def __init__(self, links: Path) -> None:
        self._links = links
        self._names: dict[str, str] = {}

    def named(self, flows: Mapping[str, Flow]) -> dict[str, Flow]:
        """Give the flows by device name; a device without a name keeps its number."""
        return {self._name(number): flow for number, flow in flows.items()}

    def _name(self, number: str) -> str:
        name = self._names.get(number)
        if name is None:
            try:
                name = (self._links / number).readlink().name
            except OSError:
                name = number
            self._names[number] = name
        return name


class GroupV2:
    """A cgroup of the unified hierarchy."""

    __slots__ = ("_cpu", "_events", "_io", "_max", "_memory", "_memory_stat", "_pids", "_pids_max")

    def __init__(self, path: str) -> None:
        self._cpu = f"{path}/cpu.stat"
        self._memory = f"{path}/memory.current"
        self._memory_stat = f"{path}/memory.stat"
        self._max = f"{path}/memory.max"
        self._events = f"{path}/memory.events"
        self._pids = f"{path}/pids.current"
        self._pids_max = f"{path}/pids.max"
        self._io = f"{path}/io.stat"

    def oom_kills(self) -> int | None:
        """Give how many processes were killed for memory in this cgroup's life."""
        return files.keyed(read_file(self._events), b"oom_kill")

    def read(self, devices: BlockDevices, network: Mapping[str, Flow]) -> Reading | None:
        """Read every figure; `None` when the cgroup has vanished."""
        cpu, stat = read_file(self._cpu), read_file(self._memory_stat)
        if cpu is None and stat is None:
            return None
        usage = files.number(read_file(self._memory))
        quota = cpu if files.keyed(cpu, b"nr_periods") else None
        return Reading(
            cpu_seconds=_scaled(files.keyed(cpu, b"usage_usec"), 1e6),
            cpu_user_seconds=_scaled(files.keyed(cpu, b"user_usec"), 1e6),
            cpu_system_seconds=_scaled(files.keyed(cpu, b"system_usec"), 1e6),
            cpu_periods=files.keyed(quota, b"nr_periods"),
            cpu_throttled_periods=files.keyed(quota, b"nr_throttled"),
            cpu_throttled_seconds=_scaled(files.keyed(quota, b"throttled_usec"), 1e6),
            memory_bytes=usage,
            memory_working_set_bytes=_working_set(usage, files.keyed(stat, b"inactive_file")),
            memory_rss_bytes=files.keyed(stat, b"anon"),
            memory_cache_bytes=files.keyed(stat, b"file"),
            memory_limit_bytes=files.limit(read_file(self._max)),
            pids=files.number(read_file(self._pids)),
            pids_limit=files.limit(read_file(self._pids_max)),
            block_io=devices.named(files.io_v2(read_file(self._io))),
            network=network,
        )


class GroupV1:
    """The directories of one cgroup under the v1 controllers."""

    __slots__ = ("_cpu", "_cpu_stat", "_cpu_usage", "_io", "_io_flat", "_memory", "_oom", "_pids")

    def __init__(self, root: str, path: str) -> None:
        self._cpu = f"{root}/cpu/{path}/cpu.stat"
        self._cpu_usage = f"{root}/cpuacct/{path}/cpuacct.usage"
        self._cpu_stat = f"{root}/cpuacct/{path}/cpuacct.stat"
        self._memory = f"{root}/memory/{path}/memory."
        self._oom = f"{root}/memory/{path}/memory.oom_control"
        self._pids = f"{root}/pids/{path}/pids."
        self._io_flat = f"{root}/blkio/{path}/blkio.throttle.io_service_bytes"
        self._io = f"{self._io_flat}_recursive"

    def oom_kills(self) -> int | None:
        """Give how many processes were killed for memory in this cgroup's life."""
        return files.keyed(read_file(self._oom), b"oom_kill")

    def read(self, devices: BlockDevices, network: Mapping[str, Flow]) -> Reading | None:
        """Read every figure; `None` when the cgroup has vanished."""
        cpu, stat = read_file(self._cpu_usage), read_file(self._memory + "stat")
        if cpu is None and stat is None:
            return None
        times, quota = read_file(self._cpu_stat), read_file(self._cpu)
        if not files.keyed(quota, b"nr_periods"):
            quota = None
        usage = files.number(read_file(self._memory + "usage_in_bytes"))
        return Reading(
            cpu_seconds=_scaled(files.number(cpu), 1e9),
            cpu_user_seconds=_scaled(files.keyed(times, b"user"), _TICKS),
            cpu_system_seconds=_scaled(files.keyed(times, b"system"), _TICKS),
            cpu_periods=files.keyed(quota, b"nr_periods"),
            cpu_throttled_periods=files.keyed(quota, b"nr_throttled"),
            cpu_throttled_seconds=_scaled(files.keyed(quota, b"throttled_time"), 1e9),
            memory_bytes=usage,
            memory_working_set_bytes=_working_set(usage, files.keyed(stat, b"total_inactive_file")),
            memory_rss_bytes=files.keyed(stat, b"total_rss"),
            memory_cache_bytes=files.keyed(stat, b"total_cache"),
            memory_limit_bytes=files.limit(read_file(self._memory + "limit_in_bytes")),
            pids=files.number(read_file(self._pids + "current")),
            pids_limit=files.limit(read_file(self._pids + "max")),
            block_io=devices.named(files.io_v1(read_file(self._io) or read_file(self._io_flat))),
            network=network,
        )


def _working_set(usage: int | None, inactive_file: int | None) -> int | None:
    return None if usage is None or inactive_file is None else max(usage - inactive_file, 0)


def _scaled(count: int | None, per_second: float) -> float | None:
    return None if count is None else count / per_second


def read_file(path: str) -> bytes | None:
    """Give a kernel file's bytes; `None` when it is not there or vanishes meanwhile (ENOENT, ENODEV, ESRCH)."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:
        return None
    try:
        data = os.read(descriptor, _CHUNK)
        if len(data) < _SHORT:
            return data
        chunks = [data]
        while data := os.read(descriptor, _CHUNK):
            chunks.append(data)
    except OSError:
        return None
    finally:
        os.close(descriptor)
    return b"".join(chunks)
