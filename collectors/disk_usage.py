"""Docker's answer to what takes space (`GET /system/df`), in both of its shapes, turned into facts."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from collectors.facts import DiskKind, KindUsage, VolumeUsage
from collectors.json_fields import Fields
from collectors.storage_parse import build_records

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
    from datetime import datetime

TYPES: Final[Mapping[DiskKind, str]] = {
    DiskKind.IMAGES: "image",
    DiskKind.CONTAINER_LAYERS: "container",
    DiskKind.VOLUMES: "volume",
    DiskKind.BUILD_CACHE: "build-cache",
}
"""The kinds that Docker can tell of, with the words by which it is asked for one of them."""

_KEYS: Final[Mapping[DiskKind, tuple[str, str]]] = {
    DiskKind.IMAGES: ("Images", "ImageUsage"),
    DiskKind.CONTAINER_LAYERS: ("Containers", "ContainerUsage"),
    DiskKind.VOLUMES: ("Volumes", "VolumeUsage"),
    DiskKind.BUILD_CACHE: ("BuildCache", "BuildCacheUsage"),
}
"""Under which key a list stands up to API 1.51, and a summary from 1.52 on; for a while both are sent."""
_ALIVE: Final = frozenset({"running", "paused", "restarting"})


def parse(answer: object, kinds: Collection[DiskKind], at: datetime) -> Mapping[DiskKind, KindUsage]:
    """Read the figures of these kinds, as of `at`; those that the answer knows nothing of are left out."""
    root = Fields(answer, "disk usage")
    usages = {}
    for kind in kinds:
        legacy, newer = _KEYS[kind]
        if not root.mentions(legacy) and not root.has(newer):
            continue
        summary = root.child(newer) if root.has(newer) else None
        items = _items(root, legacy, summary)
        usage = _summed(kind, at, summary) if items is None and summary else _READERS[kind](root, items or [], at)
        usages[kind] = usage
    return usages


def _items(root: Fields, legacy: str, summary: Fields | None) -> Sequence[Fields] | None:
    """Give the objects one by one, `None` where only a summary is told. A null list is an empty one."""
    if root.has(legacy):
        return root.children(legacy)
    if summary is None:
        return []
    return summary.children("Items") if summary.has("Items") else None


def _summed(kind: DiskKind, at: datetime, summary: Fields) -> KindUsage:
    # A figure of 0 is not written; one that could not be had is -1.
    return KindUsage(
        kind=kind,
        at=at,
        size_bytes=_known(summary.number("TotalSize")),
        reclaimable_bytes=_known(summary.number("Reclaimable")),
        count=_known(summary.number("TotalCount")),
        active=_known(summary.number("ActiveCount")),
    )


def _images(root: Fields, images: Sequence[Fields], at: datetime) -> KindUsage:
    if root.has("LayersSize"):
        size = _known(root.number("LayersSize"))
    else:
        size = _known(root.child("ImageUsage").number("TotalSize")) if root.has("ImageUsage") else None
    containers = [image.number("Containers") if image.has("Containers") else -1 for image in images]
    unused = [image for image, count in zip(images, containers, strict=True) if count == 0]
    # Layers that unused images share only with each other would go as well: it is at least so much.
    own = [_difference(_figure(image, "Size"), _figure(image, "SharedSize")) for image in unused]
    known = -1 not in containers
    return KindUsage(
        kind=DiskKind.IMAGES,
        at=at,
        size_bytes=size,
        reclaimable_bytes=_sum(own) if known else None,
        count=len(images),
        active=len(images) - len(unused) if known else None,
        unique_bytes=MappingProxyType(_unique(images)),
    )


def _unique(images: Sequence[Fields]) -> dict[str, int]:
    sizes = {image.text("Id"): _difference(_figure(image, "Size"), _figure(image, "SharedSize")) for image in images}
    return {id_: size for id_, size in sizes.items() if size is not None}


def _layers(_: Fields, containers: Sequence[Fields], at: datetime) -> KindUsage:
    # An empty layer has no `SizeRw`.
    sizes = [_known(container.number("SizeRw")) for container in containers]
    alive = [container.text("State") in _ALIVE for container in containers]
    return KindUsage(
        kind=DiskKind.CONTAINER_LAYERS,
        at=at,
        size_bytes=_sum(sizes),
        reclaimable_bytes=_sum(size for size, up in zip(sizes, alive, strict=True) if not up),
        count=len(containers),
        active=sum(alive),
        layers={
            container.text("Id"): size for container, size in zip(containers, sizes, strict=True) if size is not None
        },
    )


def _volumes(_: Fields, volumes: Sequence[Fields], at: datetime) -> KindUsage:
    # Docker does not measure a volume of another driver, nor one that is mounted from elsewhere by its options:
    # what is in there does not lie in Docker's folder.
    ours = [each for each in volumes if each.text("Driver") == "local" and not each.labels("Options")]
    told = [volume.child("UsageData") for volume in ours]
    sizes = [_figure(each, "Size") for each in told]
    unused = [each.has("RefCount") and each.number("RefCount") == 0 for each in told]
    references = [_figure(volume.child("UsageData"), "RefCount") for volume in volumes]
    return KindUsage(
        kind=DiskKind.VOLUMES,
        at=at,
        size_bytes=_sum(sizes),
        reclaimable_bytes=_sum(size for size, idle in zip(sizes, unused, strict=True) if idle),
        count=len(volumes),
        active=_sum(None if count is None else int(count > 0) for count in references),
        volumes=tuple(
            VolumeUsage(
                path=volume.text("Mountpoint"),
                size_bytes=size,
                unused=idle,
                name=volume.text("Name"),
                references=_figure(volume.child("UsageData"), "RefCount"),
                created_at=volume.time("CreatedAt"),
            )
            for volume, size, idle in zip(ours, sizes, unused, strict=True)
            if size is not None
        ),
    )


def _build_cache(_: Fields, records: Sequence[Fields], at: datetime) -> KindUsage:
    # A shared record is a layer of an image as well, and counted there.
    ours = [record for record in records if not record.flag("Shared")]
    sizes = [_known(record.number("Size")) for record in ours]
    return KindUsage(
        kind=DiskKind.BUILD_CACHE,
        at=at,
        size_bytes=_sum(sizes),
        reclaimable_bytes=_sum(size for size, record in zip(sizes, ours, strict=True) if not record.flag("InUse")),
        count=len(records),
        active=sum(record.flag("InUse") for record in records),
        build_records=build_records(records),
    )


_READERS: Final[Mapping[DiskKind, Callable[[Fields, Sequence[Fields], datetime], KindUsage]]] = {
    DiskKind.IMAGES: _images,
    DiskKind.CONTAINER_LAYERS: _layers,
    DiskKind.VOLUMES: _volumes,
    DiskKind.BUILD_CACHE: _build_cache,
}


def _figure(item: Fields, name: str) -> int | None:
    return _known(item.number(name)) if item.has(name) else None


def _known(figure: int) -> int | None:
    """Docker writes -1 for what it could not measure; no other negative number is a size either."""
    return figure if figure >= 0 else None


def _difference(whole: int | None, part: int | None) -> int | None:
    return None if whole is None or part is None else max(whole - part, 0)


def _sum(sizes: Iterable[int | None]) -> int | None:
    """Add up; without one of the parts there is no sum."""
    total = 0
    for size in sizes:
        if size is None:
            return None
        total += size
    return total
