"""On which filesystem the space of a Docker object lies."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from collectors.facts import Engine, Filesystem

# Docker's own storage drivers that keep layers under the data-root; zfs gives each layer a dataset of its own.
_GRAPH_DRIVERS = frozenset({"aufs", "btrfs", "devicemapper", "fuse-overlayfs", "overlay", "overlay2", "vfs"})


def of_layers(engine: Engine, filesystems: Sequence[Filesystem]) -> str:
    """Give the mount point that gains when a container or an image is removed; empty where it is not known."""
    if engine.containerd_store:
        return of_role("containerd-root", filesystems)
    if engine.storage_driver in _GRAPH_DRIVERS:
        return of_role("data-root", filesystems)
    return ""


def of_role(role: str, filesystems: Sequence[Filesystem]) -> str:
    """Give the mount point of the filesystem that has this role; empty where none has."""
    return next((each.mountpoint for each in filesystems if role in each.roles), "")
