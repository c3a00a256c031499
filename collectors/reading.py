"""The figures of one container as frozen values."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from collectors.cgroup_files import NO_PRESSURE, Pressure

if TYPE_CHECKING:
    from collections.abc import Mapping

    from collectors.cgroup_files import BlockIo, Traffic


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a container may use at most; 0 where there is no limit, `None` where that cannot be read."""

    memory_bytes: int | None = None
    memory_reservation_bytes: int | None = None
    memory_swap_bytes: int | None = None
    """Swap alone under cgroup v2, memory and swap together under v1."""
    pids: int | None = None
    cpu_quota_us: int | None = None
    """CPU time in each period; like v1's -1 also `None` without a quota."""
    cpu_period_us: int | None = None
    """There without a quota, too."""
    cpu_shares: int | None = None
    """As cgroup v1 counts them: 1024 is what everybody gets."""

    @property
    def cpus(self) -> float | None:
        """The quota as a number of CPUs."""
        return self.cpu_quota_us / self.cpu_period_us if self.cpu_quota_us and self.cpu_period_us else None


class Reading(NamedTuple):
    """
    What the kernel counted for one container until now; `None` is a figure that could not be read.

    A tuple, because every scrape makes one for every container.
    """

    cpu_seconds: float | None = None
    cpu_user_seconds: float | None = None
    cpu_system_seconds: float | None = None
    cpu_periods: int | None = None
    """Enforcement periods that passed; like the two below `None` also without a CPU quota."""
    cpu_throttled_periods: int | None = None
    cpu_throttled_seconds: float | None = None
    cpu_pressure: Pressure = NO_PRESSURE
    memory_bytes: int | None = None
    memory_working_set_bytes: int | None = None
    """Usage without the file cache that can be dropped first."""
    memory_rss_bytes: int | None = None
    memory_cache_bytes: int | None = None
    memory_mapped_bytes: int | None = None
    memory_swap_bytes: int | None = None
    memory_pressure: Pressure = NO_PRESSURE
    pids: int | None = None
    block_io: Mapping[str, BlockIo] = MappingProxyType({})
    """By device name."""
    io_pressure: Pressure = NO_PRESSURE
    network: Mapping[str, Traffic] = MappingProxyType({})
    """By interface; empty when the container shares a network namespace."""
    limits: Limits = Limits()


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryMarks:
    """What befell a container's memory in the life of its cgroup: rare news, read less often than the figures."""

    peak_bytes: int | None = None
    limit_hits: int | None = None
    """How often it ran against its limit, most of which only cost it file cache."""
    oom_kills: int | None = None
    """Processes killed for memory."""
