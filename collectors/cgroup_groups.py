"""The files of one cgroup, v1 or v2, read into figures."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from collectors import cgroup_files as files
from collectors.reading import Limits, MemoryMarks, Reading

if TYPE_CHECKING:
    from collections.abc import Mapping

    from collectors.cgroup_files import BlockIo, Traffic

_CHUNK = 64 * 1024
_SHORT = 2048
"""Less than this in the first read is the whole file: the kernel ends a read early only near a full page."""

_TICKS = os.sysconf("SC_CLK_TCK")
_CPU_V2 = files.markers(b"usage_usec", b"user_usec", b"system_usec", b"nr_periods", b"nr_throttled", b"throttled_usec")
_MEMORY_V2 = files.markers(b"anon", b"file", b"file_mapped", b"inactive_file")
_INACTIVE_V2 = files.markers(b"inactive_file")
_CPU_V1 = files.markers(b"nr_periods", b"nr_throttled", b"throttled_time")
_CPU_TIMES_V1 = files.markers(b"user", b"system")
_MEMORY_V1 = files.markers(b"total_cache", b"total_rss", b"total_mapped_file", b"total_swap", b"total_inactive_file")
_INACTIVE_V1 = files.markers(b"total_inactive_file")
_LEAST_SHARES, _MOST_SHARES, _MOST_WEIGHT = 2, 262_144, 10_000


class BlockDevices:
    """The names of block devices by `major:minor`."""

    def __init__(self, links: Path) -> None:
        self._links = links
        self._names: dict[str, str] = {}

    def named(self, figures: Mapping[str, BlockIo]) -> dict[str, BlockIo]:
        """Give the figures by device name; a device without a name keeps its number."""
        return {self.name(number): each for number, each in figures.items()}

    def name(self, number: str) -> str:
        """Give the name of a device, or its number if it has none."""
        name = self._names.get(number)
        if name is None:
            try:
                name = (self._links / number).readlink().name
            except OSError:
                name = number
            self._names[number] = name
        return name


class GroupV2:
    """A cgroup of the unified hierarchy at `path` below its root."""

    __slots__ = ("_at", "_cpu", "_io", "_memory", "_memory_stat", "_pids", "_pressures", "_swap", "path")

    def __init__(self, root: str, path: str) -> None:
        self.path = path
        self._at = at = f"{root}/{path}/"
        self._cpu = f"{at}cpu.stat"
        self._memory = f"{at}memory.current"
        self._memory_stat = f"{at}memory.stat"
        self._swap = f"{at}memory.swap.current"
        self._pids = f"{at}pids.current"
        self._io = f"{at}io.stat"
        self._pressures = (f"{at}cpu.pressure", f"{at}memory.pressure", f"{at}io.pressure")

    def oom_kills(self) -> int | None:
        """Give how many processes were killed for memory in this cgroup's life."""
        return files.keyed(read_file(f"{self._at}memory.events"), b"oom_kill")

    def marks(self) -> MemoryMarks:
        """Read what befell its memory."""
        events = read_file(f"{self._at}memory.events")
        return MemoryMarks(
            peak_bytes=files.number(read_file(f"{self._at}memory.peak")),
            limit_hits=files.keyed(events, b"max"),
            oom_kills=files.keyed(events, b"oom_kill"),
        )

    def working_set(self) -> int | None:
        """Read how much memory it uses without the file cache that can be dropped first."""
        (inactive,) = files.all_keyed(read_file(self._memory_stat), _INACTIVE_V2)
        return working_set(files.number(read_file(self._memory)), inactive)

    def exists(self) -> bool:
        """Tell whether it is still there."""
        return Path(self._at).is_dir()

    def limits(self) -> Limits:
        """Read its limits."""
        at = self._at
        quota, period = (*files.numbers(read_file(f"{at}cpu.max")), None, None)[:2]
        return Limits(
            memory_bytes=files.limit(read_file(f"{at}memory.max")),
            memory_reservation_bytes=files.limit(read_file(f"{at}memory.low")),  # where Docker sets it
            memory_swap_bytes=files.limit(read_file(f"{at}memory.swap.max")),
            pids=files.limit(read_file(f"{at}pids.max")),
            cpu_quota_us=quota,
            cpu_period_us=period,
            cpu_shares=_shares(files.number(read_file(f"{at}cpu.weight"))),
        )

    def read(self, devices: BlockDevices, network: Mapping[str, Traffic], limits: Limits) -> Reading | None:
        """Read every figure; `None` when the cgroup has vanished."""
        cpu, stat = read_file(self._cpu), read_file(self._memory_stat)
        if cpu is None and stat is None:
            return None
        used, user, system, periods, throttled, waited = files.all_keyed(cpu, _CPU_V2)
        if not periods:
            periods = throttled = waited = None
        anon, file, mapped, inactive = files.all_keyed(stat, _MEMORY_V2)
        usage = files.number(read_file(self._memory))
        cpu_pressure, memory_pressure, io_pressure = (files.pressure(read_file(path)) for path in self._pressures)
        return Reading(
            cpu_seconds=_scaled(used, 1e6),
            cpu_user_seconds=_scaled(user, 1e6),
            cpu_system_seconds=_scaled(system, 1e6),
            cpu_periods=periods,
            cpu_throttled_periods=throttled,
            cpu_throttled_seconds=_scaled(waited, 1e6),
            cpu_pressure=cpu_pressure,
            memory_bytes=usage,
            memory_working_set_bytes=working_set(usage, inactive),
            memory_rss_bytes=anon,
            memory_cache_bytes=file,
            memory_mapped_bytes=mapped,
            memory_swap_bytes=files.number(read_file(self._swap)),
            memory_pressure=memory_pressure,
            pids=files.number(read_file(self._pids)),
            block_io=devices.named(files.io_v2(read_file(self._io))),
            io_pressure=io_pressure,
            network=network,
            limits=limits,
        )


