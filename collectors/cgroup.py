"""Finds the cgroup of a container, v1 or v2, and reads its figures."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from collectors import cgroup_files as files

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from collectors.facts import Container
    from collectors.cgroup_files import Flow

_CHUNK = 64 * 1024
_SHORT = 2048
"""Less than this in the first read is the whole file: the kernel ends a read early only near a full page."""

_TICKS = os.sysconf("SC_CLK_TCK")
_NO_FLOWS: Mapping[str, Flow] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What the kernel counted for one container until now; `None` is a figure that could not be read."""

    cpu_seconds: float | None = None
    cpu_user_seconds: float | None = None
    cpu_system_seconds: float | None = None
    cpu_periods: int | None = None
    """Enforcement periods that passed under a CPU quota; 0 or `None` without one."""
    cpu_throttled_periods: int | None = None
    cpu_throttled_seconds: float | None = None
    memory_bytes: int | None = None
    memory_working_set_bytes: int | None = None
    """Usage without the file cache that can be dropped first."""
    memory_rss_bytes: int | None = None
    memory_cache_bytes: int | None = None
    memory_limit_bytes: int | None = None
    """`None` also when unlimited."""
    oom_kills: int | None = None
    pids: int | None = None
    pids_limit: int | None = None
    """`None` also when unlimited."""
    block_io: Mapping[str, Flow] = field(default_factory=dict)
    """Read and written, per device name."""
    network: Mapping[str, Flow] = field(default_factory=dict)
    """Received and sent, per interface; empty when the container shares a network namespace."""


class _Group(Protocol):
    """The cgroup of one container."""

    def read(self, devices: _Devices, network: Mapping[str, Flow]) -> Reading | None: ...

    def oom_kills(self) -> int | None: ...


class CgroupReader:
    """
    Reads the cgroups of containers, about ten small files each.

    Neither the cgroup version nor the driver has to be told: a cgroup is found where it exists, at the path
    that the systemd or the cgroupfs driver gives it, else where `/proc/<pid>/cgroup` says. What was found is
    remembered until it vanishes. Safe to call from several threads.
    """

    def __init__(
        self,
        root: Path = Path("/sys/fs/cgroup"),
        proc: Path = Path("/proc"),
        block_devices: Path = Path("/sys/dev/block"),
    ) -> None:
        self._root = str(root)
        self._proc = str(proc)
        self._devices = _Devices(str(block_devices))
        self._groups: dict[str, _Group] = {}

    def read(self, container: Container) -> Reading | None:
        """Read everything of a container with a process; `None` when its cgroup is not there (any more)."""
        group = self._group(container)
        if group is None:
            return None
        reading = group.read(self._devices, self._network(container))
        if reading is None:
            self._groups.pop(container.id, None)
        return reading

    def oom_kills(self, container: Container) -> int | None:
        """Give how many processes were killed for memory in this cgroup's life; `None` if unreadable."""
        group = self._group(container)
        return group.oom_kills() if group else None

    def retain(self, ids: Collection[str]) -> None:
        """Forget the cgroups of all containers but these."""
        for gone in [known for known in list(self._groups) if known not in ids]:
            self._groups.pop(gone, None)

    def _group(self, container: Container) -> _Group | None:
        group = self._groups.get(container.id)
        if group is None and container.pid:
            group = self._find(container)
            if group is not None:
                self._groups[container.id] = group
        return group

    def _find(self, container: Container) -> _Group | None:
        unified = os.path.exists(f"{self._root}/cgroup.controllers")
        # One controller stands for all of v1; the paths differ only where somebody moved the process by hand.
        place = self._root if unified else f"{self._root}/memory"
        for path in self._candidates(container, "" if unified else "memory"):
            if os.path.isdir(f"{place}/{path}"):
                return _GroupV2(f"{place}/{path}") if unified else _GroupV1(self._root, path)
        return None

    def _candidates(self, container: Container, controller: str) -> Iterator[str]:
        parent = container.cgroup_parent.strip("/")
        if ".." not in parent.split("/"):
            if parent.endswith(".slice") or not parent:
                yield f"{_expand(parent or 'system.slice')}/docker-{container.id}.scope"
            yield f"{parent or 'docker'}/{container.id}"
        text = _read(f"{self._proc}/{container.pid}/cgroup")
        told = files.paths_of(text, container.id).get(controller)
        if told:
            yield told

    def _network(self, container: Container) -> Mapping[str, Flow]:
        if not container.pid or container.network_mode == "host" or container.network_mode.startswith("container:"):
            return _NO_FLOWS
        return files.interfaces(_read(f"{self._proc}/{container.pid}/net/dev"))


