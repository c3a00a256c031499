"""Metric families of filesystems, and of what takes their space."""

from __future__ import annotations

from typing import TYPE_CHECKING

from collectors.families import Family, label_block

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from datetime import datetime, timedelta

    from collectors.facts import Container, DiskKind, DiskUse, Filesystem, KindUsage


def filesystem_families(filesystems: Sequence[Filesystem], errors: Mapping[str, str]) -> Iterator[Family]:
    """Give size, use and inodes of each filesystem, and by role whether it could be measured."""
    rows = [
        (label_block(mountpoint=filesystem.mountpoint, roles=",".join(filesystem.roles)), filesystem)
        for filesystem in filesystems
    ]
    prefix = "shipkeeper_filesystem_"
    measured = [role for filesystem in filesystems for role in filesystem.roles]
    yield Family(
        f"{prefix}up",
        "gauge",
        "1 if the filesystem in this role could be measured.",
        [(label_block(role=role), role not in errors) for role in sorted({*measured, *errors})],
    )
    yield Family(
        f"{prefix}size_bytes", "gauge", "Size of the filesystem.", [(block, each.size_bytes) for block, each in rows]
    )
    yield Family(
        f"{prefix}used_bytes",
        "gauge",
        "Space in use, the reserve of root not counted.",
        [(block, each.used_bytes) for block, each in rows],
    )
    yield Family(
        f"{prefix}available_bytes",
        "gauge",
        "Space that an unprivileged writer may still use.",
        [(block, each.available_bytes) for block, each in rows],
    )
    yield Family(
        f"{prefix}inodes",
        "gauge",
        "Inodes; absent where the filesystem does not count them.",
        [(block, each.inodes) for block, each in rows if each.inodes is not None],
    )
    yield Family(
        f"{prefix}inodes_free",
        "gauge",
        "Inodes that are free.",
        [(block, each.inodes_free) for block, each in rows if each.inodes_free is not None],
    )
    yield Family(
        f"{prefix}read_only",
        "gauge",
        "1 if nobody can write to the filesystem.",
        [(block, each.read_only) for block, each in rows if each.read_only is not None],
    )


def growth_families(growth: Iterable[tuple[Filesystem, float, timedelta | None]]) -> Iterator[Family]:
    """Give how fast filesystems fill, in bytes per second, and when each will be full."""
    rows = [(label_block(mountpoint=each.mountpoint), rate, full_in) for each, rate, full_in in growth]
    yield Family(
        "shipkeeper_filesystem_growth_bytes_per_second",
        "gauge",
        "How fast the space in use grew in the last hours; negative while it shrinks.",
        [(block, rate) for block, rate, _ in rows],
    )
    yield Family(
        "shipkeeper_filesystem_full_in_seconds",
        "gauge",
        "When the last byte will be taken at this growth; absent while it does not grow.",
        [(block, full_in.total_seconds()) for block, _, full_in in rows if full_in is not None],
    )


def usage_families(
    uses: Sequence[DiskUse], usages: Mapping[DiskKind, KindUsage], measured: Mapping[DiskKind, datetime | None]
) -> Iterator[Family]:
    """Give what takes space where; `measured` says of each kind when that was found out, `None` where it cannot be."""
    prefix = "shipkeeper_disk_"
    yield Family(
        f"{prefix}usage_up",
        "gauge",
        "1 if it is known what this kind takes.",
        [(label_block(kind=kind), at is not None) for kind, at in measured.items()],
    )
    yield Family(
        f"{prefix}usage_measured_timestamp_seconds",
        "gauge",
        "When it was found out what this kind takes.",
        [(label_block(kind=kind), at.timestamp()) for kind, at in measured.items() if at is not None],
    )
    rows = [(label_block(kind=use.kind, mountpoint=use.mountpoint), use) for use in uses]
    yield Family(
        f"{prefix}usage_bytes",
        "gauge",
        "What takes space on a filesystem.",
        [(block, use.size_bytes) for block, use in rows],
    )
    yield Family(
        f"{prefix}reclaimable_bytes",
        "gauge",
        "What would be gone with the objects that nothing uses.",
        [(block, use.reclaimable_bytes) for block, use in rows if use.reclaimable_bytes is not None],
    )
    yield Family(
        f"{prefix}objects",
        "gauge",
        "How many objects of this kind Docker has.",
        [(label_block(kind=kind), usage.count) for kind, usage in usages.items() if usage.count is not None],
    )
    yield Family(
        f"{prefix}objects_active",
        "gauge",
        "How many of them are in use.",
        [(label_block(kind=kind), usage.active) for kind, usage in usages.items() if usage.active is not None],
    )


def log_families(sizes: Iterable[tuple[Container, int]]) -> Iterator[Family]:
    """Give what the log of each container takes."""
    yield Family(
        "shipkeeper_container_log_bytes",
        "gauge",
        "What the files of the container's log take on their disk, rotated ones included.",
        [(label_block(id=container.id[:12], name=container.name), size) for container, size in sizes],
    )
