"""What takes the space of each filesystem, as far as it can be told."""

from __future__ import annotations

from collections import defaultdict
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from collectors.facts import DiskKind, DiskUse
from policies import places

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from collectors.facts import Engine, Filesystem, KindUsage

_IN_LAYERS = (DiskKind.IMAGES, DiskKind.CONTAINER_LAYERS, DiskKind.BUILD_CACHE)


def causes(
    engine: Engine,
    filesystems: Sequence[Filesystem],
    usages: Mapping[DiskKind, KindUsage],
    log_bytes: int | None,
) -> tuple[DiskUse, ...]:
    """
    Give what takes how much of which filesystem.

    A kind of which a part is not known is left out. The rest of a filesystem is given only where every kind that
    lies on it is known. Docker counts the bytes in files and a filesystem counts blocks, so there may be no rest.
    """
    layers = places.of_layers(engine, filesystems)
    uses = [*_in_layers(engine, usages, layers), *_volumes(engine, filesystems, usages)]
    logs = places.of_role("logs", filesystems)
    if log_bytes is not None:
        uses.append(DiskUse(kind=DiskKind.CONTAINER_LOGS, mountpoint=logs, size_bytes=log_bytes))
    return (*uses, *_rest(filesystems, uses, {DiskKind.CONTAINER_LOGS: logs} | dict.fromkeys(_IN_LAYERS, layers)))


def _in_layers(engine: Engine, usages: Mapping[DiskKind, KindUsage], mountpoint: str) -> Iterator[DiskUse]:
    sizes = {kind: usage.size_bytes for kind in _IN_LAYERS if (usage := usages.get(kind))}
    if engine.containerd_store:
        sizes[DiskKind.IMAGES] = _images_alone(sizes)
    for kind, size in sizes.items():
        if size is not None:
            freed = usages[kind].reclaimable_bytes
            yield DiskUse(kind=kind, mountpoint=mountpoint, size_bytes=size, reclaimable_bytes=freed)


def _images_alone(sizes: Mapping[DiskKind, int | None]) -> int | None:
    """Containerd's figure of images holds the snapshots of containers and of the build cache, too."""
    everything, *parts = (sizes.get(kind) for kind in _IN_LAYERS)
    if everything is None or None in parts:
        return None
    return max(everything - sum(part for part in parts if part is not None), 0)


def _volumes(
    engine: Engine, filesystems: Sequence[Filesystem], usages: Mapping[DiskKind, KindUsage]
) -> Iterator[DiskUse]:
    usage = usages.get(DiskKind.VOLUMES)
    if usage is None or usage.size_bytes is None:
        return
    home = places.of_role("volumes", filesystems)
    mounts = {
        each.mountpoint for each in filesystems if PurePosixPath(each.mountpoint).is_relative_to(engine.data_root)
    }
    sizes: defaultdict[str, int] = defaultdict(int, {home: usage.size_bytes})
    freed: defaultdict[str, int] = defaultdict(int, {home: usage.reclaimable_bytes or 0})
    for volume in usage.volumes:
        above = (str(each) for each in (PurePosixPath(volume.path), *PurePosixPath(volume.path).parents))
        mountpoint = next((each for each in above if each in mounts), home)
        for totals, size in ((sizes, volume.size_bytes), (freed, volume.size_bytes * volume.unused)):
            totals[home] -= size
            totals[mountpoint] += size
    for mountpoint, size in sizes.items():
        known = usage.reclaimable_bytes is not None
        yield DiskUse(
            kind=DiskKind.VOLUMES,
            mountpoint=mountpoint,
            size_bytes=size,
            reclaimable_bytes=freed[mountpoint] if known else None,
        )


def _rest(
    filesystems: Sequence[Filesystem], uses: Sequence[DiskUse], homes: Mapping[DiskKind, str]
) -> Iterator[DiskUse]:
    """Give for each filesystem with Docker's data what none of its data explains."""
    known = {use.kind for use in uses}
    if "" in homes.values() or DiskKind.VOLUMES not in known:
        return  # what has no place may lie anywhere
    for each in filesystems:
        here = {kind for kind, mountpoint in homes.items() if mountpoint == each.mountpoint}
        if not here <= known:
            continue
        sizes = [use.size_bytes for use in uses if use.mountpoint == each.mountpoint]
        if sizes:
            rest = max(each.used_bytes - sum(sizes), 0)
            yield DiskUse(kind=DiskKind.OTHER, mountpoint=each.mountpoint, size_bytes=rest)