class _Devices:
    """The names of block devices by `major:minor`."""

    def __init__(self, links: str) -> None:
        self._links = links
        self._names: dict[str, str] = {}

    def named(self, flows: Mapping[str, Flow]) -> dict[str, Flow]:
        return {self._name(number): flow for number, flow in flows.items()}

    def _name(self, number: str) -> str:
        name = self._names.get(number)
        if name is None:
            try:
                name = os.path.basename(os.readlink(f"{self._links}/{number}"))
            except OSError:
                name = number
            self._names[number] = name
        return name


class _GroupV2:
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
        return files.keyed(_read(self._events), b"oom_kill")

    def read(self, devices: _Devices, network: Mapping[str, Flow]) -> Reading | None:
        cpu, stat = _read(self._cpu), _read(self._memory_stat)
        if cpu is None and stat is None:
            return None
        usage = files.number(_read(self._memory))
        return Reading(
            cpu_seconds=_scaled(files.keyed(cpu, b"usage_usec"), 1e6),
            cpu_user_seconds=_scaled(files.keyed(cpu, b"user_usec"), 1e6),
            cpu_system_seconds=_scaled(files.keyed(cpu, b"system_usec"), 1e6),
            cpu_periods=files.keyed(cpu, b"nr_periods"),
            cpu_throttled_periods=files.keyed(cpu, b"nr_throttled"),
            cpu_throttled_seconds=_scaled(files.keyed(cpu, b"throttled_usec"), 1e6),
            memory_bytes=usage,
            memory_working_set_bytes=_working_set(usage, files.keyed(stat, b"inactive_file")),
            memory_rss_bytes=files.keyed(stat, b"anon"),
            memory_cache_bytes=files.keyed(stat, b"file"),
            memory_limit_bytes=files.limit(_read(self._max)),
            oom_kills=self.oom_kills(),
            pids=files.number(_read(self._pids)),
            pids_limit=files.limit(_read(self._pids_max)),
            block_io=devices.named(files.io_v2(_read(self._io))),
            network=network,
        )


class _GroupV1:
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
        return files.keyed(_read(self._oom), b"oom_kill")

    def read(self, devices: _Devices, network: Mapping[str, Flow]) -> Reading | None:
        cpu, stat = _read(self._cpu_usage), _read(self._memory + "stat")
        if cpu is None and stat is None:
            return None
        times, quota = _read(self._cpu_stat), _read(self._cpu)
        usage = files.number(_read(self._memory + "usage_in_bytes"))
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
            memory_limit_bytes=files.limit(_read(self._memory + "limit_in_bytes")),
            oom_kills=self.oom_kills(),
            pids=files.number(_read(self._pids + "current")),
            pids_limit=files.limit(_read(self._pids + "max")),
            block_io=devices.named(files.io_v1(_read(self._io) or _read(self._io_flat))),
            network=network,
        )


def _expand(slice_name: str) -> str:
    """Give the path of a systemd slice: `a-b.slice` lies in `a.slice/a-b.slice`."""
    words = slice_name.removesuffix(".slice").split("-")
    return "/".join(f"{'-'.join(words[: count + 1])}.slice" for count in range(len(words)))


def _working_set(usage: int | None, inactive_file: int | None) -> int | None:
    return None if usage is None or inactive_file is None else max(usage - inactive_file, 0)


def _scaled(count: int | None, per_second: float) -> float | None:
    return None if count is None else count / per_second


def _read(path: str) -> bytes | None:
    """Give a kernel file's bytes; `None` when it is not there or vanishes meanwhile (ENOENT, ENODEV, ESRCH)."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
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
