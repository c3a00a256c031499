"""All that is known of the disks at this moment, put together from the sampler and the slow lanes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from collectors.disk_families import filesystem_families, growth_families, usage_families
from collectors.facts import NO_SIZES, DiskKind
from policies import growth
from policies.disk_causes import causes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from datetime import datetime, timedelta

    from collectors.facts import DiskUse, Engine, Filesystem
    from collectors.families import Family
    from daemon.disk_usage import UsageLane
    from daemon.log_sizes import LogLane
    from daemon.sampler import Sampler
    from daemon.trends import Trends


@dataclass(frozen=True, slots=True, kw_only=True)
class Disks:
    """Safe to ask from any thread: every part is read through what it has published."""

    engine: Callable[[], Engine]
    sampler: Sampler
    usage: UsageLane
    logs: LogLane
    trends: Trends

    def uses(self) -> tuple[DiskUse, ...]:
        """Give what takes how much of which filesystem."""
        sample, logs = self.sampler.latest, self.logs.latest
        if sample is None:
            return ()
        total = logs.total_bytes if logs else None
        return causes(self.engine(), sample.filesystems, self.usage.latest.usages, total)

    def written_bytes(self) -> Mapping[str, int]:
        """Give, by container id, its writable layer and its logs together; one that lacks either is left out."""
        layers, logs = self.usage.latest.usages.get(DiskKind.CONTAINER_LAYERS), self.logs.latest
        if layers is None or logs is None:
            return {}
        return {
            container.id: layers.layers[container.id] + size
            for container, size in logs.sizes
            if container.id in layers.layers
        }

    def layer_bytes(self) -> Mapping[str, int]:
        """Give by container id what its writable layer takes, as far as Docker told it one by one."""
        layers = self.usage.latest.usages.get(DiskKind.CONTAINER_LAYERS)
        return layers.layers if layers else NO_SIZES

    def unique_bytes(self) -> Mapping[str, int]:
        """Give by image id what no other image shares with it, as far as Docker told it."""
        images = self.usage.latest.usages.get(DiskKind.IMAGES)
        return images.unique_bytes if images else NO_SIZES

    def growth(self, filesystem: Filesystem) -> tuple[float | None, timedelta | None]:
        """Give how fast it fills in bytes per second, and when it will be full; `None` where that cannot be told."""
        rate = self.trends.rate(filesystem)
        return rate, growth.full_in(filesystem.available_bytes, rate)

    def filesystem_families(self) -> Iterator[Family]:
        """Give the metric families of the filesystems and of their growth."""
        sample = self.sampler.latest
        if sample is not None:
            yield from filesystem_families(sample.filesystems, sample.errors)
            yield from growth_families(self._growing(sample.filesystems))

    def usage_families(self) -> Iterator[Family]:
        """Give the metric families of what takes their space."""
        return usage_families(self.uses(), self.usage.latest.usages, self._measured())

    def log_families(self) -> Iterable[Family]:
        """Give the metric families of the log of each container."""
        logs = self.logs.latest
        return logs.families if logs else ()

    def _growing(self, filesystems: Sequence[Filesystem]) -> Iterator[tuple[Filesystem, float, timedelta | None]]:
        for each in filesystems:
            rate, full_in = self.growth(each)
            if rate is not None:
                yield each, rate, full_in

    def _measured(self) -> Mapping[DiskKind, datetime | None]:
        """Say of each kind that was asked for when it was measured."""
        usage, logs = self.usage.latest, self.logs.latest
        measured: dict[DiskKind, datetime | None] = dict.fromkeys(usage.errors)
        for kind, told in usage.usages.items():
            measured[kind] = told.at if told.size_bytes is not None else None
        if self.logs.begun:
            measured[DiskKind.CONTAINER_LOGS] = logs.at if logs and logs.total_bytes is not None else None
        return measured
