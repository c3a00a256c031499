"""On which filesystem the space of a Docker object lies."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collectors.facts import Facts

# The storage drivers that exist only as Docker's own: their layers lie under the data-root. Other names are
# containerd's (or either's), and the API does not tell where a system containerd keeps its layers.
_GRAPH_DRIVERS = frozenset({"aufs", "devicemapper", "overlay", "overlay2", "vfs"})


def of_layers(facts: Facts) -> str:
    """Give the mount point that gains when a container or an image is removed; empty where it is not known."""
    data_root = next((each for each in facts.filesystems if "data-root" in each.roles), None)
    if data_root is None:
        return ""
    if facts.engine.storage_driver in _GRAPH_DRIVERS or "containerd-root" in data_root.roles:
        return data_root.mountpoint
    return ""