class GroupV1:
    """The directories of one cgroup, at `path` below each v1 controller."""

    __slots__ = (
        *("_cpu", "_cpu_stat", "_cpu_times", "_cpu_usage"),
        *("_memory", "_memory_stat", "_memory_usage", "_pids", "_pids_current"),
        *("_flat", "_io", "_io_flat", "_operations", "_operations_flat", "path"),
    )

    def __init__(self, root: str, path: str) -> None:
        self.path = path
        # Whole paths of all that every scrape reads: to put them together anew each time is a tenth of its cost.
        self._cpu = f"{root}/cpu/{path}/cpu."
        self._cpu_stat = f"{self._cpu}stat"
        self._cpu_usage = f"{root}/cpuacct/{path}/cpuacct.usage"
        self._cpu_times = f"{root}/cpuacct/{path}/cpuacct.stat"
        self._memory = f"{root}/memory/{path}/memory."
        self._memory_stat = f"{self._memory}stat"
        self._memory_usage = f"{self._memory}usage_in_bytes"
        self._pids = f"{root}/pids/{path}/pids."
        self._pids_current = f"{self._pids}current"
        self._io_flat = f"{root}/blkio/{path}/blkio.throttle.io_service_bytes"
        self._io = f"{self._io_flat}_recursive"
        self._operations_flat = f"{root}/blkio/{path}/blkio.throttle.io_serviced"
        self._operations = f"{self._operations_flat}_recursive"
        self._flat = False

    def oom_kills(self) -> int | None:
        """Give how many processes were killed for memory in this cgroup's life."""
        return files.keyed(read_file(self._memory + "oom_control"), b"oom_kill")

    def marks(self) -> MemoryMarks:
        """Read what befell its memory."""
        return MemoryMarks(
            peak_bytes=files.number(read_file(self._memory + "max_usage_in_bytes")),
            limit_hits=self._limit_hits(),
            oom_kills=self.oom_kills(),
        )

    def _limit_hits(self) -> int | None:
        # Where memory and swap together are limited as memory alone, it is their limit that is run against.
        hits = files.number(read_file(self._memory + "failcnt"))
        return None if hits is None else hits + (files.number(read_file(self._memory + "memsw.failcnt")) or 0)

    def working_set(self) -> int | None:
        """Read how much memory it uses without the file cache that can be dropped first."""
        (inactive,) = files.all_keyed(read_file(self._memory_stat), _INACTIVE_V1)
        return working_set(files.number(read_file(self._memory_usage)), inactive)

    def exists(self) -> bool:
        """Tell whether it is still there."""
        return Path(self._memory).parent.is_dir()

    def limits(self) -> Limits:
        """Read its limits."""
        return Limits(
            memory_bytes=files.limit(read_file(self._memory + "limit_in_bytes")),
            memory_reservation_bytes=files.limit(read_file(self._memory + "soft_limit_in_bytes")),
            memory_swap_bytes=files.limit(read_file(self._memory + "memsw.limit_in_bytes")),
            pids=files.limit(read_file(self._pids + "max")),
            cpu_quota_us=files.number(read_file(self._cpu + "cfs_quota_us")),  # -1 is no number: no quota
            cpu_period_us=files.number(read_file(self._cpu + "cfs_period_us")),
            cpu_shares=files.number(read_file(self._cpu + "shares")),
        )

    def read(self, devices: BlockDevices, network: Mapping[str, Traffic], limits: Limits) -> Reading | None:
        """Read every figure; `None` when the cgroup has vanished."""
        cpu, stat = read_file(self._cpu_usage), read_file(self._memory_stat)
        if cpu is None and stat is None:
            return None
        user, system = files.all_keyed(read_file(self._cpu_times), _CPU_TIMES_V1)
        # Without a quota it holds nothing but zeros, and a file that is not opened costs nothing.
        quota = read_file(self._cpu_stat) if limits.cpu_quota_us else None
        periods, throttled, waited = files.all_keyed(quota, _CPU_V1)
        cache, rss, mapped, swap, inactive = files.all_keyed(stat, _MEMORY_V1)
        usage = files.number(read_file(self._memory_usage))
        return Reading(
            cpu_seconds=_scaled(files.number(cpu), 1e9),
            cpu_user_seconds=_scaled(user, _TICKS),
            cpu_system_seconds=_scaled(system, _TICKS),
            cpu_periods=periods,
            cpu_throttled_periods=throttled,
            cpu_throttled_seconds=_scaled(waited, 1e9),
            memory_bytes=usage,
            memory_working_set_bytes=working_set(usage, inactive),
            memory_rss_bytes=rss,
            memory_cache_bytes=cache,
            memory_mapped_bytes=mapped,
            memory_swap_bytes=swap,
            pids=files.number(read_file(self._pids_current)),
            block_io=self._block_io(devices),
            network=network,
            limits=limits,
        )

    def _block_io(self, devices: BlockDevices) -> Mapping[str, BlockIo]:
        if not self._flat:
            text = read_file(self._io)
            if text is not None:
                return devices.named(files.io_v1(text, read_file(self._operations))) if _counted(text) else {}
            self._flat = True  # a kernel before 4.17
        return devices.named(files.io_v1(read_file(self._io_flat), read_file(self._operations_flat)))


def _counted(text: bytes) -> bool:
    """Tell that there is more than a total: with nothing read or written yet, no operation was counted either."""
    return bool(text) and not text.startswith(b"Total")


def working_set(usage: int | None, inactive_file: int | None) -> int | None:
    """Give the usage without the file cache that can be dropped first; `None` if either is not known."""
    return None if usage is None or inactive_file is None else max(usage - inactive_file, 0)


def _scaled(count: int | None, per_second: float) -> float | None:
    return None if count is None else count / per_second


def _shares(weight: int | None) -> int | None:
    """Give a v2 weight (1 to 10,000) as v1 shares (2 to 262,144), by the formula that Docker goes the other way."""
    if not weight:
        return None
    return _LEAST_SHARES + (weight - 1) * (_MOST_SHARES - _LEAST_SHARES) // (_MOST_WEIGHT - 1)


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
