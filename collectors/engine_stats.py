"""Docker's own statistics of one container turned into a reading, for where its cgroup is out of reach."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from collectors.cgroup_files import UNLIMITED_FROM, BlockIo, Traffic
from collectors.cgroup_groups import working_set
from collectors.json_fields import Fields
from collectors.reading import Limits, Reading

if TYPE_CHECKING:
    from collections.abc import Mapping

    from collectors.facts import Container

_NANOSECONDS: Final = 1_000_000_000
_V1: Final = {"rss": "total_rss", "cache": "total_cache", "mapped": "total_mapped_file", "idle": "total_inactive_file"}
_V2: Final = {"rss": "anon", "cache": "file", "mapped": "file_mapped", "idle": "inactive_file"}


def reading(answer: object, container: Container) -> Reading | None:
    """
    Read `GET /containers/{id}/stats?one-shot=1`; `None` for a container that does not run.

    What Docker leaves out is `None`. Limits are those of the inspect: an unlimited container has the machine's
    memory for a limit here.
    """
    item = Fields(answer, "stats")
    if item.time("read") is None:
        return None
    cpu, memory, pids = item.child("cpu_stats"), item.child("memory_stats"), item.child("pids_stats")
    used, throttling, kept = cpu.child("cpu_usage"), cpu.child("throttling_data"), memory.child("stats")
    names = _V1 if kept.has("total_rss") else _V2
    quota = throttling.number("periods") > 0
    usage = _count(memory, "usage")
    return Reading(
        cpu_seconds=_seconds(used, "total_usage"),
        cpu_user_seconds=_seconds(used, "usage_in_usermode"),
        cpu_system_seconds=_seconds(used, "usage_in_kernelmode"),
        cpu_periods=_count(throttling, "periods") if quota else None,
        cpu_throttled_periods=_count(throttling, "throttled_periods") if quota else None,
        cpu_throttled_seconds=_seconds(throttling, "throttled_time") if quota else None,
        memory_bytes=usage,
        memory_working_set_bytes=working_set(usage, _count(kept, names["idle"])),
        memory_rss_bytes=_count(kept, names["rss"]),
        memory_cache_bytes=_count(kept, names["cache"]),
        memory_mapped_bytes=_count(kept, names["mapped"]),
        memory_swap_bytes=_count(kept, "total_swap"),
        pids=_count(pids, "current"),
        block_io=_block_io(item.child("blkio_stats")),
        network={} if container.network_mode.startswith("container:") else _network(item.child("networks")),
        limits=Limits(memory_bytes=container.memory_limit_bytes or 0, pids=_pids_limit(pids)),
    )


def _count(fields: Fields, name: str) -> int | None:
    return fields.number(name) if fields.has(name) else None


def _seconds(fields: Fields, name: str) -> float | None:
    count = _count(fields, name)
    return None if count is None else count / _NANOSECONDS


def _pids_limit(pids: Fields) -> int | None:
    limit = _count(pids, "limit")
    return 0 if limit is not None and limit >= UNLIMITED_FROM else limit


def _network(interfaces: Fields) -> Mapping[str, Traffic]:
    keys = ("bytes", "packets", "errors", "dropped")
    return {
        name: Traffic(*(counts.number(f"{way}_{key}") for way in ("rx", "tx") for key in keys))
        for name in interfaces.names()
        if (counts := interfaces.child(name)).has("rx_bytes")
    }


def _block_io(told: Fields) -> Mapping[str, BlockIo]:
    operations = _by_device(told, "io_serviced_recursive")
    return {
        device: BlockIo(way["read"], way["write"], times.get("read"), times.get("write"))
        for device, way in _by_device(told, "io_service_bytes_recursive").items()
        if {"read", "write"} <= way.keys()
        for times in [operations.get(device, {})]
    }


def _by_device(told: Fields, name: str) -> Mapping[str, Mapping[str, int]]:
    """Give by `major:minor` what was counted for each kind of operation."""
    found: dict[str, dict[str, int]] = {}
    for entry in told.children(name):
        device = f"{entry.number('major')}:{entry.number('minor')}"
        found.setdefault(device, {})[entry.text("op").lower()] = entry.number("value")
    return found
