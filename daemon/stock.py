"""What the slow lanes know of all that is neither container nor image, put together for one cycle."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING

from collectors.facts import DiskKind, Known, SourceName, Unknown
from collectors.storage_facts import LogSize

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from collectors.facts import KindUsage, Source
    from collectors.storage_facts import BuildRecord, Network, Volume
    from daemon.disk_usage import DiskUsage
    from daemon.log_sizes import LogSizes
    from daemon.storage import StorageLane


@dataclass(frozen=True, slots=True, kw_only=True)
class Stock:
    """Networks, volumes, build cache and logs, each with its source; nobody has looked yet by default."""

    sources: Mapping[SourceName, Source] = field(default_factory=lambda: MappingProxyType({}))
    networks: tuple[Network, ...] = ()
    volumes: tuple[Volume, ...] = ()
    build_records: tuple[BuildRecord, ...] = ()
    logs: tuple[LogSize, ...] = ()


def take_stock(storage: StorageLane, usage: DiskUsage, logs: LogSizes | None, now: datetime) -> Stock:
    """Put together what was read last; what no lane knows is an unknown source as of `now`."""
    networks, volumes = storage.networks, storage.volumes
    cache, records = _build_cache(usage, now)
    return Stock(
        sources={
            SourceName.NETWORKS: networks.source,
            SourceName.VOLUMES: volumes.source,
            SourceName.BUILD_CACHE: cache,
            SourceName.LOGS: _logs(logs, now),
        },
        networks=networks.objects,
        volumes=_measured(volumes.objects, usage.usages.get(DiskKind.VOLUMES)),
        build_records=records,
        logs=tuple(LogSize(container_id=each.id, size_bytes=size) for each, size in logs.sizes) if logs else (),
    )


def _build_cache(usage: DiskUsage, now: datetime) -> tuple[Source, tuple[BuildRecord, ...]]:
    found = usage.usages.get(DiskKind.BUILD_CACHE)
    if found is None:
        return Unknown(usage.errors.get(DiskKind.BUILD_CACHE, "not read yet"), now), ()
    if found.build_records is None:
        return Unknown("Docker tells only what all of it takes", found.at), ()
    return Known(found.at), found.build_records


def _logs(logs: LogSizes | None, now: datetime) -> Source:
    if logs is None:
        return Unknown("not measured yet, or the files are out of our sight", now)
    return Unknown(logs.problem, logs.at) if logs.problem else Known(logs.at)


def _measured(volumes: Iterable[Volume], usage: KindUsage | None) -> tuple[Volume, ...]:
    """Add to volumes what their disk usage told; it may tell of another one that had the name before."""
    told = {each.name: each for each in usage.volumes} if usage else {}
    return tuple(
        replace(volume, size_bytes=found.size_bytes, references=found.references)
        if (found := told.get(volume.name)) and found.created_at in {None, volume.created_at}
        else volume
        for volume in volumes
    )
